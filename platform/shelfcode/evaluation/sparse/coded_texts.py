"""Products as a frozen release codes them, with the signals that tell how firmly each code stands."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from shelfcode.attributes.table import ExtractedCatalog
from shelfcode.catalog.snapshot import Snapshot, snapshot_batches
from shelfcode.embedding.embeddings import EmbeddedCatalog, embedding_matrix
from shelfcode.embedding.text_view import attribute_texts, raw_texts
from shelfcode.evaluation.sparse.chance import Examples
from shelfcode.evaluation.sparse.cut_texts import COLUMNS, Ladders, count_words, rich_products
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.evaluation.sparse.signals import margin_signals, text_signals
from shelfcode.flavor import Recipe
from shelfcode.keys import first_copies, index_keys, item_keys, row_keys
from shelfcode.quantization.model_file import load_model
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.workspace import Workspace

CHUNK = 2048
"""Products whose distances to two codewords are in memory at a time."""


@dataclass(frozen=True)
class CodedTexts:
    """Products as a frozen release codes them.

    Attributes:
        positions_N: int64, place of each coded product in its snapshot, rising. Those without a text in the view have no code.
        words_N: int64, of the text that was embedded.
        codes_NL: int64.
        signals_NF: float32, as `SIGNALS`.
    """

    positions_N: NDArray[np.int64]
    words_N: NDArray[np.int64]
    codes_NL: NDArray[np.int64]
    signals_NF: NDArray[np.float32]

    def between(self, first: int, last: int) -> "CodedTexts":
        """The products at some places of the snapshot, as if it held no others."""
        low, high = np.searchsorted(self.positions_N, [first, last])
        kept = slice(low, high)
        return CodedTexts(self.positions_N[kept] - first, self.words_N[kept], self.codes_NL[kept], self.signals_NF[kept])


Coder = Callable[[pa.Table, str], CodedTexts]
"""item_id, title, description and brand of products that no catalog holds, and a name for the stage -> these, coded."""


def code_texts(
    workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, recipe: Recipe, model_folder: str,
) -> CodedTexts:  # fmt: skip
    """Code the embedded products of a snapshot."""
    torch.set_num_threads(1)
    x_NE = np.array(embedding_matrix(workspace, embedded.folder, embedded.keys_N))
    model, words, signals, first = load_model(workspace, model_folder, recipe), [], [], 0
    words_of = _attribute_words(workspace, embedded.extracted, recipe) if embedded.extracted else None
    for batch in snapshot_batches(workspace, snapshot, list(COLUMNS)):
        low, high = np.searchsorted(embedded.positions_N, [first, first + len(batch)])
        rows = batch.take(pa.array(embedded.positions_N[low:high] - first))
        words.append(words_of(rows) if words_of else words_in(raw_texts(rows, recipe.text_view)))
        signals.append(text_signals(rows, words[-1], recipe.encoder.max_tokens))
        first += len(batch)
    return place_texts(x_NE, embedded.positions_N, np.concatenate(words), np.concatenate(signals), model)


def place_texts(
    x_NE: NDArray[np.float32], positions_N: NDArray[np.int64], words_N: NDArray[np.int64], text_signals_NF: NDArray[np.float32],
    model: RQVAE,
) -> CodedTexts:  # fmt: skip
    """Code embeddings with a frozen model, and add to the signals of their texts those of their margins."""
    codes_NL, margins_NL = _encode(model, x_NE)
    return CodedTexts(positions_N, words_N, codes_NL, np.concatenate([text_signals_NF, margin_signals(margins_NL)], axis=1))


def _encode(model: RQVAE, x_NE: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    chunks = [model.encode_with_margins(torch.from_numpy(x_NE[at : at + CHUNK])) for at in range(0, len(x_NE), CHUNK)]
    return np.concatenate([codes.numpy() for codes, _ in chunks]), np.concatenate([margins.numpy() for _, margins in chunks])


def words_in(texts: Sequence[str]) -> NDArray[np.int64]:
    """Words of each text: int64[N]."""
    return np.array([count_words(text) for text in texts], np.int64)


def _attribute_words(workspace: Workspace, extracted: ExtractedCatalog, recipe: Recipe) -> Callable[[pa.Table], NDArray[np.int64]]:
    """Products -> words of the attributes text of each."""
    keys, words = [], []
    for part in np.unique(extracted.owner.values_K).tolist():
        table = workspace.read_table(extracted.parts[part])
        table = table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), extracted.owner, part)))
        keys.append(item_keys(table["item_id"]))
        words.append(words_in(attribute_texts(table, recipe.text_view, recipe.extractor.attributes)))
    words_of = index_keys(np.concatenate(keys), np.concatenate(words))
    return lambda rows: words_of.get(item_keys(rows["item_id"])).clip(min=0)


def read_rich(workspace: Workspace, snapshot: Snapshot, coded: CodedTexts, settings: SparseSettings) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rich products to learn from, and the place of each among the coded ones."""
    tables, places, first = [], [], 0
    for batch in snapshot_batches(workspace, snapshot, list(COLUMNS)):
        low, high = np.searchsorted(coded.positions_N, [first, first + len(batch)])
        rows = batch.take(pa.array(coded.positions_N[low:high] - first))
        rich_R = rich_products(rows, settings)
        tables.append(rows.take(pa.array(rich_R)))
        places.append(low + rich_R)
        first += len(batch)
    candidates, place_M = pa.concat_tables(tables), np.concatenate(places)
    chosen_R = rich_products(candidates, settings)
    return candidates.take(pa.array(chosen_R)), place_M[chosen_R]


def step_examples(ladders: Ladders, coded: CodedTexts) -> tuple[Examples, Examples]:
    """Whether one more sentence changed L1, and L1 or L2, of every version that has a longer one.

    Args:
        coded: the versions; those that have no code, and those before them, are no examples.
    """
    place_V = np.full(len(ladders.products), -1)
    place_V[coded.positions_N] = np.arange(len(coded.positions_N))
    steps = ladders.steps
    step_X = steps[(place_V[steps] >= 0) & (place_V[steps + 1] >= 0)]
    differs_XL = coded.codes_NL[place_V[step_X]] != coded.codes_NL[place_V[step_X + 1]]

    def examples(depth: int) -> Examples:
        changed_X = differs_XL[:, :depth].any(axis=1)
        return Examples(coded.signals_NF[place_V[step_X]], changed_X, ladders.product_V[step_X], ladders.sentences_V[step_X])

    return examples(1), examples(2)
