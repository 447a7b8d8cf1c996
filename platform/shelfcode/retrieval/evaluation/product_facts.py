"""What measures ask of products: how often they were sold, by whom they are made, where in the catalog's tree they stand."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy
from shelfcode.retrieval.evaluation.cases import Cases, rows_of

HEAD_SHARE, MIDDLE_SHARE = 0.5, 0.8
"""Best sellers first: the products that make up this share of all sales are the head, and those up to that share the middle."""

TAIL80 = 0.8

SLICES = {
    "head": "best sellers that make up half of all sales",
    "middle": "the next 30% of all sales",
    "tail": "the last 20% of all sales, most of the products",
    "tail80": "the 80% of the sold products that sold least",
    "cold": "products that training never saw",
    "cold_brand": "products of a brand that training never saw",
    "new_to_household": "products that the user never had before",
    "without_leaf": "products without a category path",
}
"""Slices of the targets, each with what it holds."""


@dataclass(frozen=True)
class ProductFacts:
    """What is known of N products.

    Attributes:
        sold_N: int64, sales in training.
        brand_N, leaf_N, parent_N, department_N: int32, numbers; -1 where unknown. The parent of a leaf at the top is the leaf itself.
    """

    sold_N: NDArray[np.int64]
    brand_N: NDArray[np.int32]
    leaf_N: NDArray[np.int32]
    parent_N: NDArray[np.int32]
    department_N: NDArray[np.int32]


def product_facts(sold_N: NDArray[np.int64], brands: pa.ChunkedArray | None = None, taxonomy: Taxonomy | None = None) -> ProductFacts:
    """Facts of an assortment.

    Args:
        brands: a text or null for each product.
        taxonomy: of the same products.
    """
    unknown_N = np.full(len(sold_N), -1, np.int32)
    brand_N = unknown_N
    if brands is not None:
        brand_N = pa.chunked_array(brands).combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int32)
    if taxonomy is None:
        return ProductFacts(sold_N, brand_N, unknown_N, unknown_N, unknown_N)
    leaf_N, top_P = taxonomy.leaf_of_N, taxonomy.ancestors_PD[:, 0]
    parent_P = np.where(taxonomy.parent_P < 0, top_P, taxonomy.parent_P)
    parent_N, department_N = (np.where(leaf_N == NO_LEAF, -1, node_P[leaf_N]).astype(np.int32) for node_P in (parent_P, top_P))
    return ProductFacts(sold_N, brand_N, leaf_N, parent_N, department_N)


def sales_parts(sold_N: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Head, middle and tail of what was sold, `tail80`, and what was not sold, `cold`: bool[N] each."""
    order = np.argsort(-sold_N, kind="stable")
    before_N = np.zeros(len(sold_N))
    before_N[order] = (np.cumsum(sold_N[order]) - sold_N[order]) / max(int(sold_N.sum()), 1)
    sold = sold_N > 0
    least = np.quantile(sold_N[sold], TAIL80) if sold.any() else 0
    return {
        "head": sold & (before_N < HEAD_SHARE),
        "middle": sold & (before_N >= HEAD_SHARE) & (before_N < MIDDLE_SHARE),
        "tail": sold & (before_N >= MIDDLE_SHARE),
        "tail80": sold & (sold_N <= least),
        "cold": ~sold,
    }


def cold_brands(facts: ProductFacts) -> NDArray[np.bool_]:
    """Products of a brand none of whose products was sold: bool[N]; of an unknown brand nothing can be said."""
    known_N = facts.brand_N >= 0
    sold_of_brand = np.bincount(facts.brand_N[known_N], weights=facts.sold_N[known_N], minlength=int(facts.brand_N.max(initial=-1)) + 1)
    cold_N = np.zeros(len(known_N), bool)
    cold_N[known_N] = sold_of_brand[facts.brand_N[known_N]] == 0
    return cold_N


def target_slices(cases: Cases, facts: ProductFacts, own_RN: csr_array | None = None) -> dict[str, NDArray[np.bool_]]:
    """Which targets belong to each of SLICES: bool[T] each. A target that the assortment lacks belongs to `new_to_household` alone.

    Args:
        own_RN: what each case's user had in training; what is in the case's history, when left out, which may be cut.
    """
    known_T = cases.target_T >= 0
    of_product = {**sales_parts(facts.sold_N), "cold_brand": cold_brands(facts), "without_leaf": facts.leaf_N < 0}
    slices = {name: known_T & part_N[cases.target_T] for name, part_N in of_product.items()}
    slices["new_to_household"] = ~_had_before(cases, len(facts.sold_N), own_RN)
    return {name: slices[name] for name in SLICES}


def _had_before(cases: Cases, products: int, own_RN: csr_array | None) -> NDArray[np.bool_]:
    """Targets that the user had before: bool[T]."""
    if own_RN is None:
        row_H, product_H = rows_of(cases.contexts.history_first_R), cases.contexts.history_H
    else:
        row_H, product_H = rows_of(own_RN.indptr), own_RN.indices
    pair_T = cases.case_T * products + cases.target_T
    return np.isin(pair_T, row_H * products + product_H) & (cases.target_T >= 0)
