"""Prefixes of semantic IDs as dense integers, for any number of levels."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def check_codes(codes_NL: NDArray[np.integer], codebook_sizes: Sequence[int]) -> None:
    """Refuse codes that do not belong to these codebooks.

    Raises:
        ValueError: codes are not integers of shape [N, levels], or one lies outside its codebook.
    """
    if codes_NL.ndim != 2 or not len(codebook_sizes) or codes_NL.shape[1] != len(codebook_sizes):
        raise ValueError(f"codes of shape {codes_NL.shape} do not fit {len(codebook_sizes)} codebook sizes")
    if not np.issubdtype(codes_NL.dtype, np.integer):
        raise ValueError(f"codes are {codes_NL.dtype}, not integers")
    for level, size in enumerate(codebook_sizes):
        code_N = codes_NL[:, level]
        if code_N.size and (int(code_N.min()) < 0 or int(code_N.max()) >= size):
            raise ValueError(f"level {level + 1} has a code outside its codebook of {size} codewords")


def prefix_numbers(codes_NL: NDArray[np.integer], codebook_sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Number the distinct prefixes of each depth in the order of their codes, from 0.

    `semantic_id.pack` holds 63 bits; numbering each level densely has no such limit.

    Returns:
        For each depth from 1 to the number of levels: int64[N]; products with equal prefixes have equal numbers.
    """
    number_N = np.zeros(len(codes_NL), dtype=np.int64)
    numbers = []
    for level, size in enumerate(codebook_sizes):
        _, inverse_N = np.unique(number_N * size + codes_NL[:, level].astype(np.int64), return_inverse=True)
        number_N = inverse_N.astype(np.int64)
        numbers.append(number_N)
    return numbers
