"""The graded contrastive term against its formula written out, and workers that get the gradient of the whole batch."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from shelfcode.catalog.taxonomy import SAME_LEAF, SIBLING_LEAF, UNKNOWN, UNRELATED, Taxonomy, taxonomy_from_paths
from shelfcode.quantization.losses import codeword_cross_entropy, contrastive_loss, gather_with_gradient, graded_pairs, relation

WEIGHTS = [1.0, 0.5, 0.25]
SAME, SIBLING, TEMPERATURE = 1.0, 0.4, 0.3


def uneven_taxonomy(products: int, seed: int) -> Taxonomy:
    """Paths one to four names deep, some of them the beginning of another, and one product in six without any."""
    rng = np.random.default_rng(seed)
    names = rng.integers(0, 3, (products, 4)).tolist()
    paths = [[f"{depth}{name}" for depth, name in enumerate(row[: rng.integers(1, 5)])] if rng.random() > 1 / 6 else None for row in names]
    return taxonomy_from_paths(paths)


def places(taxonomy: Taxonomy) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    leaf_B = taxonomy.leaf_of_N
    return tuple(torch.from_numpy(array) for array in (leaf_B, taxonomy.parent_P[leaf_B], taxonomy.ancestors_PD[leaf_B, 0]))


def every(products: int, step: int = 1) -> torch.Tensor:
    return torch.arange(0, products, step)


def latents(products: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(3, products, 5, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def loss_of(h_LBD: torch.Tensor, taxonomy: Taxonomy, anchors_A: torch.Tensor | None = None) -> torch.Tensor:
    """Of all products where no anchors are given."""
    anchors_A = every(h_LBD.shape[1]) if anchors_A is None else anchors_A
    pairs = graded_pairs(*places(taxonomy), anchors_A, SAME, SIBLING)
    return contrastive_loss(h_LBD, anchors_A, *pairs, TEMPERATURE, WEIGHTS)


def loss_by_the_formula(h_LBD: torch.Tensor, taxonomy: Taxonomy, anchors_A: torch.Tensor) -> float:
    leaf_B, strength_of = taxonomy.leaf_of_N, {SAME_LEAF: SAME, SIBLING_LEAF: SIBLING}
    total = 0.0
    for h_BD, weight in zip(normalize(h_LBD.detach().double(), dim=-1), WEIGHTS, strict=True):
        terms = []
        for i in anchors_A.tolist():
            others = [(j, int(taxonomy.relation(leaf_B[i], leaf_B[j]))) for j in range(len(leaf_B)) if j != i]
            positive = {j: strength_of[kind] for j, kind in others if kind in strength_of}
            counted = [*positive, *(j for j, kind in others if kind == UNRELATED)]
            score = {j: math.exp(float(h_BD[i] @ h_BD[j]) / TEMPERATURE) for j in counted}
            if positive:
                all_scores = sum(score.values())
                terms.append(-sum(w * math.log(score[j] / all_scores) for j, w in positive.items()) / sum(positive.values()))
        total += weight * sum(terms) / len(terms)
    return total / sum(WEIGHTS)


@pytest.mark.parametrize("seed", range(6))
def test_relations_are_those_of_the_taxonomy(seed):
    taxonomy = uneven_taxonomy(80, seed)
    leaf_B = taxonomy.leaf_of_N
    expected_BB = taxonomy.relation(leaf_B[:, None], leaf_B)
    assert len(np.unique(expected_BB)) == 5
    np.testing.assert_array_equal(relation(*places(taxonomy), every(80)).numpy(), expected_BB)
    np.testing.assert_array_equal(relation(*places(taxonomy), torch.tensor([7, 3, 70])).numpy(), expected_BB[[7, 3, 70]])


@pytest.mark.parametrize("anchors", [every(60), every(60, 7), torch.tensor([59, 4])], ids=["all", "every seventh", "two"])
def test_strengths_grade_the_pairs_and_leave_the_product_itself_out(anchors):
    taxonomy = uneven_taxonomy(60, 0)
    leaf_B = taxonomy.leaf_of_N
    strength_AB, counted_AB = graded_pairs(*places(taxonomy), anchors, SAME, SIBLING)
    assert strength_AB.shape == counted_AB.shape == (len(anchors), 60)
    for (a, i), j in product(enumerate(anchors.tolist()), range(60)):
        kind = int(taxonomy.relation(leaf_B[i], leaf_B[j]))
        expected = {SAME_LEAF: SAME, SIBLING_LEAF: SIBLING}.get(kind, 0.0) if i != j else 0.0
        assert float(strength_AB[a, j]) == pytest.approx(expected)
        assert bool(counted_AB[a, j]) == (i != j and kind in (SAME_LEAF, SIBLING_LEAF, UNRELATED))


@pytest.mark.parametrize("anchors", [every(40), every(40, 6), torch.tensor([31, 2])], ids=["all", "every sixth", "two"])
@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_the_formula_of_its_docstring(seed, anchors):
    taxonomy, h_LBD = uneven_taxonomy(40, seed), latents(40, seed)
    assert loss_of(h_LBD, taxonomy, anchors).item() == pytest.approx(loss_by_the_formula(h_LBD, taxonomy, anchors), rel=1e-5)


def test_anchors_give_the_mean_over_just_those_that_have_a_positive():
    taxonomy = taxonomy_from_paths([["a"], ["a"], ["b"], None, ["a"], ["c"]])
    h_LBD = latents(6)
    alone = [loss_of(h_LBD, taxonomy, torch.tensor([anchor])).item() for anchor in (0, 1)]
    assert alone[0] != pytest.approx(alone[1])
    assert loss_of(h_LBD, taxonomy, torch.tensor([0, 2, 1, 3, 5])).item() == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_products_without_a_path_neither_pull_nor_push():
    taxonomy, h_LBD = uneven_taxonomy(60, 1), latents(60)
    pathless_B = taxonomy.leaf_of_N == -1
    assert pathless_B.any()
    loss = loss_of(h_LBD, taxonomy)
    loss.backward()
    assert torch.count_nonzero(h_LBD.grad[:, pathless_B]) == 0
    with_path = np.flatnonzero(~pathless_B)
    assert float(loss) == pytest.approx(float(loss_of(h_LBD[:, with_path], taxonomy.of(with_path))))


def test_related_products_that_share_no_parent_stay_out_of_it():
    taxonomy = taxonomy_from_paths([["a", "b", "c"], ["a", "b", "c"], ["z"], ["a", "y", "x"]])
    h_LBD = latents(4)
    loss_of(h_LBD, taxonomy).backward()
    assert torch.count_nonzero(h_LBD.grad[:, 3]) == 0
    assert torch.count_nonzero(h_LBD.grad[:, 2]) > 0


@pytest.mark.parametrize(
    "paths", [[["a"], ["b"], ["c"]], [None, None, None], [["a"], None, None]], ids=["strangers", "no paths", "one with a path"]
)
def test_a_batch_without_a_positive_pair_costs_nothing(paths):
    h_LBD = latents(3)
    loss = loss_of(h_LBD, taxonomy_from_paths(paths))
    loss.backward()
    assert float(loss) == 0
    assert torch.count_nonzero(h_LBD.grad) == 0


@pytest.mark.parametrize("products", [2, 7])
def test_a_single_leaf_gives_a_finite_gradient(products):
    """Only positives in the softmax: at equal latents there is nothing left to gain."""
    same_LBD = torch.ones(3, products, 5, requires_grad=True)
    loss = loss_of(same_LBD, taxonomy_from_paths([["a", "b"]] * products))
    loss.backward()
    assert float(loss) == pytest.approx(math.log(products - 1), abs=1e-6)
    assert same_LBD.grad.abs().max() < 1e-6


def test_descent_draws_one_leaf_together_siblings_less_and_strangers_apart():
    taxonomy = taxonomy_from_paths([["a", "x"]] * 4 + [["a", "y"]] * 4 + [["b", "z"]] * 4)
    h_LBD = latents(12)
    optimizer = torch.optim.SGD([h_LBD], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        loss_of(h_LBD, taxonomy).backward()
        optimizer.step()
    h_BD = normalize(h_LBD.detach()[0], dim=-1)
    cosine_BB = h_BD @ h_BD.T
    same, sibling, stranger = cosine_BB[:4, :4].min(), cosine_BB[:4, 4:8].mean(), cosine_BB[:8, 8:].max()
    assert same > 0.8
    assert same > sibling > 0 > stranger


def test_coarse_levels_weigh_as_the_recipe_says():
    taxonomy, h_LBD = uneven_taxonomy(40, 0), latents(40)
    pairs = (every(40), *graded_pairs(*places(taxonomy), every(40), SAME, SIBLING))
    alone = [float(contrastive_loss(h_LBD[level : level + 1], *pairs, TEMPERATURE, [1.0])) for level in range(3)]
    expected = sum(w * loss for w, loss in zip(WEIGHTS, alone, strict=True)) / sum(WEIGHTS)
    assert float(contrastive_loss(h_LBD, *pairs, TEMPERATURE, [*WEIGHTS, 9.0])) == pytest.approx(expected, rel=1e-5)


def test_the_pair_of_unknowns_is_unknown_though_both_leaves_are_minus_one():
    minus_B = torch.tensor([-1, -1])
    assert relation(minus_B, minus_B, minus_B, every(2)).tolist() == [[UNKNOWN, UNKNOWN], [UNKNOWN, UNKNOWN]]


class Latents(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight_LED = torch.nn.Parameter(torch.randn(3, 8, 5, generator=generator))

    def forward(self, x_BE: torch.Tensor) -> torch.Tensor:
        return x_BE @ self.weight_LED


def batch() -> tuple[torch.Tensor, Taxonomy]:
    return torch.randn(32, 8, generator=torch.Generator().manual_seed(6)), uneven_taxonomy(32, 2)


def gradient_of_half_a_batch(rank: int, _folder: Path) -> torch.Tensor:
    x_BE, taxonomy = batch()
    model = Latents()
    shared = DistributedDataParallel(model)
    h_LBD = shared(x_BE[rank * 16 : (rank + 1) * 16])
    loss = loss_of(gather_with_gradient(h_LBD), taxonomy, every(32, 3)) + h_LBD.square().sum(dim=(0, 2)).mean()
    loss.backward()
    return model.weight_LED.grad


@pytest.mark.live
@pytest.mark.live
def test_two_workers_get_the_gradient_of_the_whole_batch(in_two_workers):
    """Beside a mean over a worker's own products, as reconstruction is: the two are averaged alike."""
    x_BE, taxonomy = batch()
    model = Latents()
    h_LBD = model(x_BE)
    (loss_of(h_LBD, taxonomy, every(32, 3)) + h_LBD.square().sum(dim=(0, 2)).mean()).backward()
    for gradient_LED in in_two_workers(gradient_of_half_a_batch):
        torch.testing.assert_close(gradient_LED, model.weight_LED.grad, atol=1e-5, rtol=1e-5)


def test_the_cross_entropy_of_codewords_is_torchs_own_also_where_most_are_out_of_reach():
    generator = torch.Generator().manual_seed(0)
    logits_BK, target_B = 60 * torch.randn(64, 50, generator=generator), torch.randint(50, (64,), generator=generator)
    ours_BK, theirs_BK = logits_BK.clone().requires_grad_(), logits_BK.clone().requires_grad_()
    ours, theirs = codeword_cross_entropy(ours_BK, target_B), torch.nn.functional.cross_entropy(theirs_BK, target_B)
    (3 * ours).backward()
    (3 * theirs).backward()
    assert ours.item() == pytest.approx(theirs.item())
    assert torch.allclose(ours_BK.grad, theirs_BK.grad, atol=1e-7)
    assert ours_BK.grad[ours_BK.grad != 0].abs().min() > 1e-30  # none is denormal
