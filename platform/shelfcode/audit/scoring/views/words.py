"""Texts as tf-idf weights of hashed grams: what the view of words reads."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from shelfcode.audit.scoring.grams import Grams, hashed_grams


@dataclass(frozen=True)
class Vocabulary:
    """The grams that at least two fitted products have, and how much each weighs: the rarer, the more.

    Attributes:
        place_K: int32, the place of each of K hashed numbers among the G grams, -1 for one that is none of them.
        weight_G: inverse document frequency.
    """

    place_K: NDArray[np.int32]
    weight_G: NDArray[np.float32]
    most_characters: int

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """Weights of the grams of some texts, of unit norm where a text has any: float32 [B, G]."""
        return _rows(hashed_grams(texts, len(self.place_K), self.most_characters), self)


def fit_vocabulary(texts: Sequence[str], buckets: int, most_characters: int) -> tuple[Vocabulary, csr_matrix]:
    """The vocabulary of the fitted products' texts, and their rows."""
    grams = hashed_grams(texts, buckets, most_characters)
    texts_K = np.bincount(grams.bucket_G, minlength=buckets)
    known = np.flatnonzero(texts_K >= 2)
    place_K = np.full(buckets, -1, np.int32)
    place_K[known] = np.arange(len(known))
    vocabulary = Vocabulary(place_K, np.log((1 + len(texts)) / texts_K[known]).astype(np.float32), most_characters)
    return vocabulary, _rows(grams, vocabulary)


def _rows(grams: Grams, vocabulary: Vocabulary) -> csr_matrix:
    place = vocabulary.place_K[grams.bucket_G]
    known = place >= 0
    start_B = np.concatenate([[0], np.cumsum(known)])[grams.start_B]
    rows = csr_matrix((vocabulary.weight_G[place[known]], place[known], start_B), (len(grams), max(1, len(vocabulary.weight_G))))
    norm_B = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel()).astype(np.float32)
    rows.data /= np.repeat(np.maximum(norm_B, 1e-12), np.diff(rows.indptr))
    return rows
