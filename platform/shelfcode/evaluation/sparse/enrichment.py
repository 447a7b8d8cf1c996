"""What neighbours agree on, laid beside what a catalog gives. What is given is never replaced, and what is inferred says from where."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.evaluation.sparse.agreement import Agreed, agreed_values
from shelfcode.evaluation.sparse.fields import Fields
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.text import fold

INFERRED = ("brand", "product_type", "format")
"""Fields that are filled in."""

SOURCE = pa.list_(
    pa.struct(
        [("field", pa.string()), ("release", pa.string()), ("prefix", pa.string()), ("support", pa.int32()), ("agreement", pa.float32())]
    )
)
"""Type of `inferred_from`: where each value came from."""

Inferred = Mapping[str, Sequence[Agreed | None]]
"""Field -> what was inferred of each product."""


def infer(
    fields: Fields, codes_NL: NDArray[np.integer], asked_QL: NDArray[np.integer], own_Q: NDArray[np.int64],
    lacks: Mapping[str, NDArray[np.bool_]], codebook_sizes: Sequence[int], settings: SparseSettings,
) -> dict[str, list[Agreed | None]]:  # fmt: skip
    """What the neighbours of Q products agree on, of the fields that these lack; None everywhere else.

    Args:
        fields, codes_NL: of the N products of a catalog.
        asked_QL, own_Q: codes of the products that are asked for, and their positions in the catalog, -1 for one that is not there.
        lacks: of each field that may be filled, whether each product lacks it: bool[Q].
    """
    inferred: dict[str, list[Agreed | None]] = {}
    for name, lacks_Q in lacks.items():
        inferred[name] = [None] * len(asked_QL)
        at_M = np.flatnonzero(lacks_Q)
        agreed = agreed_values(fields.values[name], codes_NL, asked_QL[at_M], own_Q[at_M], codebook_sizes, settings)
        for at, found in zip(at_M.tolist(), agreed, strict=True):
            inferred[name][at] = found
    return inferred


def is_filled(inferred: Inferred) -> NDArray[np.bool_]:
    """Whether anything was inferred of each product."""
    return np.array([any(each) for each in zip(*inferred.values(), strict=True)], bool)


def rows_of(inferred: Inferred, at_M: NDArray[np.int64]) -> Inferred:
    """What was inferred of some of the products."""
    return {name: [found[at] for at in at_M.tolist()] for name, found in inferred.items()}


def inferred_columns(inferred: Inferred, release: str, products: int) -> pa.Table:
    """inferred_brand, inferred_product_type, inferred_format, and in inferred_from where each came from."""
    none: list[Agreed | None] = [None] * products
    columns: dict[str, pa.Array] = {
        f"inferred_{name}": pa.array([each.value if each else None for each in inferred.get(name, none)], pa.string()) for name in INFERRED
    }
    sources = [_sources(row, release) or None for row in _rows(inferred, products)]
    return pa.table({**columns, "inferred_from": pa.array(sources, SOURCE)})


def enriched_texts(products: pa.Table, inferred: Inferred, leaves: Sequence[str | None]) -> pa.Table:
    """enriched_brand and enriched_description: what is given, and behind it what was inferred and the leaf of the own category path.

    Args:
        products: brand and description.
        leaves: to be said, None where none is.
    """
    given = zip(products["brand"].to_pylist(), products["description"].to_pylist(), _rows(inferred, len(products)), leaves, strict=True)
    texts = [enriched_text(*each) for each in given]
    brands, descriptions = ([text[at] for text in texts] for at in range(2))
    return pa.table({"enriched_brand": pa.array(brands, pa.string()), "enriched_description": pa.array(descriptions, pa.string())})


def enriched_text(
    brand: str | None, description: str | None, inferred: Mapping[str, Agreed | None], leaf: str | None
) -> tuple[str | None, str | None]:
    """Brand and description of a product with what was inferred and its leaf; as they are given where there is nothing to add."""
    found = {name: each.value for name, each in inferred.items() if each}
    added = dict.fromkeys(filter(None, (leaf, found.get("product_type"), found.get("format"))))
    return brand or found.get("brand"), " ".join([*([description] if description else []), *(f"{value}." for value in added)]) or None


def enriched_products(products: pa.Table, inferred: Inferred, leaves: Sequence[str | None]) -> pa.Table:
    """Products with enriched texts, to be coded again: item_id, title, description and brand."""
    texts = enriched_texts(products, inferred, leaves)
    names = pa.array([f"{item_id} filled" for item_id in products["item_id"].to_pylist()], pa.string())
    described = {"description": texts["enriched_description"], "brand": texts["enriched_brand"]}
    return pa.table({"item_id": names, "title": products["title"], **described})


def _rows(inferred: Inferred, products: int) -> list[dict[str, Agreed | None]]:
    return [{name: found[at] for name, found in inferred.items()} for at in range(products)]


def _sources(row: Mapping[str, Agreed | None], release: str) -> list[dict[str, object]]:
    return [
        {"field": name, "release": release, "prefix": each.prefix, "support": each.support, "agreement": each.agreement}
        for name, each in row.items()
        if each
    ]


def right_values(found_Q: Sequence[Agreed | None], truth_N: Sequence[str | None], own_Q: NDArray[np.int64]) -> list[bool]:
    """Whether each value that was filled in is the one that was deleted, where that is known.

    Args:
        truth_N: values of the catalog's products.
        own_Q: positions of the filled products among them.
    """
    pairs = ((found, truth_N[own]) for found, own in zip(found_Q, own_Q.tolist(), strict=True) if found)
    return [fold(found.value) == fold(truth) for found, truth in pairs if truth]
