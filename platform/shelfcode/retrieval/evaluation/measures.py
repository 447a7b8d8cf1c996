"""Whether targets are found: recall and NDCG of the first K results, of all targets and of slices of them.

Of a case with t targets (of the slice), the found ones at ranks r = 1, 2, ... of its list:

    Recall@K = found among the first K / min(K, t)
    NDCG@K   = sum over the found of 1 / log2(1 + r) / the same sum over ranks 1 to min(K, t)        (Järvelin and Kekäläinen, 2002)

and their means over the cases that have such targets. A target counts once, at the first place where a list has it.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R cases, T targets, K results.

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.lists import Lists

CUT_OFFS = (10, 20, 50)
NOT_FOUND = np.iinfo(np.int64).max


def figure_name(measure: str, cut_off: int, part: str | None = None) -> str:
    """The name of a figure, such as `recall@20`, or `recall@20/tail` of a slice."""
    return f"{measure}@{cut_off}" + (f"/{part}" if part else "")


def found_at(lists: Lists, cases: Cases) -> NDArray[np.int64]:
    """The place of each target in its case's list, from 0: int64[T]; NOT_FOUND where it is not there.

    Raises:
        ValueError: there are not as many lists as cases.
    """
    if len(lists) != len(cases):
        raise ValueError(f"{len(lists)} lists for {len(cases)} cases")
    product_RK = lists.products_RK.astype(np.int64)
    products = int(max(product_RK.max(initial=0), cases.target_T.max(initial=0))) + 1
    pair_V = (product_RK + np.arange(len(product_RK))[:, None] * products)[product_RK >= 0]
    place_V = np.broadcast_to(np.arange(product_RK.shape[1]), product_RK.shape)[product_RK >= 0]
    order = np.argsort(pair_V, kind="stable")
    pair_T = cases.case_T * products + cases.target_T
    slot_T = np.searchsorted(pair_V[order], pair_T)
    found_T = (cases.target_T >= 0) & (np.append(pair_V[order], -1)[slot_T] == pair_T)
    return np.where(found_T, np.append(place_V[order], 0)[slot_T], NOT_FOUND)


def recall_and_ndcg(
    lists: Lists, cases: Cases, slices: Mapping[str, NDArray[np.bool_]], cut_offs: Sequence[int] = CUT_OFFS
) -> dict[str, NDArray[np.float64]]:
    """Recall and NDCG of each case: figure name -> float64[R], NaN where the case has no target of the slice.

    Args:
        slices: bool[T] by name; all targets are taken besides.

    Raises:
        ValueError: there are not as many lists as cases.
    """
    place_T, case_T = found_at(lists, cases), cases.case_T
    parts: list[tuple[str | None, NDArray[np.bool_]]] = [(None, np.ones(len(place_T), bool)), *slices.items()]
    measured = {}
    for name, part_T in parts:
        targets_R = np.bincount(case_T[part_T], minlength=len(cases))
        for cut_off in cut_offs:
            found_T = part_T & (place_T < cut_off)
            worth_F = 1 / np.log2(place_T[found_T] + 2)
            possible_R = np.minimum(targets_R, cut_off)
            ideal_R = np.concatenate([[np.nan], np.cumsum(1 / np.log2(np.arange(cut_off) + 2))])[possible_R]
            recall_R = np.bincount(case_T[found_T], minlength=len(cases)) / np.where(possible_R, possible_R, np.nan)
            measured[figure_name("recall", cut_off, name)] = recall_R
            measured[figure_name("ndcg", cut_off, name)] = np.bincount(case_T[found_T], weights=worth_F, minlength=len(cases)) / ideal_R
    return measured
