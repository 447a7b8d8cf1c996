"""What lists show: how much of the catalog, how many brands, and how far from the cart they drift."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R cases, K results, C products of carts.

import numpy as np
from numpy.typing import NDArray

from shelfcode.reporting.figures import Figures
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.evaluation.cases import rows_of
from shelfcode.retrieval.evaluation.product_facts import ProductFacts
from shelfcode.retrieval.evaluation.retailer_products import RetailerProducts
from shelfcode.retrieval.lists import Lists

SHOWN = 20
"""Results of a list that are counted."""

NEAR_THE_TOP = 10
"""Results of a list that are held against the cart, and against each other."""


class Shown(Figures):
    """What all lists together show.

    Attributes:
        products, leaves, brands: distinct ones among the first SHOWN of all lists.
        coverage: share of the catalog's products among them.
    """

    products: int
    leaves: int
    brands: int
    coverage: float


class Faults(Figures):
    """What must not be: counts over all lists.

    Attributes:
        results: products in all lists.
        not_allowed: results that the retailer may not be answered with.
        in_cart: results that are in the cart.
        doubled: results that the same list has before.
        missing: places that are empty although the retailer has more products.
    """

    results: int
    not_allowed: int
    in_cart: int
    doubled: int
    missing: int

    @property
    def total(self) -> int:
        """All that must not be."""
        return self.not_allowed + self.in_cart + self.doubled + self.missing


def shown(lists: Lists, facts: ProductFacts) -> Shown:
    """What all lists together show."""
    products = np.unique(lists.products_RK[:, :SHOWN])
    products = products[products >= 0]
    leaves, brands = (np.unique(number_N[products]) for number_N in (facts.leaf_N, facts.brand_N))
    return Shown(
        products=len(products), leaves=int((leaves >= 0).sum()), brands=int((brands >= 0).sum()),
        coverage=len(products) / max(len(facts.sold_N), 1),
    )  # fmt: skip


def variety(lists: Lists, facts: ProductFacts) -> dict[str, NDArray[np.float64]]:
    """Distinct leaves and brands among the first SHOWN of each list: `leaves_a_list` and `brands_a_list`, float64[R]."""
    product_RK = lists.products_RK[:, :SHOWN]
    return {
        "leaves_a_list": _distinct(_numbers(facts.leaf_N, product_RK)),
        "brands_a_list": _distinct(_numbers(facts.brand_N, product_RK)),
    }


def drift(lists: Lists, contexts: Contexts, facts: ProductFacts) -> dict[str, NDArray[np.float64]]:
    """How far each list is from its cart, and how alike its results are: float64[R] by name, NaN where nothing can be said.

    `no_leaf_of_cart`, `no_parent_of_cart`, `no_department_of_cart`: share of the first NEAR_THE_TOP results that have none in common with
    any product of the cart. `pairs_of_a_leaf`, `pairs_of_a_department`: share of the pairs of these results that have it in common.
    Products without a path count in neither.
    """
    product_RK = lists.products_RK[:, :NEAR_THE_TOP]
    row_C = rows_of(contexts.cart_first_R)
    places = {"leaf": facts.leaf_N, "parent": facts.parent_N, "department": facts.department_N}
    away = {f"no_{name}_of_cart": _away(number_N, product_RK, row_C, contexts.cart_C) for name, number_N in places.items()}
    return away | {f"pairs_of_a_{name}": _alike(_numbers(places[name], product_RK)) for name in ("leaf", "department")}


def faults(lists: Lists, contexts: Contexts, allowed: RetailerProducts) -> Faults:
    """Count what must not be."""
    product_RK = lists.products_RK.astype(np.int64)
    products, rows_R1 = len(allowed.everywhere_N), np.arange(len(product_RK))[:, None]
    is_one_RK = product_RK >= 0
    pair_RK = rows_R1 * products + product_RK
    pair_C = np.unique((rows_of(contexts.cart_first_R) * products + contexts.cart_C)[contexts.cart_C >= 0])
    in_cart_RK = np.isin(pair_RK, pair_C) & is_one_RK
    doubled = int(is_one_RK.sum()) - len(np.unique(pair_RK[is_one_RK]))
    not_allowed_RK = is_one_RK & ~allowed.holds(contexts.retailer_R, product_RK)
    in_cart_C = allowed.holds(contexts.retailer_R[pair_C // products], (pair_C % products)[:, None])[:, 0]
    there_R = _allowed_counts(contexts, allowed) - np.bincount((pair_C // products)[in_cart_C], minlength=len(product_RK))
    missing_R = np.maximum(np.minimum(there_R, product_RK.shape[1]) - is_one_RK.sum(axis=1), 0)
    return Faults(
        results=int(is_one_RK.sum()), not_allowed=int(not_allowed_RK.sum()), in_cart=int(in_cart_RK.sum()), doubled=doubled,
        missing=int(missing_R.sum()),
    )  # fmt: skip


def _allowed_counts(contexts: Contexts, allowed: RetailerProducts) -> NDArray[np.int64]:
    """How many products each request's retailer has: int64[R]."""
    retailers, place_R = np.unique(contexts.retailer_R, return_inverse=True)
    return np.array([len(allowed.at(int(retailer))) for retailer in retailers], np.int64)[place_R]


def _numbers(number_N: NDArray[np.int32], product_RK: NDArray[np.int32]) -> NDArray[np.int64]:
    """The leaf, brand or the like of each result: -1 where there is none."""
    return np.where(product_RK < 0, -1, number_N[product_RK]).astype(np.int64)


def _distinct(number_RK: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many different numbers each row has, -1 left out."""
    sorted_RK = np.sort(number_RK, axis=1)
    new_RK = np.diff(sorted_RK, axis=1, prepend=-1) > 0
    return new_RK.sum(axis=1).astype(np.float64)


def _away(
    number_N: NDArray[np.int32], product_RK: NDArray[np.int32], row_C: NDArray[np.int64], cart_C: NDArray[np.int32]
) -> NDArray[np.float64]:
    """The share of a row's results whose number none of its cart has; NaN where no result, or no product of the cart, has one."""
    number_RK, number_C = _numbers(number_N, product_RK), _numbers(number_N, cart_C)
    numbers = int(number_N.max(initial=-1)) + 1
    pair_C = (row_C * numbers + number_C)[number_C >= 0]
    pair_RK = np.arange(len(product_RK))[:, None] * numbers + number_RK
    away_RK = (number_RK >= 0) & ~np.isin(pair_RK, pair_C)
    has_cart_R = np.bincount(row_C[number_C >= 0], minlength=len(product_RK)) > 0
    counted_R = (number_RK >= 0).sum(axis=1) * has_cart_R
    return away_RK.sum(axis=1) / np.where(counted_R, counted_R, np.nan)


def _alike(number_RK: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of a row's pairs of results that have the same number; NaN where no two have one."""
    same_RKK = (number_RK[:, :, None] == number_RK[:, None, :]) & (number_RK >= 0)[:, :, None]
    counted_R = (number_RK >= 0).sum(axis=1)
    pairs_R = counted_R * (counted_R - 1)
    return (same_RKK.sum(axis=(1, 2)) - counted_R) / np.where(pairs_R, pairs_R, np.nan)
