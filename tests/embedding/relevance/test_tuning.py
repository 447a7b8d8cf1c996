"""Tuning changes what it may change, learns what it is taught, and goes on after a break as if there had been none."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from scipy.stats import ttest_rel
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer
from torch import Tensor

from shelfcode.embedding.encoder import embed_texts
from shelfcode.embedding.relevance.loss import TEXTS_AT_ONCE, RelevanceLoss, in_batch_loss, order_loss, product_loss
from shelfcode.embedding.relevance.recipe import RelevanceRecipe
from shelfcode.embedding.relevance.training_set import RelevanceSet
from shelfcode.embedding.relevance.tuning import (
    Tuning,
    build_sampler,
    concordance,
    evaluation_steps,
    freeze,
    start_tuning,
    total_steps,
    tune,
)
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.columns import EXACT
from shelfcode.optimisation import Worker

CPU = torch.device("cpu")
ALONE = Worker()
LAYERS = 3
GAINS = [1.0, 0.5, 0.2, 0.0]
NAMES = ["milk", "oat", "rye", "bread", "apple", "juice", "soap", "brand"]


@pytest.fixture(scope="module")
def base(tiny_model: Callable[..., str]) -> str:
    return tiny_model("base", layers=LAYERS)


def a_recipe(**parts: dict[str, Any]) -> RelevanceRecipe:
    training = {"frozen_layers": 1, "queries_per_batch": 4, "products_per_query": 4, "epochs": 3, **parts.pop("training", {})}
    return RelevanceRecipe.model_validate({"training": training, "encoder": {"max_tokens": 16}, **parts})


@pytest.fixture(scope="module")
def shop() -> RelevanceSet:
    """What is asked for decides and the number does not: the other way round than an untrained model has it."""
    queries, texts, rows, hard = [], list[str](), list[tuple[int, int, int]](), list[tuple[int, int]]()
    for query in range(16):
        name, number = NAMES[query % 8], query % 10
        queries.append(f"{name} {number}")
        other, third = NAMES[(query + 3) % 8], NAMES[(query + 5) % 8]
        products = {
            f"{name} {(number + 3) % 10}": 0, f"{name} {(number + 6) % 10} : {name}": 0, f"{name} {other}": 1, f"{other} : {number}": 2,
            f"{third} {number}": 3, f"{number} {number}": 3,
        }  # fmt: skip
        rows += [(query, len(texts) + place, label) for place, label in enumerate(products.values())]
        texts += products
        hard.append((query, len(texts)))
        texts.append(f"{third} {other}")
    return RelevanceSet(
        tuple(queries), tuple(texts), np.full(len(texts), -1, np.int32), np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.int64), np.array([row[2] for row in rows], np.int8),
        np.array([pair[0] for pair in hard], np.int32), np.array([pair[1] for pair in hard], np.int64),
    )  # fmt: skip


def run(
    recipe: RelevanceRecipe, shop: RelevanceSet, state: Tuning, prompts: tuple[str, str] = ("", ""), worker: Worker = ALONE
) -> Iterator[tuple[int, float]]:
    return tune(recipe, shop, build_sampler(recipe, shop), state, prompts, worker)


def all_weights(model: SentenceTransformer) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def changed(before: dict[str, Tensor], model: SentenceTransformer) -> set[str]:
    """Embeddings, numbers of layers, the pooler: wherever a weight is another now."""
    found = set()
    for name, weight in model.named_parameters():
        if not torch.equal(weight.nan_to_num(), before[name].nan_to_num()):
            found.add(name.split(".layer.")[1].split(".")[0] if ".layer." in name else name.removeprefix("0.").split(".")[1])
    return found


# Freezing


@pytest.mark.parametrize(
    ("layers", "expected"), [(0, {"embeddings", "0", "1", "2"}), (1, {"1", "2"}), (2, {"2"})], ids=["none", "one", "all but one"]
)
def test_frozen_layers_and_the_token_embeddings_stay_as_they_are_and_all_else_is_trained(
    base: str, shop: RelevanceSet, layers: int, expected: set[str]
) -> None:
    recipe = a_recipe(training={"frozen_layers": layers, "epochs": 1})
    state = start_tuning(recipe, base, CPU)
    before = all_weights(state.model)
    for _ in run(recipe, shop, state):
        pass
    assert changed(before, state.model) == expected
    of_layers = {name for name in before if any(f".layer.{layer}." in name for layer in range(layers, LAYERS))}
    assert of_layers <= set(state.weights())
    assert all(not torch.equal(weight, before[name]) for name, weight in state.weights().items() if name in of_layers)


@pytest.mark.parametrize("layers", [LAYERS, LAYERS + 1])
def test_more_layers_than_leave_one_to_train_are_refused(base: str, layers: int) -> None:
    with pytest.raises(ShelfcodeError, match=rf"training\.frozen_layers {layers}: the base model has 3; choose fewer, or 0"):
        start_tuning(a_recipe(training={"frozen_layers": layers}), base, CPU)


def test_a_model_without_layers_cannot_be_frozen_in_part_and_can_be_trained_whole(base: str) -> None:
    words = Tokenizer.from_file(str(Path(base) / "tokenizer.json"))
    model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=8)], device="cpu")
    freeze(model, 0)
    assert all(weight.requires_grad for weight in model.parameters())
    with pytest.raises(ShelfcodeError, match=r"training\.frozen_layers 1: the base model shows no stack of layers; choose fewer, or 0"):
        freeze(model, 1)


# Loss


def embeddings(loss: RelevanceLoss, texts: tuple[str, ...], prompt: str) -> Tensor:
    with torch.no_grad():
        return loss.embedded(texts, prompt)


@pytest.mark.parametrize("prompt", ["", "search : "])
def test_it_embeds_as_the_encoder_will(base: str, shop: RelevanceSet, prompt: str) -> None:
    recipe = a_recipe()
    state = start_tuning(recipe, base, CPU)
    state.model.eval()
    texts = (*shop.texts, " ".join(NAMES * 8), "", *shop.queries)
    assert len(texts) > 2 * TEXTS_AT_ONCE, "they go through the model in several parts"
    x_ND = embeddings(RelevanceLoss(recipe, state.model, shop, ("", "")), texts, prompt)
    np.testing.assert_allclose(x_ND, embed_texts(state.model, texts, prompt, 200), atol=1e-6)


@pytest.mark.parametrize(("in_batch", "product"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_the_loss_is_the_weighted_sum_of_its_terms_with_the_prompts_of_queries_and_products(
    base: str, shop: RelevanceSet, in_batch: float, product: float
) -> None:
    weights = {"order_weight": 2.0, "in_batch_weight": in_batch, "product_weight": product, "scale": 10.0, "gains": [1, 0.6, 0.2, 0]}
    recipe = a_recipe(objective=weights, training={"products_per_query": 6})
    state = start_tuning(recipe, base, CPU)
    state.model.eval()
    loss_of = RelevanceLoss(recipe, state.model, shop, ("search : ", "document : "))
    batch = build_sampler(recipe.model_copy(update={"objective": a_recipe().objective}), shop).batch(0)  # the same for all weights
    query_AD = embeddings(loss_of, tuple(f"search : {shop.queries[query]}" for query in batch.query_A), "")
    product_BD = embeddings(loss_of, tuple(f"document : {shop.texts[product]}" for product in batch.product_B), "")
    owner_B, label_B = torch.tensor(batch.owner_B), torch.tensor(batch.label_B).long()
    assert set(label_B.tolist()) == {-1, 0, 1, 2, 3}
    similarity_AB = query_AD @ product_BD.T
    gain_B = torch.tensor([1, 0.6, 0.2, 0, torch.nan])[label_B]
    own_B = (query_AD[owner_B] * product_BD).sum(dim=1)
    expected = 2 * order_loss(own_B, owner_B, gain_B, 10.0)
    expected += in_batch * in_batch_loss(similarity_AB, owner_B, label_B == EXACT, torch.tensor(batch.negative_AB), 10.0)
    expected += product * product_loss(product_BD @ product_BD.T, owner_B, label_B == EXACT, label_B > 1, 10.0)
    with torch.no_grad():
        assert float(loss_of(batch)) == pytest.approx(float(expected), rel=1e-4)


class Embedded(RelevanceLoss):
    """Embeds each text as one fixed vector, so that nothing but the loss itself is left."""

    def embedded(self, texts: Any, prompt: str) -> Tensor:
        rows = [np.random.default_rng([len(prompt), *text.encode()]).normal(size=64) for text in texts]
        return torch.nn.functional.normalize(torch.tensor(np.array(rows), dtype=torch.float32), dim=-1)


def test_cosines_are_taken_in_full_precision_whatever_that_of_the_forward_pass(base: str, shop: RelevanceSet) -> None:
    recipe = a_recipe()
    loss_of = Embedded(recipe, start_tuning(recipe, base, CPU).model, shop, ("a", "bb"))
    batch = build_sampler(recipe, shop).batch(0)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = loss_of(batch)
    assert float(coarse) == float(loss_of(batch))


def test_a_forward_pass_in_bfloat16_trains_weights_in_float32(base: str, shop: RelevanceSet) -> None:
    recipe = a_recipe(training={"precision": "bfloat16", "epochs": 1})
    state = start_tuning(recipe, base, CPU)
    losses = [loss for _, loss in run(recipe, shop, state)]
    assert np.isfinite(losses).all()
    assert {weight.dtype for weight in state.weights().values()} == {torch.float32}


# Training


def measured(state: Tuning, shop: RelevanceSet) -> np.ndarray:
    """Concordance of each query."""
    state.model.eval()
    query_QD, product_PD = (embed_texts(state.model, texts, "", 4096) for texts in (shop.queries, shop.texts))
    similarity_R = (query_QD[shop.query_R] * product_PD[shop.product_R]).sum(axis=1)
    return concordance(similarity_R, shop.query_R, shop.label_R, GAINS)


@pytest.mark.live
def test_training_lowers_the_loss_and_raises_the_concordance_on_what_it_learns(base: str, shop: RelevanceSet) -> None:
    recipe = a_recipe(training={"epochs": 10, "frozen_layers": 0, "learning_rate": 0.005})
    state = start_tuning(recipe, base, CPU)
    before_Q = measured(state, shop)
    losses = [loss for _, loss in run(recipe, shop, state)]
    assert len(losses) == total_steps(recipe, build_sampler(recipe, shop)) == 40
    assert np.mean(losses[-8:]) < 0.5 * np.mean(losses[:8])
    assert before_Q.mean() < 0.5
    assert measured(state, shop).mean() > 0.95


def test_steps_are_counted_on_from_where_the_state_is(base: str, shop: RelevanceSet) -> None:
    recipe = a_recipe()
    state = start_tuning(recipe, base, CPU)
    state.step = 9
    assert [step for step, _ in run(recipe, shop, state)] == [10, 11, 12]
    assert list(run(recipe, shop, state)) == []


@pytest.mark.live
def test_measuring_in_between_changes_nothing(base: str, shop: RelevanceSet) -> None:
    recipe = a_recipe(training={"epochs": 1})
    measured_often, never = start_tuning(recipe, base, CPU), start_tuning(recipe, base, CPU)
    for _ in run(recipe, shop, measured_often):
        assert measured_often.model.training, "with dropout, which measuring goes without"
        measured_often.note(measured(measured_often, shop))
    assert len(list(run(recipe, shop, never))) == 4
    assert all(torch.equal(weight, never.weights()[name]) for name, weight in measured_often.weights().items())


@pytest.mark.live
def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_same_weights(base: str, shop: RelevanceSet, tmp_path: Path) -> None:
    recipe = a_recipe()
    whole = start_tuning(recipe, base, CPU)
    for step, _ in run(recipe, shop, whole):
        if step in (4, 8):
            whole.note(measured(whole, shop))

    broken_off = start_tuning(recipe, base, CPU)
    for step, _ in run(recipe, shop, broken_off):
        if step == 4:
            broken_off.note(measured(broken_off, shop))
        if step == 6:
            break
    torch.save(broken_off.state(), tmp_path / "state.pt")
    resumed = start_tuning(recipe, base, CPU)
    torch.manual_seed(99)  # what was drawn before does not matter
    resumed.load(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (resumed.step, resumed.evaluations) == (6, whole.evaluations[:1])
    for step, _ in run(recipe, shop, resumed):
        if step == 8:
            resumed.note(measured(resumed, shop))

    assert (resumed.step, resumed.evaluations) == (whole.step, whole.evaluations) == (12, whole.evaluations)
    assert (resumed.kept_step, resumed.best_Q) == (whole.kept_step, whole.best_Q)
    for kept, expected in ((resumed.weights(), whole.weights()), (resumed.kept, whole.kept)):
        assert kept.keys() == expected.keys()
        assert all(torch.equal(kept[name], expected[name]) for name in kept)
    assert not torch.equal(*(next(iter(weights.values())) for weights in (whole.kept, whole.weights())))


def test_weights_that_the_loss_does_not_reach_are_no_hindrance_to_several_workers(base: str, shop: RelevanceSet, tmp_path: Path) -> None:
    """A pooler, say, of which sentence-transformers takes no notice. One of two workers, in a group of its own."""
    recipe = a_recipe(training={"workers": 2, "epochs": 1})
    state = start_tuning(recipe, base, CPU)
    before = all_weights(state.model)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        assert [step for step, _ in run(recipe, shop, state, worker=Worker(0, 2))] == [1, 2, 3, 4]
    finally:
        dist.destroy_process_group()
    assert changed(before, state.model) == {"1", "2"}


def test_more_workers_than_queries_are_refused(shop: RelevanceSet) -> None:
    recipe = a_recipe(training={"workers": 32, "queries_per_batch": 32})
    with pytest.raises(ShelfcodeError, match=r"training\.workers 32: .* 16 queries"):
        build_sampler(recipe, shop)
    build_sampler(a_recipe(training={"workers": 16, "queries_per_batch": 32}), shop)


def test_hard_negatives_are_drawn_only_where_a_term_wants_them(shop: RelevanceSet) -> None:
    def drawn(**parts: dict[str, Any]) -> int:
        return int((build_sampler(a_recipe(**parts), shop).batch(0).label_B == -1).sum())

    assert drawn() == 4
    assert drawn(hard_negatives={"per_query": 0}) == drawn(objective={"in_batch_weight": 0}) == 0


# State


def test_a_text_is_cut_where_the_recipe_says_and_the_models_own_limit_is_kept(base: str) -> None:
    state = start_tuning(a_recipe(), base, CPU)
    assert (state.model.max_seq_length, state.own_limit) == (16, 64)


def noted(base: str, *evaluations: Any) -> Iterator[Tuning]:
    """A state after each of some evaluations, at steps 0, 10, 20, ..., with the number of the evaluation for weights."""
    state = start_tuning(a_recipe(), base, CPU)
    for number, concordance_Q in enumerate(evaluations):
        state.step = 10 * number
        state.put({name: torch.full_like(weight, number) for name, weight in state.weights().items()})
        state.note(np.asarray(concordance_Q))
        yield state


NOISE = np.array([0.1, -0.1] * 5)
LEVEL = np.full(10, 0.7)


def test_the_latest_weights_that_are_not_worse_by_more_than_chance_are_kept(base: str) -> None:
    evaluations = [LEVEL - 0.2, LEVEL, LEVEL + NOISE - 0.01, LEVEL - 0.01, LEVEL + NOISE - 0.05, LEVEL, LEVEL + 0.001]
    kept = []
    for state in noted(base, *evaluations):
        kept.append(state.kept_step // 10)
        assert all((weight == kept[-1]).all() for weight in state.kept.values())
        assert all((weight == state.step // 10).all() for weight in state.weights().values()), "those in training are left alone"
    assert kept == [0, 1, 2, 2, 2, 5, 6]
    assert state.evaluations == [(10 * number, pytest.approx(values.mean())) for number, values in enumerate(evaluations)]


def test_every_evaluation_is_held_against_the_best_so_that_many_small_losses_do_not_add_up(base: str) -> None:
    """Each is worse than the one before by less than its noise."""
    *_, state = noted(base, LEVEL, *(LEVEL + NOISE - 0.02 * number for number in range(1, 6)))
    assert state.best_Q == LEVEL.tolist()
    assert state.kept_step == 10


def test_more_than_chance_is_a_paired_t_statistic_of_more_than_one(base: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first_Q, second_Q = rng.uniform(size=(2, 12))
        *_, state = noted(base, first_Q, second_Q)
        assert (state.kept_step == 10) == (ttest_rel(first_Q, second_Q).statistic <= 1)


def test_patience_is_exhausted_by_evaluations_that_are_worse(base: str) -> None:
    levels = [0.5, 0.4, 0.6, 0.6, 0.5, 0.7, 0.1, 0.2]
    seen = []
    for state in noted(base, *(np.full(10, level) for level in levels)):
        seen.append([patience for patience in (1, 2, 3) if state.exhausted(patience)])
    assert seen == [[], [1], [], [], [1], [], [1], [1, 2]]
    assert not start_tuning(a_recipe(), base, CPU).exhausted(1)


@pytest.mark.parametrize(("steps", "evaluations"), [(100, 4), (7, 4), (10, 3), (5, 5), (3, 4), (1, 4), (1001, 10), (9, 1)])
def test_evaluations_are_spread_evenly_and_the_last_comes_at_the_end(steps: int, evaluations: int) -> None:
    at = sorted(evaluation_steps(a_recipe(training={"evaluations": evaluations}), steps))
    assert len(at) == min(evaluations, steps)
    assert at[-1] == steps
    gaps = np.diff([0, *at])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


# Concordance


def slow_concordance(similarities: list[float], queries: list[int], labels: list[int], gains: list[float]) -> list[float]:
    values = []
    for query in sorted(set(queries)):
        rows = [row for row in range(len(queries)) if queries[row] == query]
        right = weights = 0.0
        for i, j in ((i, j) for i in rows for j in rows if gains[labels[i]] > gains[labels[j]]):
            weight = gains[labels[i]] - gains[labels[j]]
            right += weight * (1 if similarities[i] > similarities[j] else 0.5 if similarities[i] == similarities[j] else 0)
            weights += weight
        if weights:
            values.append(right / weights)
    return values


@pytest.mark.parametrize("gains", [GAINS, [1.0, 0.0, 0.0, 0.0], [5.0, 4.0, 4.0, 1.0]])
def test_concordance_is_the_weighted_share_of_a_querys_pairs_in_order(gains: list[float]) -> None:
    rng = np.random.default_rng(0)
    query_R, label_R = rng.integers(0, 40, 150), rng.integers(0, 4, 150)
    similarity_R = rng.normal(size=150).round(1)  # some tie
    expected = slow_concordance(similarity_R.tolist(), query_R.tolist(), label_R.tolist(), gains)
    assert len(expected) < len(np.unique(query_R)), "some have products of one gain only"
    np.testing.assert_allclose(concordance(similarity_R, query_R, label_R, gains), expected, atol=1e-12)


def test_with_two_grades_concordance_is_the_area_under_the_roc_curve() -> None:
    rng = np.random.default_rng(1)
    query_R, label_R, similarity_R = np.repeat([0, 1, 2], 40), rng.choice([0, 3], 120), rng.normal(size=120).round(1)
    expected = [roc_auc_score(label_R[query_R == query] == 0, similarity_R[query_R == query]) for query in range(3)]
    np.testing.assert_allclose(concordance(similarity_R, query_R, label_R, GAINS), expected)


@pytest.mark.parametrize(
    ("similarities", "labels", "expected"),
    [([0.9, 0.5, 0.1], [0, 1, 3], [1.0]), ([0.1, 0.5, 0.9], [0, 1, 3], [0.0]), ([0.5, 0.5], [0, 3], [0.5]), ([0.1, 0.9], [0, 0], []),
     ([np.nan, np.nan], [0, 3], [0.0])],
    ids=["in order", "upside down", "a tie", "one grade: no pairs", "a model that broke"],
)  # fmt: skip
def test_concordance_of_what_can_be_told_by_hand(similarities: list[float], labels: list[int], expected: list[float]) -> None:
    assert concordance(np.array(similarities), np.zeros(len(labels), int), np.array(labels), GAINS).tolist() == expected
