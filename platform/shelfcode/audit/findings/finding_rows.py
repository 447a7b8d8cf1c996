"""Suspicions -> rows of `findings/`: with their evidence, and with what a reviewer is shown of the product."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.audit.finding import FINDINGS, finding_id
from shelfcode.audit.findings.evidence import Nearest, cluster_fit, evidence_of, witnesses_of
from shelfcode.audit.findings.issues import Suspicion
from shelfcode.audit.findings.label_counts import Census, labels_around
from shelfcode.audit.findings.scored import ScoredProducts
from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.semantic_id import format_codes

Path = tuple[str, ...]

TELLING = ("description", "brand")
"""Columns that would tell more of a product where they are empty."""


@dataclass(frozen=True)
class FittedProducts:
    """The F products that an audit is fitted to, as those that `nearest` speaks of.

    Attributes:
        table: item_id and title.
        leaf_F: their labels.
        codes_FL: in the audited flavor.
    """

    table: pa.Table
    leaf_F: NDArray[np.int32]
    codes_FL: NDArray[np.uint16]


@dataclass(frozen=True)
class ShownColumns:
    """Columns of the catalog that hold an image and a popularity, where there are any."""

    image: str | None = None
    popularity: str | None = None


def finding_table(
    suspicions: Sequence[Suspicion], scored: ScoredProducts, products: pa.Table, codes_BL: NDArray[np.uint16], label_B: NDArray[np.int32],
    text_hashes: Sequence[str], paths: Sequence[Path], census: Census, fitted: FittedProducts, columns: ShownColumns,
) -> pa.Table:  # fmt: skip
    """Rows of FINDINGS.

    Args:
        suspicions: of the B scored products.
        products: rows of the catalog of those B products; text_hashes: of what was embedded of them.
        label_B: their labels; NO_LEAF for those without one that says something.
        paths: of all leaves.
    """
    near_BJ = scored.scores.nearest_NJ
    near_codes = fitted.codes_FL[near_BJ] if len(fitted.codes_FL) else np.zeros((*near_BJ.shape, codes_BL.shape[1]), np.uint16)
    fit_B = cluster_fit(codes_BL, near_codes, near_BJ >= 0)
    rows = products.take(pa.array([each.row for each in suspicions], pa.int64())).to_pylist()
    made = []
    for each, product in zip(suspicions, rows, strict=True):
        around = labels_around(census, codes_BL[each.row], int(label_B[each.row]))
        missing = [column for column in TELLING if not product.get(column)]
        witnesses = witnesses_of(each.row, scored, around, float(fit_B[each.row]), list(_nearest(each.row, scored, fitted)), missing)
        given = tuple(product["category_path"])
        text_hash = text_hashes[each.row]
        made.append({
            "finding_id": finding_id(product["item_id"], text_hash, given), "item_id": product["item_id"], "text_hash": text_hash,
            "issue": each.issue, "given_path": given, "suggested_paths": [paths[leaf] for leaf, _ in each.suggested],
            "suggested_p": [p for _, p in each.suggested], "p_wrong": each.p_wrong, "score": each.score,
            "cluster_fit": witnesses.cluster_fit, "priority": each.priority, "evidence": evidence_of(each, witnesses, paths),
            "semantic_id": format_codes(codes_BL[each.row].tolist()), "title": product["title"],
            "description": product.get("description"), "brand": product.get("brand"),
            "image": _text(product.get(columns.image)) if columns.image else None,
            "popularity": None if np.isnan(scored.popularity_N[each.row]) else float(scored.popularity_N[each.row]),
        })  # fmt: skip
    return pa.Table.from_pylist(made, FINDINGS)


def _text(value: Any) -> str | None:
    """A cell of an image column: a list of images gives its first."""
    first = value[0] if isinstance(value, list) and value else value
    return str(first) if first else None


def _nearest(row: int, scored: ScoredProducts, fitted: FittedProducts) -> Iterator[Nearest]:
    places, cosines = scored.scores.nearest_NJ[row].tolist(), scored.scores.nearest_cosine_NJ[row].tolist()
    for place, cosine in zip(places, cosines, strict=True):
        if place >= 0 and fitted.leaf_F[place] != NO_LEAF:
            item_id, title = fitted.table["item_id"][place].as_py(), fitted.table["title"][place].as_py()
            yield Nearest(item_id, title, int(fitted.leaf_F[place]), cosine)
