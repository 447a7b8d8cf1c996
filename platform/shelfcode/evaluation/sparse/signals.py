"""What is known of every product that tells how firmly its code stands: its words, and its place between codewords."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.evaluation.sparse.cut_texts import count_words

TOKENS_PER_WORD = 1.4
"""About so many tokens an encoder makes of a word of a product's text."""

SIGNALS = ("view_words", "title_words", "description_words", "brand", "read", "margin_l1", "margin_l2")
"""Columns of a matrix of signals. None of them knows the product's neighbours: a catalog's product is among its own, a cut text is not."""


def text_signals(products: pa.Table, view_words_N: NDArray[np.int64], max_tokens: int) -> NDArray[np.float32]:
    """The first five signals: float32[N, 5].

    Args:
        products: title, description and brand.
        view_words_N: words of the text that the flavor embeds.
        max_tokens: that the encoder reads of it.
    """
    title_N, description_N = (np.array([count_words(text) for text in products[name].to_pylist()]) for name in ("title", "description"))
    brand_N = np.array([bool(brand) for brand in products["brand"].to_pylist()])
    read_N = (view_words_N * TOKENS_PER_WORD / max_tokens).clip(max=1.5)
    return np.stack([np.log1p(view_words_N), np.log1p(title_N), np.log1p(description_N), brand_N, read_N], axis=1).astype(np.float32)


def margin_signals(margins_NL: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last two: how clear the choice of the first two codewords was, float32[N, 2]; a model of one level has one margin for both."""
    return margins_NL[:, [0, min(1, margins_NL.shape[1] - 1)]].astype(np.float32)
