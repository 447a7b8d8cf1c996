import numpy as np
import pytest
from scipy import sparse
from small_contexts import contexts_of

from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.recipe import Worth
from shelfcode.retrieval.sharing import Sales
from shelfcode.retrieval.worth import by_worth

SOLD_N = np.array([9, 8, 7, 90, 1, 0], np.float32)
"""Product 3 sells best, 4 least of those that were sold, and nobody bought 5."""

SALES = Sales(SOLD_N, SOLD_N, sparse.csr_array(SOLD_N[None]))
LIKELIHOOD = np.array([[0.4, 0.25, 0.15, 0.1, 0.06, 0.04]])
LISTS = Lists(np.array([[3, 0, 1, 2, 4, 5]], np.int32), np.log(LIKELIHOOD).astype(np.float32))
CONTEXTS = contexts_of([[]], [[3, 3, 0]])


def ordered(**worth: float) -> list[int]:
    return by_worth(LISTS, CONTEXTS, SALES, Worth(**worth)).products_RK[0].tolist()


@pytest.mark.parametrize(
    ("worth", "order"),
    [
        ({}, [3, 0, 1, 2, 4, 5]),
        ({"new_to_user": 2}, [3, 1, 0, 2, 4, 5]),
        ({"never_sold": 5}, [3, 0, 5, 1, 2, 4]),
        ({"seldom_sold": 4.5}, [0, 1, 2, 3, 4, 5]),
        ({"new_to_user": 2, "never_sold": 6}, [5, 3, 1, 0, 2, 4]),
    ],
)
def test_a_list_is_in_the_order_of_probability_times_worth(worth: dict[str, float], order: list[int]) -> None:
    assert ordered(**worth) == order


def test_scores_say_the_order_and_lists_that_end_early_stay_so() -> None:
    short = Lists(np.array([[3, 4, -1], [-1, -1, -1]], np.int32), np.array([[-1, -1.1, -np.inf], [-np.inf] * 3], np.float32))
    weighed = by_worth(short, contexts_of([[], []], [[], []]), SALES, Worth(seldom_sold=2))
    assert weighed.products_RK.tolist() == [[4, 3, -1], [-1, -1, -1]]
    np.testing.assert_allclose(weighed.scores_RK, [[np.log(2) - 1.1, -1, -np.inf], [-np.inf] * 3], rtol=1e-6)
