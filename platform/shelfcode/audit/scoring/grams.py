"""The words of texts and the pieces of these, as hashed numbers: what the view of words learns from.

Hashes are polynomials over the bytes of UTF-8, computed for all texts at once, so that no gram is ever a Python object.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE = 4
"""Length, in bytes, of the pieces of a word. A word begins and ends with a mark, which counts."""

_BASE, _MIX, _PAIR = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_GAP = 32


@dataclass(frozen=True)
class Grams:
    """The distinct grams of B texts, one text after another.

    Attributes:
        bucket_G: int32, hashed numbers, rising within a text.
        start_B: int64[B + 1], where each text begins.
    """

    bucket_G: NDArray[np.int32]
    start_B: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start_B) - 1


def hashed_grams(texts: Sequence[str], buckets: int, most_characters: int) -> Grams:
    """Words, pairs of words that stand side by side, the last word once more as such, and pieces of words, each text's without repetition.

    Args:
        buckets: grams are numbered below this; two may share a number.
        most_characters: only the beginning of a text is read, which is where a product says what it is.
    """
    byte_C, text_C = _letters(texts, most_characters)
    first_W, length_W = _words(byte_C)
    if not len(first_W):
        return Grams(np.empty(0, np.int32), np.zeros(len(texts) + 1, np.int64))
    text_W = text_C[first_W]
    word_W = _word_hashes(byte_C, first_W, length_W)
    follows_W = np.flatnonzero(text_W[1:] == text_W[:-1])
    last_W = np.append(text_W[1:] != text_W[:-1], True)
    piece_C, whole_C = _pieces(byte_C)
    hashes = [word_W, word_W[follows_W] * _PAIR + word_W[follows_W + 1], word_W[last_W] ^ _PAIR, piece_C[whole_C]]
    # The gap before a first word is the end of the text before.
    owners = [text_W, text_W[follows_W], text_W[last_W], text_C[1 : len(piece_C) + 1][whole_C]]
    bucket_G = (np.concatenate(hashes) * _MIX >> np.uint64(20)) % np.uint64(buckets)
    distinct_G = np.sort(np.concatenate(owners).astype(np.uint64) * np.uint64(buckets) + bucket_G)
    distinct_G = distinct_G[np.append(True, distinct_G[1:] != distinct_G[:-1])]  # np.unique's table of hashes is slow on such numbers
    text_G = (distinct_G // np.uint64(buckets)).astype(np.int64)
    start_B = np.searchsorted(text_G, np.arange(len(texts) + 1))
    return Grams((distinct_G % np.uint64(buckets)).astype(np.int32), start_B.astype(np.int64))


def _letters(texts: Sequence[str], most_characters: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all texts in lower case, one after another, whatever is no letter or digit as a gap; and the text of each byte."""
    encoded = [text[:most_characters].lower().encode("utf-8", "surrogatepass") + b"  " for text in texts]
    byte_C = np.frombuffer(b"  " + b"".join(encoded), np.uint8).copy()
    text_C = np.repeat(np.arange(len(texts)), [len(text) for text in encoded])
    text_C = np.concatenate([np.zeros(2, np.int64), text_C])
    digit_C = (byte_C >= 48) & (byte_C <= 57)
    letter_C = ((byte_C >= 97) & (byte_C <= 122)) | (byte_C >= 128)
    byte_C[~(digit_C | letter_C)] = _GAP
    return byte_C, text_C


def _words(byte_C: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where words begin, and how long they are. Every text ends with gaps, so that no word reaches into the next text."""
    inside_C = np.concatenate([[False], byte_C != _GAP, [False]]).astype(np.int8)
    change_C = np.diff(inside_C)
    first_W, end_W = np.flatnonzero(change_C == 1), np.flatnonzero(change_C == -1)
    return first_W, end_W - first_W


def _word_hashes(byte_C: NDArray[np.uint8], first_W: NDArray[np.int64], length_W: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of each word: its bytes as digits of a number of base _BASE, modulo 2^64."""
    word_L = np.repeat(np.arange(len(first_W)), length_W)
    place_L = np.arange(len(word_L)) - np.repeat(np.cumsum(length_W) - length_W, length_W)
    power_L = np.cumprod(np.concatenate([[np.uint64(1)], np.full(int(length_W.max()), _BASE)]))[place_L]
    term_L = (byte_C[first_W[word_L] + place_L].astype(np.uint64) + np.uint64(1)) * power_L
    hash_W: NDArray[np.uint64] = np.add.reduceat(term_L, np.cumsum(length_W) - length_W)
    return hash_W * _MIX ^ (hash_W >> np.uint64(29))


def _pieces(byte_C: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """A hash of the bytes from each place on, and whether they are a piece of one word, which may include the gap before or behind it."""
    inside_C = byte_C != _GAP
    count = max(0, len(byte_C) - PIECE + 1)
    piece_C, inner_C = np.zeros(count, np.uint64), np.ones(count, bool)
    for step in range(PIECE):
        piece_C = piece_C * _BASE + byte_C[step : step + count].astype(np.uint64) + np.uint64(1)
        if 0 < step < PIECE - 1:
            inner_C &= inside_C[step : step + count]
    return piece_C, inner_C & (inside_C[:count] | inside_C[PIECE - 1 :])
