"""The scoring model against the formula, token by token."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, T tokens, O own products, M targets, N products, D width.

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_contexts import contexts_of
from small_log import PRODUCTS, small_codes, small_log, small_recipe
from small_retriever import CPU, marks_in, small_assortment
from torch import Tensor

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.keys import item_keys
from shelfcode.retrieval.examples import Targets, prompts_of, sample_batch, tokens_of
from shelfcode.retrieval.prompt_embedding import TokenTensors, on_device
from shelfcode.retrieval.scoring_model import NEVER, QUICKER, Sampling, ScoringModel

PLAIN = {"prompt": {"token_dropout": 0.0, "segment_dropout": 0.0}}
SETS = small_log(ordered=False)


def a_model(log: SessionLog, objective: str = "causal", loudness: float = 0.3) -> ScoringModel:
    """A model of random weights, no part of which says nothing."""
    torch.manual_seed(1)
    model = ScoringModel(small_recipe(scoring={"objective": objective}), marks_in(log), PRODUCTS).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.add_((0.05 if name.startswith("own") else loudness) * torch.randn_like(weight))
    return model


def sampled(log: SessionLog, sessions: list[int], masked: bool = False) -> tuple[TokenTensors, Targets]:
    batch = sample_batch(log, np.array(sessions), marks_in(log), small_recipe(**PLAIN).prompt, np.random.default_rng(0), masked)
    return on_device(batch.tokens, CPU), batch.targets


def loss_of(model: ScoringModel, tokens: TokenTensors, targets: Targets, smoothing: float = 0.0) -> Tensor:
    arrays = (targets.row_M, targets.position_M, targets.product_M, targets.weight_M)
    return model.loss(tokens, *(torch.from_numpy(array) for array in arrays), smoothing)


def logits_after(model: ScoringModel, tokens: TokenTensors, h_RTD: Tensor, row: int, position: int) -> Tensor:
    """What the formula says of all products, without what is in the session."""
    logits_N = h_RTD[row, position] @ model.product.weight.T + model.bias
    own = zip(tokens.own_RO[row].tolist(), tokens.own_count_RO[row].tolist(), tokens.own_age_RO[row].tolist(), strict=True)
    for product, count, age in own:
        if product >= 0:
            more = model.own.count[count] + model.own.age[age] + model.own.popularity * model.bias[product]
            logits_N = logits_N + torch.nn.functional.one_hot(torch.tensor(product), PRODUCTS) * QUICKER * more
    return logits_N


def plain_loss(model: ScoringModel, tokens: TokenTensors, targets: Targets) -> Tensor:
    """The loss, target by target."""
    h_RTD, total = model.read(tokens), torch.zeros(())
    wanted = set(zip(targets.row_M.tolist(), targets.position_M.tolist(), targets.product_M.tolist(), strict=True))
    for row, position, product, weight in zip(*(array.tolist() for array in vars(targets).values()), strict=True):
        logits_N = logits_after(model, tokens, h_RTD, row, position)
        for place in range(int(tokens.session_R[row]) + 1, position + 1):
            seen = int(tokens.product_RT[row, place])
            if seen >= 0 and (row, position, seen) not in wanted:
                logits_N = logits_N + torch.nn.functional.one_hot(torch.tensor(seen), PRODUCTS) * NEVER
        total = total - weight * logits_N.log_softmax(0)[product]
    return total


@pytest.mark.parametrize(("ordered", "masked"), [(True, False), (False, False), (False, True)])
def test_the_loss_and_its_gradient_are_those_of_the_formula(ordered: bool, masked: bool) -> None:
    log = log_of_sessions([[1, 2, 1, 3], [4, 2, 4, 4], [5, 6], [7, 5, 8, 9, 6]], list("aabb"), list("stst"), ordered=ordered)
    model = a_model(log, "masked" if masked else "causal")
    tokens, targets = sampled(log, [1, 0, 3, 3, 2, 1, 3], masked)
    targets = replace(targets, weight_M=np.linspace(0.5, 2, len(targets.weight_M)).astype(np.float32))
    ours, plain = loss_of(model, tokens, targets), plain_loss(model, tokens, targets)
    torch.testing.assert_close(ours, plain)
    for one, other in zip(*(torch.autograd.grad(loss, list(model.parameters())) for loss in (ours, plain)), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


def test_the_scores_after_a_prompt_are_those_that_were_learnt() -> None:
    model = a_model(SETS)
    contexts = contexts_of([[3], [4, 5]], [[1, 2, 1], []], [0, -1])
    tokens = on_device(tokens_of(prompts_of(contexts, marks_in(SETS), small_recipe().prompt), marks_in(SETS), small_recipe().prompt), CPU)
    with torch.no_grad():
        scores_RN, h_RTD = model.last(tokens), model.read(tokens)
        for row, length in enumerate(tokens.length_R.tolist()):
            torch.testing.assert_close(scores_RN[row], logits_after(model, tokens, h_RTD, row, length - 1), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_masked_model_sees_both_sides_of_a_product_and_a_causal_one_what_came_before() -> None:
    tokens, _ = sampled(SETS, [4])
    other = tokens.product_RT.clone()
    place = int(tokens.session_R[0]) + 2
    other[0, place] = (other[0, place] + 7) % PRODUCTS
    moved = {}
    for objective in ("causal", "masked"):
        model = a_model(SETS, objective)
        moved[objective] = (model.read(replace(tokens, product_RT=other)) - model.read(tokens)).abs().amax((0, 2))
    assert moved["causal"][:place].max() < 1e-5
    assert moved["causal"][place:].min() > 1e-4
    assert moved["masked"].min() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_a_prompt_means_the_same_beside_longer_ones(objective: str) -> None:
    model = a_model(SETS, objective)
    prompts = prompts_of(contexts_of([[3], [4, 5, 6, 7]], [[1], [2, 3, 8]]), marks_in(SETS), small_recipe().prompt)
    masked = objective == "masked"
    alone, beside = (
        model.last(on_device(tokens_of(part, marks_in(SETS), small_recipe().prompt, masked), CPU))[0] for part in (prompts[:1], prompts)
    )
    torch.testing.assert_close(alone, beside, atol=1e-4, rtol=1e-4)


def sold_in(log: SessionLog) -> np.ndarray:
    return np.bincount(log.product_E, minlength=PRODUCTS).astype(np.float32)


def test_a_product_is_sampled_as_often_as_its_correction_says() -> None:
    sold_N = np.arange(PRODUCTS, dtype=np.float32) ** 2
    sampling, share_N = Sampling(sold_N, drawn=15), torch.from_numpy(sold_N / sold_N.sum())
    torch.manual_seed(0)
    expected_N, draws = torch.zeros(PRODUCTS), 1500
    for _ in range(draws):
        column_N, columns_C, log_q_C = sampling.draw(torch.multinomial(share_N, 4, replacement=True))
        assert column_N[columns_C].tolist() == list(range(len(columns_C)))
        assert int((column_N >= 0).sum()) == len(columns_C)
        expected_N[columns_C] += (-log_q_C).exp() / draws
    assert (expected_N - 1).abs().mean() < 0.06  # what is drawn less often counts for more
    assert abs(float(expected_N.mean()) - 1) < 0.02


def test_where_all_products_are_drawn_the_sampled_loss_is_the_whole_one() -> None:
    """With what is own and what is in the session; and a product that is not drawn learns nothing."""
    tokens, targets = sampled(SETS, [2, 5, 8])
    model = a_model(SETS)
    whole = loss_of(model, tokens, targets)
    model.sample_above(PRODUCTS, 5000, sold_in(SETS))
    assert model.sampling is None
    model.sample_above(PRODUCTS - 1, 5000, sold_in(SETS))
    torch.testing.assert_close(loss_of(model, tokens, targets), whole, atol=1e-3, rtol=1e-4)
    model.sample_above(PRODUCTS - 1, 2, sold_in(SETS))
    (gradient_N,) = torch.autograd.grad(loss_of(model, tokens, targets), [model.bias])
    learnt = set(torch.nonzero(gradient_N)[:, 0].tolist())
    own = {product for product in tokens.own_RO.flatten().tolist() if product >= 0}
    assert set(targets.product_M.tolist()) <= learnt
    assert len(learnt - set(targets.product_M.tolist()) - own) <= 2


@torch.no_grad()
def test_a_sampled_loss_is_on_average_the_whole_one() -> None:
    random, share_N = np.random.default_rng(0), 1 / np.arange(1, PRODUCTS + 1) ** 1.5
    products = [random.choice(PRODUCTS, 4, replace=False, p=share_N / share_N.sum()).tolist() for _ in range(60)]
    log = log_of_sessions(products, ordered=False)
    batches, model = [sampled(log, [session]) for session in range(60)], a_model(log, loudness=0.1)
    whole = np.mean([float(loss_of(model, *batch)) / len(batch[1].row_M) for batch in batches])
    model.sample_above(1, 20, sold_in(log))
    torch.manual_seed(0)
    drawn = np.mean([float(loss_of(model, *batch)) / len(batch[1].row_M) for batch in batches for _ in range(4)])
    assert drawn == pytest.approx(whole, abs=0.1)


def test_what_is_known_before_training_is_near_and_popular() -> None:
    model = a_model(SETS, loudness=0.0)
    before_ND, vectors_ND = model.product.weight.detach().clone(), np.random.default_rng(0).normal(size=(PRODUCTS, 16))
    sold_N = np.arange(PRODUCTS, dtype=np.float32)
    model.start_from(vectors_ND.astype(np.float32), sold_N)
    moved_ND = (model.product.weight.detach() - before_ND).numpy()
    np.testing.assert_allclose(moved_ND, 0.1 * vectors_ND, atol=1e-5)
    bias_N = model.bias.detach()
    assert abs(float(bias_N.mean())) < 1e-4
    assert float(bias_N[20] - bias_N[10]) == pytest.approx(np.log(20.1 / 10.1), abs=1e-4)
    assert (bias_N.diff() > 0).all()


@torch.no_grad()
def test_products_keep_what_was_learnt_of_them_in_another_assortment_and_new_ones_come_last() -> None:
    trained, model = small_assortment(), a_model(SETS)
    item_ids = pa.array([*trained.item_ids.to_pylist()[5:], "never seen"])
    order_N = np.argsort(item_keys(item_ids))
    other = replace(
        trained, release="small@v0002", item_ids=item_ids.take(pa.array(order_N)), keys_N=item_keys(item_ids)[order_N],
        codes_NL=small_codes()[: len(item_ids)],
    )  # fmt: skip
    marks, prompt = marks_in(SETS), small_recipe().prompt
    names = trained.item_ids.to_pylist()
    scores = {}
    for assortment in (trained, other):
        model.take_up(assortment, trained)
        place_of = {name: place for place, name in enumerate(assortment.item_ids.to_pylist())}
        contexts = contexts_of([[place_of[names[9]]]], [[place_of[names[20]], place_of[names[30]]]], [1])
        scores_N = model.last(on_device(tokens_of(prompts_of(contexts, marks, prompt), marks, prompt), CPU))[0]
        scores[assortment.release] = dict(zip(place_of, scores_N.tolist(), strict=True))
    before, after = scores.values()
    assert {name: after[name] for name in names[5:]} == pytest.approx({name: before[name] for name in names[5:]}, abs=1e-4)
    assert after["never seen"] < min(after[name] for name in names[5:]) - 1000
