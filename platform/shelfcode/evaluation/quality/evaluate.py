"""One call that says what a set of semantic IDs is worth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.prefixes import check_codes, prefix_numbers
from shelfcode.evaluation.quality.codebook_health import CodebookHealth, codebook_health
from shelfcode.evaluation.quality.collisions import Collisions, collisions
from shelfcode.evaluation.quality.pairs import draw_pairs
from shelfcode.evaluation.quality.similarity_depth import SimilarityDepth, similarity_depth
from shelfcode.evaluation.quality.taxonomy_alignment import TaxonomyAlignment, taxonomy_alignment
from shelfcode.reporting.figures import Figures

_BOOTSTRAP, _COLLISIONS = 1, 2


class Evaluation(Figures):
    """What a set of semantic IDs is worth; a release keeps it as `evaluation.json`.

    Attributes:
        products: products that have a semantic ID.
        seed: of everything drawn at random; the same seed gives the same evaluation.
        similarity_depth: whether similar products share long prefixes.
        taxonomy_alignment: whether prefixes follow the catalog's own tree; None without a tree of two leaves or more.
        codebook_health: whether codewords are used, and evenly.
        collisions: which products share a whole semantic ID.
    """

    products: int
    seed: int
    similarity_depth: SimilarityDepth
    taxonomy_alignment: TaxonomyAlignment | None
    codebook_health: CodebookHealth
    collisions: Collisions

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Size of each level's codebook."""
        return tuple(level.codebook_size for level in self.codebook_health.levels)


def evaluate(
    x_ND: NDArray[np.floating],
    codes_NL: NDArray[np.integer],
    codebook_sizes: Sequence[int],
    taxonomy: Taxonomy | None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate the semantic IDs of N products, 2 or more, at any number of levels.

    Args:
        x_ND: the embeddings that the IDs were made from, unit rows; may be a memory map and is never copied whole.
        codes_NL: one codeword index per level, rows in the order of x_ND.
        codebook_sizes: one size per level.
        taxonomy: of the same products in the same order, or None.
        seed: of everything drawn at random.

    Raises:
        ValueError: the arguments do not fit each other, fewer than two products, or rows without unit norm.
    """
    check_codes(codes_NL, codebook_sizes)
    if len(x_ND) != len(codes_NL):
        raise ValueError(f"{len(x_ND)} embeddings, but {len(codes_NL)} semantic IDs")
    prefixes = prefix_numbers(codes_NL, codebook_sizes)
    alignment = taxonomy_alignment(prefixes, taxonomy)
    # From the plain seed, so that another program that draws anchors and then random pairs from it judges the same pool.
    pool = draw_pairs(x_ND, np.random.default_rng(seed))
    return Evaluation(
        products=len(codes_NL),
        seed=seed,
        similarity_depth=similarity_depth(pool, codes_NL, np.random.default_rng([seed, _BOOTSTRAP])),
        taxonomy_alignment=alignment,
        codebook_health=codebook_health(codes_NL, codebook_sizes),
        collisions=collisions(x_ND, codes_NL, prefixes[-1], np.random.default_rng([seed, _COLLISIONS])),
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
