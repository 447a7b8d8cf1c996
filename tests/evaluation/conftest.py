"""A small catalog with known structure: products around centres within centres, and a tree that follows them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.evaluation.behaviour.behavioural_alignment import BehaviouralAlignment, BehaviouralComparison, lift_ratio, relation_lifts
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs
from shelfcode.evaluation.quality.evaluate import Evaluation, evaluate


@dataclass(frozen=True)
class Clustered:
    """Products, the codes of the centres that they were made around, and a tree with one product in five astray."""

    x_ND: NDArray[np.float32]
    codes_NL: NDArray[np.uint16]
    sizes: tuple[int, ...]
    paths: list[list[str]]
    taxonomy: Taxonomy


def make_clustered(products: int, dimensions: int = 24, seed: int = 0) -> Clustered:
    rng = np.random.default_rng(seed)
    sizes = (6, 8, 10)
    codes_NL = np.stack([rng.integers(0, size, products) for size in sizes], axis=1).astype(np.uint16)
    x_ND = 0.2 * rng.standard_normal((products, dimensions))
    for level, size in enumerate(sizes):
        x_ND += rng.standard_normal((size, dimensions))[codes_NL[:, level]] / (1.5**level)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    astray_N = rng.random(products) < 0.2
    tree_N2 = np.where(astray_N[:, None], rng.integers(0, 6, (products, 2)), codes_NL[:, :2])
    paths = [[f"department {top}", f"aisle {top} {low}"] for top, low in tree_N2.tolist()]
    return Clustered(x_ND.astype(np.float32), codes_NL, sizes, paths, taxonomy_from_paths(paths))


@pytest.fixture(scope="session")
def clustered() -> Clustered:
    return make_clustered(1000)


@pytest.fixture(scope="session")
def evaluation(clustered: Clustered) -> Evaluation:
    return evaluate(clustered.x_ND, clustered.codes_NL, clustered.sizes, clustered.taxonomy)


@pytest.fixture(scope="session")
def clustered_of() -> Callable[..., Clustered]:
    """Makes such a catalog of any size."""
    return make_clustered


@pytest.fixture(scope="session")
def compared(clustered: Clustered) -> BehaviouralComparison:
    """Of the clustered products' codes against shuffled ones: pairs within a first codeword, and a relation without pairs."""
    rng = np.random.default_rng(0)
    left_P, right_P = rng.integers(0, 1000, (2, 4000))
    together = np.flatnonzero((clustered.codes_NL[left_P, 0] == clustered.codes_NL[right_P, 0]) & (left_P != right_P))
    none = np.empty(0, np.int64)
    relations = (
        RelationPairs("substitute", True, left_P[together], right_P[together], np.arange(len(together)) // 2, 9000, 3, 5),
        RelationPairs("<i>never</i>", True, none, none, none, 0, 0, 0),
    )
    shuffled_NL = rng.permutation(clustered.codes_NL)

    def aligned(codes_NL: NDArray[np.uint16]) -> BehaviouralAlignment:
        return BehaviouralAlignment(
            products=1000, seed=0, resamples=500, pairs_from="facts", passed_over=("misfiled", "<b>attributes</b>"), incomplete_rows=7,
            relations=tuple(relation_lifts(codes_NL, pairs) for pairs in relations),
        )  # fmt: skip

    return BehaviouralComparison(
        a=aligned(clustered.codes_NL),
        b=aligned(shuffled_NL),
        ratios=tuple(lift_ratio(clustered.codes_NL, shuffled_NL, pairs) for pairs in relations),
    )
