"""Training, step by step: what it leads to, and that it leads there again."""

from io import BytesIO

import numpy as np
import pytest
import torch
from small_log import PRODUCTS, small_log, small_recipe
from small_retriever import small_fitting

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.optimisation import Worker
from shelfcode.retrieval.batches import SessionSampler
from shelfcode.retrieval.evaluation.cases import Cases, starts_of
from shelfcode.retrieval.evaluation.measures import recall_and_ndcg
from shelfcode.retrieval.fitting import Fitting, fit, start_fitting, total_steps
from shelfcode.retrieval.held_out import split_log
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.published_retriever import Kind
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever
from shelfcode.retrieval.scoring_model import ScoringModel

MODEL = {"width": 16, "layers": 1, "heads": 2, "hidden": 24, "dropout": 0.2}
LOG = small_log(ordered=False)
WAYS: dict[str, tuple[Kind, str, bool]] = {
    "generator": ("generator", "causal", False), "cr": ("cr", "causal", False), "masked cr": ("cr", "masked", False),
    "sampled cr": ("cr", "causal", True),
}  # fmt: skip


def a_recipe(objective: str = "causal", **training: object) -> RetrieverRecipe:
    settings, rate = {"epochs": 3, "sessions_per_batch": 30, **training}, {"learning_rate": 0.01}
    return small_recipe(model=MODEL, scoring={"objective": objective, **rate}, generator=rate, training=settings)


def started(way: str, recipe: RetrieverRecipe, log: SessionLog = LOG) -> tuple[Retriever, Fitting, SessionSampler]:
    kind, _, sampled = WAYS[way]
    retriever, state, sampler = small_fitting(kind, recipe, log)
    if sampled and isinstance(state.model, ScoringModel):
        state.model.sample_above(PRODUCTS - 1, 20, np.ones(PRODUCTS, np.float32))
    return retriever, state, sampler


def run(
    way: str, recipe: RetrieverRecipe, until: int | None = None, stored: bytes | None = None, log: SessionLog = LOG
) -> tuple[Fitting, list[float]]:
    """Train up to a step, from a state that was stored if there is one; its losses."""
    retriever, state, sampler = started(way, recipe, log)
    if stored is not None:
        state.load(torch.load(BytesIO(stored), weights_only=True))
    losses = []
    for step, loss in fit(recipe, log, retriever.marks, sampler, state, Worker()):
        losses.append(loss)
        if step == until:
            break
    return state, losses


def same(one: Fitting, other: Fitting) -> bool:
    weights, others = one.weights(), other.weights()
    return all(torch.equal(weight, others[name]) for name, weight in weights.items())


@pytest.mark.parametrize("way", WAYS)
def test_a_training_leads_to_the_same_weights_again_and_so_does_one_that_was_stopped(way: str) -> None:
    recipe = a_recipe(WAYS[way][1])
    whole, losses = run(way, recipe)
    assert (whole.step, len(losses)) == (9, 9)
    assert same(whole, run(way, recipe)[0])
    broken_off, first_losses = run(way, recipe, until=5)
    broken_off.note(0.25)
    assert not same(whole, broken_off)
    torch.save(broken_off.state(), stored := BytesIO())
    torch.manual_seed(99)
    resumed, other_losses = run(way, recipe, stored=stored.getvalue())
    assert same(whole, resumed)
    assert first_losses + other_losses == losses
    assert (resumed.step, resumed.kept_step, resumed.evaluations) == (9, 5, [(5, 0.25)])
    assert all(torch.equal(resumed.kept[name], weight) for name, weight in broken_off.weights().items())


def test_another_seed_leads_elsewhere() -> None:
    assert not same(run("cr", a_recipe(), until=1)[0], run("cr", a_recipe(seed=1), until=1)[0])


@pytest.mark.parametrize("way", ["generator", "cr"])
def test_half_precision_learns_about_the_same(way: str) -> None:
    losses = {precision: run(way, a_recipe(precision=precision), until=3)[1] for precision in ("float32", "bfloat16")}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)


def test_a_batch_of_sessions_of_one_product_can_be_learnt_from() -> None:
    log = log_of_sessions([[user, user + 1] if first else [user + 2] for user in range(20) for first in (True, False)],
                          [str(user) for user in range(20) for _ in range(2)])  # fmt: skip
    recipe = small_recipe(model=MODEL, training={"sessions_per_batch": 1, "epochs": 1}, prompt={"segment_dropout": 0.9})
    for way in ("generator", "cr"):
        state, losses = run(way, recipe, log=log)
        assert len(losses) == 40
        assert np.isfinite(losses).all()
        assert all(weight.isfinite().all() for weight in state.weights().values())


def recall(lists: Lists, cases: Cases) -> float:
    return float(np.mean(recall_and_ndcg(lists, cases, {}, [10])["recall@10"]))


def without_histories(cases: Cases) -> Cases:
    """The same carts of somebody who is not known."""
    of = cases.contexts
    nothing = starts_of([0] * len(cases)), np.empty(0, np.int32)
    contexts = type(of)(*nothing, of.cart_first_R, of.cart_C, of.retailer_R, of.surface_R, of.at_R)
    return Cases(contexts, cases.target_first_R, cases.target_T, cases.user_R)


def popular(retriever: Retriever, cases: Cases) -> Lists:
    """What the retailer of each case sells most, without the cart."""
    sold_SN, rows = retriever.sharing.sales.at_retailer.toarray(), []
    for row, retailer in enumerate(cases.contexts.retailer_R):
        sold_N = sold_SN[retailer].copy()
        sold_N[cases.contexts.cart(row)] = -1
        rows.append(np.argsort(-sold_N, kind="stable")[:10])
    return Lists(np.array(rows, np.int32), np.zeros((len(rows), 10), np.float32))


@pytest.mark.parametrize("way", ["generator", "cr", "masked cr"])
def test_both_kinds_learn_what_goes_together_better_than_what_sells(way: str) -> None:
    kind, objective, _ = WAYS[way]
    log, number_N = small_log(ordered=False, users=120), np.arange(PRODUCTS)
    near_NL = np.stack([number_N // 15, number_N % 15 // 2, number_N % 2], axis=1).astype(np.uint16)
    recipe = small_recipe(
        model={**MODEL, "dropout": 0.0}, scoring={"objective": objective, "learning_rate": 0.02}, generator={"learning_rate": 0.02},
        split={"validation_from": "2023-11-16T22:00:00Z"}, training={"epochs": 14, "sessions_per_batch": 30},
    )  # fmt: skip
    learning = split_log(log, recipe)
    retriever, state, sampler = small_fitting(kind, recipe, log, learning.train_S, near_NL)
    strangers = without_histories(learning.validation)
    before = recall(retriever.answer(strangers.contexts, 10), strangers)
    losses = [loss for _, loss in fit(recipe, log, retriever.marks, sampler, state, Worker())]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.4
    popularity = recall(popular(retriever, strangers), strangers)
    assert recall(retriever.answer(strangers.contexts, 10), strangers) > max(before, popularity) + 0.15
    assert recall(retriever.answer(learning.validation.contexts, 10), learning.validation) > popularity + 0.5


def test_the_best_weights_are_kept_and_patience_ends() -> None:
    state = Fitting(model := torch.nn.Linear(1, 1), torch.optim.SGD(model.parameters()))  # type: ignore[arg-type]
    kept = []
    for step, figure in enumerate([0.1, 0.3, 0.3, 0.2], start=1):
        state.step = step
        with torch.no_grad():
            model.bias.fill_(float(step))
        state.note(figure)
        kept.append((state.kept_step, float(state.kept["bias"]), state.exhausted(2)))
    assert kept == [(1, 1.0, False), (2, 2.0, False), (2, 2.0, False), (2, 2.0, True)]
    assert state.evaluations == [(1, 0.1), (2, 0.3), (3, 0.3), (4, 0.2)]


@pytest.mark.parametrize("kind", ["generator", "cr"])
def test_gains_and_biases_are_not_decayed_and_every_weight_is_trained(kind: Kind) -> None:
    recipe = small_recipe(training={"weight_decay": 0.3})
    retriever, _, sampler = small_fitting(kind, recipe, LOG)
    state = start_fitting(retriever.model, recipe, Worker())
    decay = {id(weight): group["weight_decay"] for group in state.optimizer.param_groups for weight in group["params"]}
    of = {name: decay[id(weight)] for name, weight in retriever.model.named_parameters()}
    assert {name for name in of if name.endswith(("q_proj.weight", "down_proj.weight"))} <= {name for name in of if of[name] == 0.3}
    assert all(of[name] == 0 for name in of if "norm" in name or "bias" in name or name.startswith(("prompt.", "own.")))
    assert set(of.values()) == {0.0, 0.3}
    assert total_steps(recipe, sampler) == recipe.training.epochs * (90 // 64)
