"""Measures of a ranking by cosine against graded labels, as a whole and for resamples of the queries.

Of a query with judged products r, their gains g_r (E 1, S 0.1, C 0.01, I 0) and their ranks by cosine, best first:

    DCG@10  = sum over the first ten of g_r / log2(1 + rank of r)        (Järvelin and Kekäläinen, 2002)
    NDCG@10 = DCG@10 / DCG@10 of the best order; mean over queries
    MRR     = 1 / rank of the first exact product; mean over queries
    AUC     = share of the pairs of a better and a worse label in which the better has the higher cosine, ties counting half

Equal cosines: NDCG and the reciprocal rank are their expected values over all orders of the tied products (McSherry and
Najork, 2008), so the order of the rows decides nothing. AUC is taken pooled, over all pairs of judged rows, be they of one
query or of two: does one threshold serve all queries? And within queries, over the pairs of one query, which all weigh the
same: is each list in order?

Bootstrap: queries are drawn with replacement, as many as there are, each with all its rows (Efron and Tibshirani, 1993, of
clusters). A pooled AUC is computed anew for each resample; a row of a query drawn w times counts w times.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import nhypergeom
from sklearn.metrics import ndcg_score

from shelfcode.interactions.columns import LABELS
from shelfcode.reporting.intervals import divided

GAINS = (1.0, 0.1, 0.01, 0.0)
"""Of the labels, in the order of LABELS."""

CUT_OFF = 10
CELLS_AT_ONCE = 2_000_000

_E, _S, _C = (LABELS.index(label) for label in "ESC")

Sampler = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""How often each query counts, float64[Q, S] -> a measure in each of S samples, NaN where it is undefined."""


@dataclass(frozen=True)
class JudgedRows:
    """R judged rows of Q queries.

    Attributes:
        query_R: int64, dense from 0; in any order.
        label_R: int8, place in LABELS.
        queries: Q.
    """

    query_R: NDArray[np.int64]
    label_R: NDArray[np.int8]
    queries: int

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """By measure, the rows that have a part in it: bool[R]; none where it is undefined."""
        exact_R, substitute_R, complement_R = (self.label_R == label for label in (_E, _S, _C))
        either_R = substitute_R | complement_R
        exact_and_not_R = np.full(len(exact_R), exact_R.any() and not exact_R.all())
        both_R = either_R & bool(substitute_R.any() and complement_R.any())
        return {
            "ndcg_at_10": self._with(exact_R | either_R),
            "mrr": self._with(exact_R),
            "auc_exact": exact_and_not_R,
            "auc_substitute": both_R,
            "auc_exact_within": self._with(exact_R) & self._with(~exact_R),
            "auc_substitute_within": either_R & self._with(substitute_R) & self._with(complement_R),
        }

    def only(self, part_R: NDArray[np.bool_]) -> "JudgedRows":
        """Some of the rows; queries keep their numbers."""
        return JudgedRows(self.query_R[part_R], self.label_R[part_R], self.queries)

    def _with(self, chosen_R: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """All rows of the queries that have a chosen one."""
        has_Q = np.zeros(self.queries, dtype=bool)
        has_Q[self.query_R[chosen_R]] = True
        return has_Q[self.query_R]


def measures(
    scores: Sequence[NDArray[np.float64]], rows: JudgedRows, rng: np.random.Generator, resamples: int, cells_at_once: int = CELLS_AT_ONCE
) -> list[dict[str, NDArray[np.float64]]]:
    """The measures of one or more encoders on the same rows; a resample serves all of them.

    Args:
        scores: each float64[R], higher is better.
        rng: draws the resamples.
        cells_at_once: rows times resamples that are held in memory.

    Returns:
        By encoder and measure: float64[1 + resamples], the rows as they are first; NaN where it is undefined.
    """
    samplers = [_samplers(score_R, rows) for score_R in scores]
    measured: list[dict[str, list[NDArray[np.float64]]]] = [{name: [] for name in sampler} for sampler in samplers]
    for weight_QS in _weights(rows, rng, resamples, cells_at_once):
        for sampler, values in zip(samplers, measured, strict=True):
            for name, value_of in sampler.items():
                values[name].append(value_of(weight_QS))
    return [{name: np.concatenate(parts) for name, parts in values.items()} for values in measured]


def _samplers(score_R: NDArray[np.float64], rows: JudgedRows) -> dict[str, Sampler]:
    return {
        name: _MEASURES[name](score_R[part_R], rows.only(part_R)) if part_R.any() else _undefined for name, part_R in rows.parts().items()
    }


def _undefined(weight_QS: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(weight_QS.shape[1], np.nan)


def _weights(rows: JudgedRows, rng: np.random.Generator, resamples: int, cells_at_once: int) -> Iterator[NDArray[np.float64]]:
    """How often each query is drawn, float64[Q, some samples]: once each in the first sample, then resamples."""
    queries = rows.queries
    yield np.ones((queries, 1))
    step = max(1, cells_at_once // max(len(rows.query_R), 1))
    for start in range(0, resamples if queries else 0, step):
        drawn_SQ = rng.multinomial(queries, np.full(queries, 1 / queries), size=min(step, resamples - start))
        yield np.ascontiguousarray(drawn_SQ.T, dtype=np.float64)


def _mean(value_Q: NDArray[np.float64], rows: JudgedRows) -> Sampler:
    """Mean over the queries that have rows."""
    return _ratio(value_Q, (np.bincount(rows.query_R, minlength=rows.queries) > 0).astype(np.float64))


def _ratio(above_Q: NDArray[np.float64], below_Q: NDArray[np.float64]) -> Sampler:
    return lambda weight_QS: divided(above_Q @ weight_QS, below_Q @ weight_QS)


def _ndcg(score_R: NDArray[np.float64], rows: JudgedRows) -> Sampler:
    """Mean NDCG@10; each query that has rows has one with a gain."""
    value_Q = np.zeros(rows.queries)
    gain_R = np.array(GAINS)[rows.label_R]
    order = np.argsort(rows.query_R, kind="stable")
    present, first = np.unique(rows.query_R[order], return_index=True)
    for query, of_query in zip(present, np.split(order, first[1:]), strict=True):
        # scikit-learn refuses a list of one, whose only order is the best.
        value_Q[query] = ndcg_score([gain_R[of_query]], [score_R[of_query]], k=CUT_OFF) if len(of_query) > 1 else 1.0
    return _mean(value_Q, rows)


def _mrr(score_R: NDArray[np.float64], rows: JudgedRows) -> Sampler:
    """Mean of the expected 1 / rank of the first exact product; each query that has rows has one.

    With e exact ones among n products tied at the cosine of the best exact one, and b products above, the first exact one comes
    after j others of the tied with the negative hypergeometric probability p(j; n, n - e, 1): its rank is then b + j + 1.
    """
    query_R, exact_R = rows.query_R, rows.label_R == _E
    best_Q = np.full(rows.queries, -np.inf)
    np.maximum.at(best_Q, query_R[exact_R], score_R[exact_R])
    above_Q = np.bincount(query_R[score_R > best_Q[query_R]], minlength=rows.queries)
    tied_R = score_R == best_Q[query_R]
    tied_Q = np.bincount(query_R[tied_R], minlength=rows.queries)
    others_Q = np.bincount(query_R[tied_R & ~exact_R], minlength=rows.queries)
    query_T = np.sort(query_R[tied_R])
    before_T = np.arange(len(query_T)) - (np.cumsum(tied_Q) - tied_Q)[query_T]
    chance_T = nhypergeom.pmf(before_T, tied_Q[query_T], others_Q[query_T], 1)
    expected_Q = np.bincount(query_T, weights=chance_T / (above_Q[query_T] + before_T + 1), minlength=rows.queries)
    return _mean(expected_Q.astype(np.float64), rows)


def _pooled_auc(score_R: NDArray[np.float64], rows: JudgedRows, better: int) -> Sampler:
    """AUC over all pairs of a row with the better label and another.

    Rows are sorted once; a resample only weighs how many of either kind stand at each distinct score.
    """
    better_R = rows.label_R == better
    scores_T, place_R = np.unique(score_R, return_inverse=True)
    shape = (len(scores_T), rows.queries)

    def counted(mine_R: NDArray[np.bool_]) -> csr_matrix:
        return csr_matrix((np.ones(int(mine_R.sum())), (place_R[mine_R], rows.query_R[mine_R])), shape=shape)

    better_TQ, worse_TQ = counted(better_R), counted(~better_R)

    def auc(weight_QS: NDArray[np.float64]) -> NDArray[np.float64]:
        better_TS, worse_TS = better_TQ @ weight_QS, worse_TQ @ weight_QS
        below_TS = np.cumsum(worse_TS, axis=0) - worse_TS / 2
        return divided(np.einsum("ts,ts->s", better_TS, below_TS), better_TS.sum(axis=0) * worse_TS.sum(axis=0))

    return auc


def _auc_within(score_R: NDArray[np.float64], rows: JudgedRows, better: int) -> Sampler:
    """AUC over the pairs of a row with the better label and another of its query: pairs in order over pairs, each summed over queries."""
    order = np.lexsort((score_R, rows.query_R))
    query_R, score_R, better_R = rows.query_R[order], score_R[order], rows.label_R[order] == better
    starts_R = np.append(True, (np.diff(query_R) > 0) | (np.diff(score_R) > 0))[: len(order)]
    tie_R, query_T = np.cumsum(starts_R) - 1, query_R[starts_R]
    better_T, worse_T = (np.bincount(tie_R[mine_R], minlength=len(query_T)).astype(np.float64) for mine_R in (better_R, ~better_R))
    better_Q, worse_Q = (np.bincount(query_R[mine_R], minlength=rows.queries).astype(np.float64) for mine_R in (better_R, ~better_R))
    below_T = np.cumsum(worse_T) - worse_T / 2 - (np.cumsum(worse_Q) - worse_Q)[query_T]
    right_Q = np.bincount(query_T, weights=better_T * below_T, minlength=rows.queries).astype(np.float64)
    return _ratio(right_Q, better_Q * worse_Q)


_MEASURES: dict[str, Callable[[NDArray[np.float64], JudgedRows], Sampler]] = {
    "ndcg_at_10": _ndcg,
    "mrr": _mrr,
    "auc_exact": partial(_pooled_auc, better=_E),
    "auc_substitute": partial(_pooled_auc, better=_S),
    "auc_exact_within": partial(_auc_within, better=_E),
    "auc_substitute_within": partial(_auc_within, better=_S),
}
