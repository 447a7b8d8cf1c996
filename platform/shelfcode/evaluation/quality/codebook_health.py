"""Are the codebooks used, and evenly? Codewords and perplexity per level, and the skew of the first level.

The share of distinct semantic IDs alone hides collapse: deep levels can tell products apart while the first uses a handful
of codewords. So every level is reported by itself.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.reporting.figures import Figures

TOP_CODEWORDS = 10


class LevelUse(Figures):
    """Use of one level's codebook.

    Attributes:
        level: from 1.
        codebook_size: codewords there are.
        codewords_used: codewords that at least one product has.
        used_share: used over size.
        perplexity: exp of the entropy of the codewords' shares: the number of evenly used codewords that would be as varied.
        largest_share: share of the products that have the commonest codeword.
        largest_over_even: that share over the even share 1 / codebook_size; 1 is perfectly even.
    """

    level: int
    codebook_size: int
    codewords_used: int
    used_share: float
    perplexity: float
    largest_share: float
    largest_over_even: float


class FirstLevelSkew(Figures):
    """How unevenly products spread over the codewords of level 1.

    Attributes:
        gini: Gini coefficient of the codewords' product counts, unused ones included: 0 even, near 1 all in one.
        top_shares: share of the products that each of the ten commonest codewords has, largest first.
    """

    gini: float
    top_shares: tuple[float, ...]


class CodebookHealth(Figures):
    """Use of all levels.

    Attributes:
        levels: one entry per level, coarsest first.
        first_level: skew of level 1.
    """

    levels: tuple[LevelUse, ...]
    first_level: FirstLevelSkew


def codeword_counts(codes_NL: NDArray[np.integer], codebook_sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Products of each codeword: per level int64[codebook size]."""
    return [np.bincount(codes_NL[:, level].astype(np.int64), minlength=size) for level, size in enumerate(codebook_sizes)]


def codebook_health(codes_NL: NDArray[np.integer], codebook_sizes: Sequence[int]) -> CodebookHealth:
    """Figures of the use of each codebook; codes_NL must fit codebook_sizes and have at least one row."""
    counts = codeword_counts(codes_NL, codebook_sizes)
    share_K = np.sort(counts[0])[::-1] / len(codes_NL)
    return CodebookHealth(
        levels=tuple(_level_use(number, count_K) for number, count_K in enumerate(counts, start=1)),
        first_level=FirstLevelSkew(gini=gini(counts[0]), top_shares=tuple(float(share) for share in share_K[:TOP_CODEWORDS])),
    )


def gini(count_K: NDArray[np.integer]) -> float:
    """Gini coefficient of counts: sum over i of (2 i - K - 1) x_i / (K sum x), x sorted rising, i from 1 (Gini, 1912)."""
    size = len(count_K)
    weight_K = 2 * np.arange(1, size + 1) - size - 1
    return float((weight_K * np.sort(count_K)).sum() / (size * count_K.sum()))


def _level_use(level: int, count_K: NDArray[np.int64]) -> LevelUse:
    size, used_U = len(count_K), count_K[count_K > 0]
    share_U = used_U / used_U.sum()
    return LevelUse(
        level=level,
        codebook_size=size,
        codewords_used=len(used_U),
        used_share=len(used_U) / size,
        perplexity=float(np.exp(-(share_U * np.log(share_U)).sum())),
        largest_share=float(share_U.max()),
        largest_over_even=float(share_U.max() * size),
    )
