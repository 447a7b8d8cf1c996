"""Adjusted mutual information of two labellings, exact also for a million products and a hundred thousand prefixes.

scikit-learn's function visits every cell of the contingency table, filled or not; with 100,000 prefixes and 1,000 leaves
that takes hours. The expectation depends on a prefix only through its size, and there are few distinct sizes, so a sum over
them gives the same number in seconds, without sampling.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

TERMS_PER_CHUNK = 1_000_000
"""Terms of the expectation that are held at once."""

_NO_ROOM = 1e-9
"""Nats between chance and a perfect match. Below this, the adjusted figure would be a division by rounding errors."""


@dataclass(frozen=True)
class Contingency:
    """How often prefix and label occur together.

    Attributes:
        count_Z: products of each pair of prefix and label that occurs.
        row_Z, column_Z: the prefix and the label of the pair; sorted by prefix, then by label.
        row_R, column_C: products of each prefix and of each label.
    """

    count_Z: NDArray[np.int64]
    row_Z: NDArray[np.int64]
    column_Z: NDArray[np.int64]
    row_R: NDArray[np.int64]
    column_C: NDArray[np.int64]


def contingency(prefix_N: NDArray[np.integer], label_N: NDArray[np.integer]) -> Contingency:
    """The filled cells of the table of two labellings, whose numbers need not be dense."""
    _, row_N, row_R = np.unique(prefix_N, return_inverse=True, return_counts=True)
    _, column_N, column_C = np.unique(label_N, return_inverse=True, return_counts=True)
    cell_Z, count_Z = np.unique(row_N.astype(np.int64) * len(column_C) + column_N, return_counts=True)
    row_Z, column_Z = np.divmod(cell_Z, len(column_C))
    return Contingency(count_Z, row_Z, column_Z, row_R, column_C)


def adjusted_mutual_information(table: Contingency) -> float | None:
    """(MI - E[MI]) / (mean of the two entropies - E[MI]): 1 for a perfect match, about 0 for chance.

    The mean is arithmetic, as in scikit-learn's `adjusted_mutual_info_score`.

    Source: Vinh, Epps and Bailey, Information Theoretic Measures for Clusterings Comparison, JMLR 11 (2010).

    Returns:
        None where chance alone gives a perfect match, such as with every product alone in its prefix and label.
    """
    total = float(table.count_Z.sum())
    joint_Z = table.count_Z / total
    information = float((joint_Z * np.log(table.count_Z * total / (table.row_R[table.row_Z] * table.column_C[table.column_Z]))).sum())
    expected = expected_mutual_information(table.row_R, table.column_C)
    room = (_entropy(table.row_R) + _entropy(table.column_C)) / 2 - expected
    return None if room < _NO_ROOM else (information - expected) / room


def expected_mutual_information(row_R: NDArray[np.integer], column_C: NDArray[np.integer], terms_per_chunk: int = TERMS_PER_CHUNK) -> float:
    """Mean mutual information, in nats, of random labellings with these group sizes (equation 24a of the source above).

    The overlap of a group of a and one of b products among N is hypergeometric. Overlaps further than 12 standard deviations
    plus 30 from the mean are left out; by Bernstein's inequality they weigh less than 1e-19.
    """
    total = int(row_R.sum())
    size_A, groups_A = np.unique(row_R, return_counts=True)
    size_B, groups_B = np.unique(column_C, return_counts=True)
    a_P, b_P = np.repeat(size_A, len(size_B)), np.tile(size_B, len(size_A))
    groups_P = (np.repeat(groups_A, len(size_B)) * np.tile(groups_B, len(size_A))).astype(float)
    mean_P = a_P * (b_P / total)
    reach_P = 12 * np.sqrt(mean_P * (1 - a_P / total) * (total - b_P) / max(total - 1, 1)) + 30
    low_P = np.maximum(np.maximum(1, a_P + b_P - total), np.floor(mean_P - reach_P).astype(np.int64))
    high_P = np.minimum(np.minimum(a_P, b_P), np.ceil(mean_P + reach_P).astype(np.int64))
    terms_P = high_P - low_P + 1
    log_factorial = gammaln(np.arange(total + 1) + 1.0)
    fixed_P = log_factorial[a_P] + log_factorial[b_P] + log_factorial[total - a_P] + log_factorial[total - b_P] - log_factorial[total]
    chunk_P = np.cumsum(terms_P) // terms_per_chunk
    expected = 0.0
    for inside in np.split(np.arange(len(a_P)), np.flatnonzero(np.diff(chunk_P)) + 1):
        terms = terms_P[inside]
        pair_T = np.repeat(inside, terms)
        overlap_T = np.arange(len(pair_T)) - np.repeat(np.cumsum(terms) - terms, terms) + low_P[pair_T]
        a_T, b_T = a_P[pair_T], b_P[pair_T]
        log_chance_T = fixed_P[pair_T] - log_factorial[overlap_T] - log_factorial[a_T - overlap_T]
        log_chance_T -= log_factorial[b_T - overlap_T] + log_factorial[total - a_T - b_T + overlap_T]
        gain_T = overlap_T / total * np.log(overlap_T / a_T * (total / b_T))
        expected += float((groups_P[pair_T] * gain_T * np.exp(log_chance_T)).sum())
    return expected


def _entropy(size_G: NDArray[np.integer]) -> float:
    share_G = size_G / size_G.sum()
    return float(-(share_G * np.log(share_G)).sum())
