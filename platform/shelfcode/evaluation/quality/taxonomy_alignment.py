"""Do prefixes of the semantic IDs follow the catalog's own tree? Purity and adjusted mutual information for each pair of depths."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy
from shelfcode.evaluation.quality.mutual_information import Contingency, adjusted_mutual_information, contingency
from shelfcode.reporting.figures import Figures

LabelDepth = int | Literal["leaf"]


class TaxonomyAlignmentCell(Figures):
    """One prefix depth against one depth of the tree.

    Attributes:
        prefix_depth: levels of the semantic ID that make the prefix.
        label_depth: depth of the tree counted from 1 at the top, or "leaf".
        products: products that have a label there; the others are left out.
        prefixes, labels: how many distinct ones those products have.
        purity: share of products that carry the majority label of their prefix, 0 to 1.
        purity_of_one: purity if all products had one prefix: the floor that purity is read against.
        ami: adjusted mutual information, 1 perfect, 0 chance.
    """

    prefix_depth: int
    label_depth: LabelDepth
    products: int
    prefixes: int
    labels: int
    purity: float | None
    purity_of_one: float | None
    ami: float | None


class TaxonomyAlignment(Figures):
    """All pairs of prefix depth and depth of the tree.

    Attributes:
        tree_depth: names in the longest category path.
        leaves: distinct leaves that products have.
        products_without_path: products left out everywhere.
        cells: by prefix depth, then label depth 1, 2, ..., "leaf".
    """

    tree_depth: int
    leaves: int
    products_without_path: int
    cells: tuple[TaxonomyAlignmentCell, ...]

    def at(self, prefix_depth: int, label_depth: LabelDepth) -> TaxonomyAlignmentCell | None:
        """The cell of a pair of depths, None if there is none."""
        return next((cell for cell in self.cells if (cell.prefix_depth, cell.label_depth) == (prefix_depth, label_depth)), None)


def taxonomy_alignment(prefixes: Sequence[NDArray[np.integer]], taxonomy: Taxonomy | None) -> TaxonomyAlignment | None:
    """Compare the prefixes of each depth with the labels of each depth of the tree. Exact: no product is sampled away.

    Args:
        prefixes: per prefix depth from 1, the prefix number of every product: int[N].
        taxonomy: of the same N products.

    Returns:
        None if there is no taxonomy or the products have at most one leaf between them.

    Raises:
        ValueError: taxonomy and prefixes are of different products.
    """
    if taxonomy is None:
        return None
    leaf_N = taxonomy.leaf_of_N
    if len(leaf_N) != len(prefixes[0]):
        raise ValueError(f"the taxonomy has {len(leaf_N)} products, the semantic IDs {len(prefixes[0])}")
    leaves = len(np.unique(leaf_N[leaf_N != NO_LEAF]))
    if leaves <= 1:
        return None
    # Where all paths are equally long, the deepest labels are the leaves, and are computed once.
    labels: list[tuple[LabelDepth, NDArray[np.integer]]] = [(depth, taxonomy.labels_at(depth)) for depth in range(1, taxonomy.depth + 1)]
    even = bool(((labels[-1][1] >= 0) == (leaf_N != NO_LEAF)).all())
    cells: list[TaxonomyAlignmentCell] = []
    for prefix_depth, prefix_N in enumerate(prefixes, start=1):
        row = [_cell(prefix_depth, label_depth, prefix_N, label_N) for label_depth, label_N in labels]
        leaf = row[-1].model_copy(update={"label_depth": "leaf"}) if even else _cell(prefix_depth, "leaf", prefix_N, leaf_N)
        cells += [*row, leaf]
    return TaxonomyAlignment(
        tree_depth=taxonomy.depth, leaves=leaves, products_without_path=int((leaf_N == NO_LEAF).sum()), cells=tuple(cells)
    )


def _cell(prefix_depth: int, label_depth: LabelDepth, prefix_N: NDArray[np.integer], label_N: NDArray[np.integer]) -> TaxonomyAlignmentCell:
    labelled_N = label_N >= 0
    products = int(labelled_N.sum())
    if not products:
        return TaxonomyAlignmentCell(
            prefix_depth=prefix_depth,
            label_depth=label_depth,
            products=0,
            prefixes=0,
            labels=0,
            purity=None,
            purity_of_one=None,
            ami=None,
            undefined=dict.fromkeys(("purity", "purity_of_one", "ami"), "no product has a label at this depth"),
        )
    table = contingency(prefix_N[labelled_N], label_N[labelled_N])
    ami, reason = None, "the products have one label only"
    if len(table.column_C) > 1:
        ami, reason = adjusted_mutual_information(table), "chance alone would give a perfect match: nearly every product is alone"
    return TaxonomyAlignmentCell(
        prefix_depth=prefix_depth,
        label_depth=label_depth,
        products=products,
        prefixes=len(table.row_R),
        labels=len(table.column_C),
        purity=_purity(table),
        purity_of_one=float(table.column_C.max() / products),
        ami=ami,
        undefined={} if ami is not None else {"ami": reason},
    )


def label_purity(prefix_N: NDArray[np.integer], label_N: NDArray[np.integer]) -> float:
    """Share of the products that have the most frequent label of their prefix; products of a negative label are left out."""
    labelled_N = label_N >= 0
    return _purity(contingency(prefix_N[labelled_N], label_N[labelled_N])) if labelled_N.any() else 0.0


def _purity(table: Contingency) -> float:
    first_R = np.searchsorted(table.row_Z, np.arange(len(table.row_R)))
    return float(np.maximum.reduceat(table.count_Z, first_R).sum() / table.count_Z.sum())
