"""The losses are what their formulas say, pull the right way, and leave alone what nobody judged."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shelfcode.embedding.relevance.loss import in_batch_loss, order_loss, product_loss

GAINS = [1.0, 0.5, 0.2, 0.0, math.nan]
UNJUDGED = -1
SCALE = 20.0

Rows = tuple[Tensor, Tensor]
"""Owner and label of every product of a batch; label 0 is an Exact, 1 a Substitute, and so on."""


@pytest.fixture(params=range(4))
def rows(request: pytest.FixtureRequest) -> Rows:
    """Four queries with some products each, an Exact among them, in no order."""
    torch.manual_seed(request.param)
    owners, labels = [], []
    for query in range(4):
        count = int(torch.randint(1, 7, ()))
        owners += [query] * count
        labels += [0, *torch.randint(UNJUDGED, 4, (count - 1,)).tolist()]
    order = torch.randperm(len(owners))
    return torch.tensor(owners)[order], torch.tensor(labels)[order]


def gains_of(labels: Tensor) -> Tensor:
    return torch.tensor(GAINS)[labels]


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def slow_order_loss(similarities: list[float], owners: list[int], gains: list[float]) -> float:
    total = weights = 0.0
    for i, j in ((i, j) for i in range(len(owners)) for j in range(len(owners)) if owners[i] == owners[j]):
        if gains[i] > gains[j]:  # never where either is NaN
            total += (gains[i] - gains[j]) * softplus(-SCALE * (similarities[i] - similarities[j]))
            weights += gains[i] - gains[j]
    return total / weights if weights else 0.0


def slow_in_batch_loss(similarities: list[list[float]], owners: list[int], exact: list[bool], negative: list[list[bool]]) -> float:
    losses = []
    for product in (product for product in range(len(owners)) if exact[product]):
        row = [math.exp(SCALE * value) for value in similarities[owners[product]]]
        others = sum(value for value, counts in zip(row, negative[owners[product]], strict=True) if counts)
        losses.append(-math.log(row[product] / (row[product] + others)))
    return sum(losses) / len(losses)


def slow_product_loss(similarities: list[list[float]], owners: list[int], exact: list[bool], other: list[bool]) -> float:
    losses = []
    for anchor in (product for product in range(len(owners)) if exact[product]):
        own = [product for product in range(len(owners)) if owners[product] == owners[anchor] and product != anchor]
        partners = [similarities[anchor][product] for product in own if exact[product]]
        if partners:
            near = sum(partners) / len(partners)
            losses += [softplus(-SCALE * (near - similarities[anchor][product])) for product in own if other[product]]
    return sum(losses) / len(losses) if losses else 0.0


def test_order_loss_is_the_weighted_mean_over_pairs_of_one_query(rows: Rows) -> None:
    owner_B, label_B = rows
    similarity_B = torch.rand(len(owner_B), dtype=torch.float64) * 2 - 1
    gain_B = gains_of(label_B)
    expected = slow_order_loss(similarity_B.tolist(), owner_B.tolist(), gain_B.tolist())
    assert float(order_loss(similarity_B, owner_B, gain_B, SCALE)) == pytest.approx(expected, rel=1e-6)


def test_in_batch_loss_is_the_mean_over_exacts_against_the_querys_negatives(rows: Rows) -> None:
    owner_B, label_B = rows
    similarity_AB = torch.rand(4, len(owner_B), dtype=torch.float64) * 2 - 1
    negative_AB = (torch.rand(4, len(owner_B)) < 0.6) & (owner_B != torch.arange(4)[:, None])
    exact_B = label_B == 0
    expected = slow_in_batch_loss(similarity_AB.tolist(), owner_B.tolist(), exact_B.tolist(), negative_AB.tolist())
    assert float(in_batch_loss(similarity_AB, owner_B, exact_B, negative_AB, SCALE)) == pytest.approx(expected, rel=1e-6)


def test_product_loss_is_the_mean_over_exacts_and_what_is_no_near_substitute(rows: Rows) -> None:
    owner_B, label_B = rows
    similarity_BB = torch.rand(len(owner_B), len(owner_B), dtype=torch.float64) * 2 - 1
    exact_B, other_B = label_B == 0, label_B > 1
    expected = slow_product_loss(similarity_BB.tolist(), owner_B.tolist(), exact_B.tolist(), other_B.tolist())
    assert float(product_loss(similarity_BB, owner_B, exact_B, other_B, SCALE)) == pytest.approx(expected, rel=1e-6)


def slope(similarity: Tensor, loss: Tensor) -> list[float]:
    """Which way the loss pulls each similarity: positive is up."""
    (gradient,) = torch.autograd.grad(loss, similarity)
    return (-gradient).flatten().tolist()


def test_order_loss_raises_the_exact_and_lowers_the_irrelevant() -> None:
    similarity_B = torch.tensor([0.3, 0.3, 0.3], requires_grad=True)
    exact, substitute, irrelevant = slope(similarity_B, order_loss(similarity_B, torch.zeros(3), torch.tensor([1.0, 0.5, 0.0]), SCALE))
    assert exact > 0 > irrelevant
    assert substitute == pytest.approx(0, abs=1e-6)


def test_order_loss_pulls_harder_where_the_gains_differ_more_and_where_the_order_is_wrong() -> None:
    def pull(similarities: list[float], gains: list[float]) -> float:
        similarity_B = torch.tensor(similarities, requires_grad=True)
        return slope(similarity_B, order_loss(similarity_B, torch.tensor([0, 0, 1, 1]), torch.tensor(gains), SCALE))[0]

    wrong, right, close = pull([0.1, 0.5, 0, 0], [1, 0, 1, 0]), pull([0.5, 0.1, 0, 0], [1, 0, 1, 0]), pull([0.1, 0.5, 0, 0], [1, 0.8, 1, 0])
    assert wrong > close > right > 0


def test_order_loss_knows_no_pairs_across_queries() -> None:
    similarity_B = torch.tensor([0.1, 0.9], requires_grad=True)
    loss = order_loss(similarity_B, torch.tensor([0, 1]), torch.tensor([1.0, 0.0]), SCALE)
    assert float(loss.detach()) == 0
    assert slope(similarity_B, loss) == [0, 0]


def test_a_product_that_is_not_judged_has_no_part_in_the_order() -> None:
    gain_B = torch.tensor([1.0, math.nan, 0.0, math.nan])
    similarity_B = torch.tensor([0.1, 0.9, 0.5, -0.5], requires_grad=True)
    loss = order_loss(similarity_B, torch.zeros(4), gain_B, SCALE)
    pulls = slope(similarity_B, loss)
    assert [pulls[1], pulls[3]] == [0, 0]
    judged_B = similarity_B.detach()[[0, 2]]
    assert float(loss.detach()) == pytest.approx(float(order_loss(judged_B, torch.zeros(2), torch.tensor([1.0, 0.0]), SCALE)))


def test_in_batch_loss_raises_the_exact_lowers_negatives_and_leaves_false_ones_alone() -> None:
    similarity_AB = torch.tensor([[0.4, 0.3, 0.9, 0.2], [0.1, 0.5, 0.1, 0.2]], requires_grad=True)
    negative_AB = torch.tensor([[False, True, False, True], [True, False, False, False]])
    exact_B = torch.tensor([True, True, False, False])
    loss = in_batch_loss(similarity_AB, torch.tensor([0, 1, 0, 1]), exact_B, negative_AB, SCALE)
    pull_AB = torch.tensor(slope(similarity_AB, loss)).view(2, 4)
    assert pull_AB[0, 0] > 0 < pull_AB[1, 1]
    assert ((pull_AB < 0) == negative_AB).all()
    left_alone = [(0, 2), (1, 2), (1, 3)]
    assert [float(pull_AB[place]) for place in left_alone] == [0, 0, 0]
    with torch.no_grad():
        similarity_AB[0, 2] = -0.9
        again = in_batch_loss(similarity_AB, torch.tensor([0, 1, 0, 1]), exact_B, negative_AB, SCALE)
    assert float(again) == float(loss.detach())


def test_without_a_negative_in_batch_loss_is_nothing() -> None:
    similarity_AB = torch.tensor([[-1.0, 1.0]], requires_grad=True)
    loss = in_batch_loss(similarity_AB, torch.tensor([0, 0]), torch.tensor([True, True]), torch.zeros(1, 2, dtype=torch.bool), SCALE)
    assert float(loss.detach()) == 0
    assert slope(similarity_AB, loss) == [0, 0]


def test_product_loss_draws_exacts_together_and_pushes_the_other_away() -> None:
    similarity_BB = torch.full((4, 4), 0.3, requires_grad=True)
    exact_B, other_B = torch.tensor([True, True, False, False]), torch.tensor([False, False, True, False])
    pull_BB = torch.tensor(slope(similarity_BB, product_loss(similarity_BB, torch.zeros(4), exact_B, other_B, SCALE))).view(4, 4)
    assert pull_BB[0, 1] > 0 < pull_BB[1, 0]
    assert pull_BB[0, 2] < 0 > pull_BB[1, 2]
    assert (pull_BB[:, 3] == 0).all()
    assert (pull_BB.diagonal() == 0).all(), "a product is no partner of its own"
    assert (pull_BB[2:] == 0).all(), "only an Exact is an anchor"


@pytest.mark.parametrize(
    ("owners", "exact", "other"),
    [
        ([0, 0, 0], [True, True, True], [False] * 3),
        ([0, 0], [True, False], [False, True]),
        ([0, 1, 1], [True, True, False], [False, False, True]),
        ([0, 0, 1, 1], [True, True, True, False], [False, False, False, True]),
    ],
    ids=["nothing but Exacts", "one Exact", "Exacts of two queries", "the other is another query's"],
)
def test_product_loss_without_a_triple_is_nothing(owners: list[int], exact: list[bool], other: list[bool]) -> None:
    similarity_BB = torch.rand(len(owners), len(owners), requires_grad=True)
    loss = product_loss(similarity_BB, torch.tensor(owners), torch.tensor(exact), torch.tensor(other), SCALE)
    assert float(loss) == 0
    assert slope(similarity_BB, loss + 0 * similarity_BB.sum()) == [0] * len(owners) ** 2


@pytest.mark.parametrize("scale", [1.0, SCALE, 1000.0])
@pytest.mark.parametrize(
    "labels", [[0, 0, 0], [0, 0, UNJUDGED], [0, 3, 0]], ids=["Exacts only", "and an unjudged one", "and an Irrelevant one"]
)
def test_nothing_is_ever_nan(labels: list[int], scale: float) -> None:
    """Two queries of the same labels, embeddings that coincide, and a steep scale."""
    label_B, owner_B = torch.tensor(labels * 2), torch.tensor([0, 0, 0, 1, 1, 1])
    query_AD = functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1]])).requires_grad_()
    product_BD = functional.normalize(torch.tensor([[1.0, 0.0]] * 3 + [[-1.0, 0.0]] * 3)).requires_grad_()
    similarity_AB = query_AD @ product_BD.T
    exact_B = label_B == 0
    loss = (
        order_loss(similarity_AB[owner_B, torch.arange(6)], owner_B, gains_of(label_B), scale)
        + in_batch_loss(similarity_AB, owner_B, exact_B, owner_B != torch.arange(2)[:, None], scale)
        + product_loss(product_BD @ product_BD.T, owner_B, exact_B, label_B > 1, scale)
    )
    loss.backward()
    assert query_AD.grad is not None
    assert product_BD.grad is not None
    assert all(torch.isfinite(value).all() for value in (loss, query_AD.grad, product_BD.grad))
