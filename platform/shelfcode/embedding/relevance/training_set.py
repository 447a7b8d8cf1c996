"""What a relevance encoder learns from, or is measured on: queries, the texts of their products, judgments, hard negatives."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot, snapshot_batches
from shelfcode.embedding.relevance.hard_negatives import HardNegatives
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.interactions.judgments import Judgments
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class RelevanceSet:
    """Queries, products and judgments.

    Attributes:
        queries: Q texts.
        texts: text views of the P products that are judged or mined.
        leaf_P: int32, leaf of each product in the catalog's taxonomy, NO_LEAF without one.
        query_R, product_R, label_R: the judgments, sorted by query; label_R is int8, a place in LABELS.
        hard_query_H, hard_product_H: mined hard negatives of the queries, sorted by query.
    """

    queries: tuple[str, ...]
    texts: tuple[str, ...]
    leaf_P: NDArray[np.int32]
    query_R: NDArray[np.int32]
    product_R: NDArray[np.int64]
    label_R: NDArray[np.int8]
    hard_query_H: NDArray[np.int32]
    hard_product_H: NDArray[np.int64]

    def digest(self) -> str:
        """Hash of all that is in it."""
        arrays = (self.leaf_P, self.query_R, self.product_R, self.label_R, self.hard_query_H, self.hard_product_H)
        content = hashlib.blake2b(repr((self.queries, self.texts)).encode(), digest_size=16)  # quoted: no doubt where a text ends
        for array in arrays:
            content.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        return content.hexdigest()


def gather_set(
    judgments: Judgments, hard: HardNegatives | None, leaf_N: NDArray[np.int32], view: TextViewSettings, workspace: Workspace,
    snapshot: Snapshot,
) -> RelevanceSet:  # fmt: skip
    """Judgments and hard negatives with the texts of their products.

    Args:
        leaf_N: leaf of every product of the snapshot.
    """
    hard = hard or HardNegatives(np.empty(0, np.int32), np.empty(0, np.int64))
    position_P = np.unique(np.concatenate([judgments.product_R, hard.product_H]))
    texts: list[str] = []
    first = 0
    for batch in snapshot_batches(workspace, snapshot, list(view.columns)):
        rows = position_P[(position_P >= first) & (position_P < first + len(batch))] - first
        texts += raw_texts(batch.take(pa.array(rows)), view)
        first += len(batch)
    return RelevanceSet(
        judgments.queries, tuple(texts), leaf_N[position_P], judgments.query_R, np.searchsorted(position_P, judgments.product_R),
        judgments.label_R, hard.query_H, np.searchsorted(position_P, hard.product_H),
    )  # fmt: skip


def split_queries(judgments: Judgments, share: float, seed: int) -> tuple[Judgments, Judgments]:
    """Judgments to learn from, and those of a random share of the queries, at least two, to validate on."""
    order = np.random.default_rng([seed, 2]).permutation(len(judgments.queries))
    held = max(2, round(share * len(order)))
    return judgments.of(np.sort(order[held:])), judgments.of(np.sort(order[:held]))


def write_set(workspace: Workspace, folder: str, relevance: RelevanceSet) -> None:
    """Write a set as four tables, for workers to read."""
    tables = {
        "queries": {"query": list(relevance.queries)},
        "products": {"text": list(relevance.texts), "leaf": relevance.leaf_P},
        "judgments": {"query": relevance.query_R, "product": relevance.product_R, "label": relevance.label_R},
        "hard_negatives": {"query": relevance.hard_query_H, "product": relevance.hard_product_H},
    }
    for name, columns in tables.items():
        workspace.write_table(f"{folder}/{name}.parquet", pa.table(columns))


def read_set(workspace: Workspace, folder: str) -> RelevanceSet:
    """A set that `write_set` kept."""
    queries, products, judgments, hard = (
        workspace.read_table(f"{folder}/{name}.parquet") for name in ("queries", "products", "judgments", "hard_negatives")
    )
    return RelevanceSet(
        tuple(queries["query"].to_pylist()), tuple(products["text"].to_pylist()), products["leaf"].to_numpy(),
        judgments["query"].to_numpy(), judgments["product"].to_numpy(), judgments["label"].to_numpy(), hard["query"].to_numpy(),
        hard["product"].to_numpy(),
    )  # fmt: skip
