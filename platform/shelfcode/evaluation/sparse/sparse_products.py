"""Which products of a release are sparse, and what each of them lacks, as a table and as figures."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shelfcode.evaluation.sparse.chance import Calibration
from shelfcode.evaluation.sparse.fields import Fields
from shelfcode.evaluation.sparse.restoration import Restoration
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.reporting.figures import Figures

SPARSE_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("words", pa.int32()),
        ("p_change_l1", pa.float32()),
        ("p_change_l2", pa.float32()),
        ("missing", pa.list_(pa.string())),
        ("sparse", pa.bool_()),
    ]
)
"""Rows of `evaluations/<release>/sparse/part-*.parquet`; `words` are those of the text that the flavor embeds."""


class MissingField(BaseModel):
    """How many products lack a field, and how many of those are sparse."""

    model_config = ConfigDict(frozen=True)

    products: int
    sparse: int


class FlavorContrast(BaseModel):
    """Products that two releases both code: sparse for both, for one alone, for neither."""

    model_config = ConfigDict(frozen=True)

    against: str
    products: int
    both: int
    only_release: int
    only_against: int
    neither: int


class SparseFigures(Figures):
    """What sparse.json holds.

    Attributes:
        products, sparse: coded products, and those whose chance of another L1 is above the settings' threshold.
        mean_p_l1, mean_p_l2: mean chances over all of them.
        missing: field -> who lacks it.
        chance_l1, chance_l2: what the chances are worth on held-out products.
        restoration: whether filling in what neighbours agree on brings codes back, on rich products that were cut; None: not measured.
        contrast: with another flavor's release.
    """

    release: str
    settings: SparseSettings
    products: int
    sparse: int
    mean_p_l1: float
    mean_p_l2: float
    missing: dict[str, MissingField]
    chance_l1: Calibration
    chance_l2: Calibration
    restoration: Restoration | None = None
    contrast: FlavorContrast | None = None

    @property
    def sparse_share(self) -> float:
        return self.sparse / max(self.products, 1)


@dataclass(frozen=True)
class Enrichment:
    """What became of the sparse products of a release.

    Attributes:
        sparse, filled, with_leaf: sparse products, those that anything was filled in for, and those whose text says their own leaf now.
        fields: field -> how many got it from neighbours.
        changed: share of the sparse products whose code is another with the enriched text, down to L1 and down to L2; empty for none.
    """

    sparse: int
    filled: int
    with_leaf: int
    fields: dict[str, int]
    changed: tuple[float, ...]


def sparse_table(
    item_ids: pa.Array, words_N: NDArray[np.int64], chances_N2: NDArray[np.float32], fields: Fields, threshold: float
) -> pa.Table:
    """Rows of `SPARSE_SCHEMA`, in the order of the products.

    Args:
        chances_N2: that one more sentence changes L1, and L1 or L2.
    """
    columns = [item_ids, words_N, chances_N2[:, 0], chances_N2[:, 1], fields.missing(), chances_N2[:, 0] > threshold]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, SPARSE_SCHEMA, strict=True)], schema=SPARSE_SCHEMA)


def count_missing(table: pa.Table, names: Sequence[str]) -> dict[str, MissingField]:
    """Of each field, who lacks it."""
    sparse_N = np.array(table["sparse"].to_pylist(), bool)
    lacking = table["missing"].to_pylist()
    found = {}
    for name in names:
        lacks_N = np.array([name in missing for missing in lacking], bool)
        found[name] = MissingField(products=int(lacks_N.sum()), sparse=int((lacks_N & sparse_N).sum()))
    return found


def contrast(table: pa.Table, other: pa.Table, against: str) -> FlavorContrast:
    """The products that two tables of sparse products share."""
    sparse_of = dict(zip(other["item_id"].to_pylist(), other["sparse"].to_pylist(), strict=True))
    pairs = [
        (a, sparse_of[item]) for item, a in zip(table["item_id"].to_pylist(), table["sparse"].to_pylist(), strict=True) if item in sparse_of
    ]
    return FlavorContrast(
        against=against, products=len(pairs), both=pairs.count((True, True)), only_release=pairs.count((True, False)),
        only_against=pairs.count((False, True)), neither=pairs.count((False, False)),
    )  # fmt: skip
