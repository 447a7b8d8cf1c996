"""Semantic IDs: one codeword index per level, written `6_19_32_63`.

A semantic ID is not unique: several products may share one. Products whose IDs share a prefix mean similar things, the more so
the longer the prefix.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SEPARATOR = "_"

Codes = tuple[int, ...]


def format_codes(codes: Sequence[int]) -> str:
    """(6, 19, 32, 63) -> "6_19_32_63"."""
    return SEPARATOR.join(str(int(code)) for code in codes)


def parse(text: str) -> Codes:
    """ "6_19_32_63" -> (6, 19, 32, 63).

    Raises:
        ValueError: the text is not codeword indexes joined by `_`.
    """
    parts = text.split(SEPARATOR)
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not a semantic ID: expected codeword indexes joined by {SEPARATOR!r}, such as '6_19_32_63'")
    return tuple(int(part) for part in parts)


def prefix(text: str, depth: int) -> str:
    """The first `depth` levels of a semantic ID, in text."""
    return SEPARATOR.join(text.split(SEPARATOR)[:depth])


def format_many(codes_NL: NDArray[np.integer]) -> list[str]:
    """`format_codes` of every row."""
    return [SEPARATOR.join(row) for row in codes_NL.astype(str)]


def pack(codes_NL: NDArray[np.integer], codebook_sizes: Sequence[int]) -> NDArray[np.int64]:
    """Each row of codes as one integer, in mixed radix: equal integers mean equal codes, and they sort by level 1, then level 2, ...

    Packing the first l columns with the first l sizes gives one integer per prefix.

    Raises:
        ValueError: columns and sizes differ in number, a code is outside its codebook, or the radix exceeds 63 bits.
    """
    sizes = [int(size) for size in codebook_sizes]
    if codes_NL.ndim != 2 or codes_NL.shape[1] != len(sizes):
        raise ValueError(f"codes of shape {codes_NL.shape} do not fit {len(sizes)} codebook sizes")
    if float(np.prod(np.array(sizes, dtype=float))) >= 2.0**63:
        raise ValueError(f"codebook sizes {sizes} do not fit into one 63-bit integer")
    if codes_NL.size and bool(((codes_NL < 0) | (codes_NL >= np.array(sizes))).any()):
        raise ValueError(f"a code lies outside its codebook; sizes are {sizes}")
    packed_N = np.zeros(len(codes_NL), dtype=np.int64)
    for level, size in enumerate(sizes):
        packed_N = packed_N * size + codes_NL[:, level].astype(np.int64)
    return packed_N


def unpack(packed_N: NDArray[np.int64], codebook_sizes: Sequence[int]) -> NDArray[np.uint16]:
    """The inverse of `pack`: int64[N] -> uint16[N, levels]."""
    rest_N = packed_N.copy()
    codes_NL = np.empty((len(packed_N), len(codebook_sizes)), dtype=np.uint16)
    for level in range(len(codebook_sizes) - 1, -1, -1):
        rest_N, code_N = np.divmod(rest_N, int(codebook_sizes[level]))
        codes_NL[:, level] = code_N
    return codes_NL


def shared_depth(a_NL: NDArray[np.integer], b_NL: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many leading levels the rows of a and b share: int64[N], from 0 to the number of levels."""
    return np.cumprod(a_NL == b_NL, axis=1).sum(axis=1)
