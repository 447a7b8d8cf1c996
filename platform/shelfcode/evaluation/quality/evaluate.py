"""One call that says what a set of semantic IDs is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.prefixes import check_codes, prefix_numbers
from shelfcode.evaluation.quality.codebook_health import CodebookHealth, codebook_health
from shelfcode.evaluation.quality.collisions import Collisions, collisions, draw_compared
from shelfcode.evaluation.quality.pairs import draw_pairs
from shelfcode.evaluation.quality.similarity_depth import SimilarityDepth, similarity_depth
from shelfcode.evaluation.quality.taxonomy_alignment import TaxonomyAlignment, taxonomy_alignment
from shelfcode.keys import index_keys
from shelfcode.reporting.figures import Figures

COMPARED_PRODUCTS = 1_000_000
"""Of a larger catalog, pairs are drawn in a random sample of so many products."""

_BOOTSTRAP, _COLLISIONS, _SAMPLE = 1, 2, 3


class Evaluation(Figures):
    """What a set of semantic IDs is worth; a release keeps it as `evaluation.json`.

    Attributes:
        products: products that have a semantic ID.
        seed: of everything drawn at random; the same seed gives the same evaluation.
        compared_products: of a catalog of more than COMPARED_PRODUCTS, the number of products among which pairs were drawn; otherwise
            None, as in an evaluation that is older than this.
        similarity_depth: whether similar products share long prefixes.
        taxonomy_alignment: whether prefixes follow the catalog's own tree; None without a tree of two leaves or more.
        codebook_health: whether codewords are used, and evenly.
        collisions: which products share a whole semantic ID.
    """

    products: int
    seed: int
    compared_products: int | None = None
    similarity_depth: SimilarityDepth
    taxonomy_alignment: TaxonomyAlignment | None
    codebook_health: CodebookHealth
    collisions: Collisions

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Size of each level's codebook."""
        return tuple(level.codebook_size for level in self.codebook_health.levels)


@dataclass(frozen=True)
class ReadProducts:
    """The products of a large catalog whose embeddings are read: those among which pairs are drawn, then some that share their IDs.

    Attributes:
        positions_M: of these products; the embeddings are given in this order.
        paired: pairs are drawn among the first so many.
    """

    positions_M: NDArray[np.int64]
    paired: int

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the embeddings of some of the products stand."""
        return index_keys(self.positions_M.astype(np.uint64)).get(positions.astype(np.uint64))


def products_read(
    codes_NL: NDArray[np.integer], codebook_sizes: Sequence[int], seed: int = 0, at_most: int = COMPARED_PRODUCTS
) -> ReadProducts | None:
    """The products whose embeddings `evaluate` reads; None where it reads all."""
    if len(codes_NL) <= at_most:
        return None
    sample_S = np.sort(np.random.default_rng([seed, _SAMPLE]).choice(len(codes_NL), at_most, replace=False))
    compared = draw_compared(prefix_numbers(codes_NL, codebook_sizes)[-1], np.random.default_rng([seed, _COLLISIONS]))
    return ReadProducts(np.concatenate([sample_S, np.setdiff1d(compared.positions(), sample_S)]), len(sample_S))


def evaluate(
    x_MD: NDArray[np.floating],
    codes_NL: NDArray[np.integer],
    codebook_sizes: Sequence[int],
    taxonomy: Taxonomy | None,
    seed: int = 0,
    read: ReadProducts | None = None,
) -> Evaluation:
    """Evaluate the semantic IDs of N products, 2 or more, at any number of levels.

    Args:
        x_MD: the embeddings that the IDs were made from, unit rows; may be a memory map and is never copied whole.
        codes_NL: one codeword index per level, of all products.
        codebook_sizes: one size per level.
        taxonomy: of the same products in the same order, or None.
        seed: of everything drawn at random.
        read: the products that x_MD has, from `products_read` with the same seed; all, in the order of codes_NL, when left out.

    Raises:
        ValueError: the arguments do not fit each other, fewer than two products, or rows without unit norm.
    """
    check_codes(codes_NL, codebook_sizes)
    expected = len(codes_NL) if read is None else len(read.positions_M)
    if len(x_MD) != expected:
        raise ValueError(f"{len(x_MD)} embeddings, but {expected} semantic IDs")
    prefixes = prefix_numbers(codes_NL, codebook_sizes)
    alignment = taxonomy_alignment(prefixes, taxonomy)
    compared = draw_compared(prefixes[-1], np.random.default_rng([seed, _COLLISIONS]))
    paired_SD, paired_SL = (x_MD, codes_NL) if read is None else (x_MD[: read.paired], codes_NL[read.positions_M[: read.paired]])
    # From the plain seed, so that another program that draws anchors and then random pairs from it judges the same pool.
    pool = draw_pairs(paired_SD, np.random.default_rng(seed))
    return Evaluation(
        products=len(codes_NL),
        seed=seed,
        compared_products=None if read is None else read.paired,
        similarity_depth=similarity_depth(pool, paired_SL, np.random.default_rng([seed, _BOOTSTRAP])),
        taxonomy_alignment=alignment,
        codebook_health=codebook_health(codes_NL, codebook_sizes),
        collisions=collisions(x_MD, codes_NL, compared, None if read is None else read.rows),
        undefined={} if alignment else {"taxonomy_alignment": "the catalog has no tree of two leaves or more"},
    )


def headline(evaluation: Evaluation) -> dict[str, float]:
    """The figures that go into a manifest and a job's last line. Undefined figures are left out."""
    similarity, health = evaluation.similarity_depth, evaluation.codebook_health
    figures: dict[str, float | None] = {
        "similarity_depth_spearman": similarity.spearman,
        "spearman_low": similarity.spearman_low,
        "spearman_high": similarity.spearman_high,
    }
    for level, share in enumerate(similarity.similar.share_at_level or (), start=1):
        figures[f"share_at_l{level}_cosine_90"] = share
    figures["codewords_used_share"] = min(level.used_share for level in health.levels)
    figures["distinct_share"] = evaluation.collisions.distinct_share
    figures["unlike_collision_share"] = evaluation.collisions.unlike_share
    figures["l1_largest_over_even"] = health.levels[0].largest_over_even
    if evaluation.taxonomy_alignment is not None:
        l1_top, l2_leaf = evaluation.taxonomy_alignment.at(1, 1), evaluation.taxonomy_alignment.at(2, "leaf")
        figures["ami_l1_top"] = l1_top.ami if l1_top else None
        figures["purity_l1_top"] = l1_top.purity if l1_top else None
        figures["purity_l2_leaf"] = l2_leaf.purity if l2_leaf else None
    return {name: value for name, value in figures.items() if value is not None}
