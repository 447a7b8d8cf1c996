"""How much of a release's codes differ from those of the previous release: churn, and what became of the prefixes."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.stability.translation import PrefixPairs, prefix_pairs
from shelfcode.reporting.figures import Figures
from shelfcode.semantic_id import format_codes, shared_depth

MOSTLY = 0.8
"""A prefix is kept, or moved, where this share of its products stays together."""

FEWEST_PRODUCTS = 10
"""Smaller prefixes are not looked at: what becomes of a few products is no trend."""

EXAMPLES = 20
"""Prefixes that are listed for each fate, the largest."""

DEEPEST = 2
"""Level down to which fates are followed; deeper prefixes have a handful of products each."""

SMALLEST_PART = 0.05
"""Share of a prefix's products from which on another prefix is listed among its parts."""

DEPARTMENTS = 50
"""Departments that are listed, the largest: a flat catalog may have as many as products, and a manifest is read often."""

MOVERS = 30
"""First codewords whose products are followed one by one, the largest."""

Fate = Literal["moved", "split", "merged"]


class DepartmentChurn(Figures):
    """Churn of the products under one first name of the category path; `changed` as in Churn."""

    department: str
    products: int
    changed: tuple[float, ...]


class PrefixFate(Figures):
    """What became of one prefix.

    Attributes:
        prefix: of the old codes; for `merged` of the new ones.
        products: products of the prefix.
        parts: the prefixes where its products are now, or for `merged` where they came from, each with its share of the products;
            the largest first, none below SMALLEST_PART.
    """

    fate: Fate
    prefix: str
    products: int
    parts: tuple[tuple[str, float], ...]


class LevelFates(Figures):
    """What became of the old prefixes down to one level that had ten products or more.

    Attributes:
        kept: old prefixes that four fifths of their products, or more, still have.
        moved: old prefixes whose products, four fifths of them or more, now have one other prefix.
        split: old prefixes for which neither is so.
        merged: new prefixes to which two old ones or more gave more than half of their products each.
        examples: the largest that moved, split or merged.
    """

    level: int
    kept: int
    moved: int
    split: int
    merged: int
    examples: tuple[PrefixFate, ...]


class FirstLevelMoves(Figures):
    """Where the products of each first codeword went.

    Attributes:
        codewords: the largest, before and now together.
        old_departments, new_departments: the commonest first name of the category paths of each codeword's products, before and
            now; None where they have no path.
        products: one row per old codeword, one column per new one, both in the order of `codewords`, and last all other codewords.
    """

    codewords: tuple[int, ...]
    old_departments: tuple[str | None, ...]
    new_departments: tuple[str | None, ...]
    products: tuple[tuple[int, ...], ...]


class Churn(Figures):
    """What changed between the codes of two releases.

    Attributes:
        against: the release that is compared with.
        products: products that both releases coded; all shares are of these.
        added, removed: products that only this release coded, and only the other.
        changed: for each level that both releases have, the share of products whose prefix down to it changed; the last is that of
            the whole semantic ID where both have as many levels.
        departments: the same by the first name of the category path, the largest first; products without a path are left out.
        fates: for each of the first levels, what became of the prefixes.
        moves: of the first level; None where the releases have no product in common.
    """

    against: str
    products: int
    added: int
    removed: int
    changed: tuple[float, ...]
    departments: tuple[DepartmentChurn, ...]
    fates: tuple[LevelFates, ...]
    moves: FirstLevelMoves | None


def measure_churn(
    old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], against: str, added: int, removed: int, taxonomy: Taxonomy | None = None
) -> Churn:
    """Churn of the codes of the same N products before and after.

    Args:
        old_NL, new_NL: rows in the same order; only levels that both have are compared.
        added, removed: products that have only one of the two codes.
        taxonomy: of the same products; churn by department is left out without one.
    """
    levels = min(old_NL.shape[1], new_NL.shape[1])
    kept_N = shared_depth(old_NL[:, :levels], new_NL[:, :levels])
    pairs = list(prefix_pairs(old_NL, new_NL, min(DEEPEST, levels))) if len(kept_N) else []
    return Churn(
        against=against, products=len(kept_N), added=added, removed=removed, changed=_changed(kept_N, levels),
        departments=_departments(kept_N, levels, taxonomy) if taxonomy else (),
        fates=tuple(_fates(each) for each in pairs),
        moves=_moves(old_NL[:, 0], new_NL[:, 0], pairs[0], taxonomy) if pairs else None,
        undefined={} if pairs else {"changed": "the two releases have no product in common"},
    )  # fmt: skip


def _changed(kept_N: NDArray[np.integer], levels: int) -> tuple[float, ...]:
    """For each level, the share of products that keep fewer levels; empty where there are no products."""
    return tuple(float((kept_N < level).mean()) for level in range(1, levels + 1)) if len(kept_N) else ()


def _departments(kept_N: NDArray[np.integer], levels: int, taxonomy: Taxonomy) -> tuple[DepartmentChurn, ...]:
    top_N, name_of = taxonomy.labels_at(1), _department_names(taxonomy)
    tops, counts = np.unique(top_N[top_N >= 0], return_counts=True)
    return tuple(
        DepartmentChurn(department=name_of[int(tops[i])], products=int(counts[i]), changed=_changed(kept_N[top_N == tops[i]], levels))
        for i in np.argsort(-counts, kind="stable")[:DEPARTMENTS]
    )


def _department_names(taxonomy: Taxonomy) -> dict[int, str]:
    """Node at the top of the tree -> its name."""
    return {int(nodes_D[0]): path[0] for nodes_D, path in zip(taxonomy.ancestors_PD, taxonomy.paths, strict=True)}


def _fates(pairs: PrefixPairs) -> LevelFates:
    """Fates of the prefixes of one depth."""
    large_O = pairs.old_size_O >= FEWEST_PRODUCTS
    # For each old prefix, the new one that took most of it. Pairs stand in the order of the old prefixes, and each has at least one.
    by_products_P = np.lexsort((-pairs.products_P, pairs.old_P))
    best_O = by_products_P[np.searchsorted(pairs.old_P, np.arange(len(large_O)))]
    mostly_O = pairs.products_P[best_O] >= MOSTLY * pairs.old_size_O
    kept_O = large_O & mostly_O & pairs.same_P[best_O]
    moved_O, split_O = large_O & mostly_O & ~kept_O, large_O & ~mostly_O
    gave_P = large_O[pairs.old_P] & (2 * pairs.products_P > pairs.old_size_O[pairs.old_P])
    merged_Q = np.bincount(pairs.new_P[gave_P], minlength=len(pairs.new_size_Q)) > 1
    examples = (*_largest("moved", moved_O, pairs), *_largest("split", split_O, pairs), *_largest("merged", merged_Q, pairs))
    counts = (int(fate_K.sum()) for fate_K in (kept_O, moved_O, split_O, merged_Q))
    return LevelFates(
        level=pairs.old_PL.shape[1], **dict(zip(("kept", "moved", "split", "merged"), counts, strict=True)), examples=examples
    )


def _largest(fate: Fate, chosen_K: NDArray[np.bool_], pairs: PrefixPairs) -> list[PrefixFate]:
    """The largest of the chosen prefixes, old ones or, where they merged, new ones, and where their products are now, or came from."""
    old, new = (pairs.old_P, pairs.old_PL, pairs.old_size_O), (pairs.new_P, pairs.new_PL, pairs.new_size_Q)
    (number_P, prefix_PL, size_K), (_, part_PL, _) = (new, old) if fate == "merged" else (old, new)
    largest = sorted(np.flatnonzero(chosen_K).tolist(), key=lambda number: -size_K[number])[:EXAMPLES]
    fates = []
    for number in largest:
        rows = np.flatnonzero(number_P == number)
        rows = rows[np.argsort(-pairs.products_P[rows], kind="stable")]
        shares = ((format_codes(part_PL[row]), float(pairs.products_P[row] / size_K[number])) for row in rows)
        parts = tuple(part for part in shares if part[1] >= SMALLEST_PART)
        fates.append(PrefixFate(fate=fate, prefix=format_codes(prefix_PL[rows[0]]), products=int(size_K[number]), parts=parts))
    return fates


def _moves(old_N: NDArray[np.integer], new_N: NDArray[np.integer], pairs: PrefixPairs, taxonomy: Taxonomy | None) -> FirstLevelMoves:
    """Moves between first codewords, from their pairs."""
    old_P, new_P = pairs.old_PL[:, 0], pairs.new_PL[:, 0]
    codewords = int(max(old_P.max(), new_P.max())) + 1
    size_K = np.bincount(old_P, pairs.products_P, codewords) + np.bincount(new_P, pairs.products_P, codewords)
    shown_M = np.argsort(-size_K, kind="stable")[: min(MOVERS, np.count_nonzero(size_K))]
    place_K = np.full(codewords, len(shown_M))
    place_K[shown_M] = np.arange(len(shown_M))
    side = len(shown_M) + 1
    products_S = np.bincount(place_K[old_P] * side + place_K[new_P], pairs.products_P, side * side).astype(int)
    return FirstLevelMoves(
        codewords=tuple(shown_M.tolist()),
        old_departments=_commonest_departments(place_K[old_N], len(shown_M), taxonomy),
        new_departments=_commonest_departments(place_K[new_N], len(shown_M), taxonomy),
        products=tuple(map(tuple, products_S.reshape(side, side).tolist())),
    )


def _commonest_departments(place_N: NDArray[np.int64], places: int, taxonomy: Taxonomy | None) -> tuple[str | None, ...]:
    """The commonest department of the products at each place."""
    if taxonomy is None:
        return (None,) * places
    tops, top_N = np.unique(taxonomy.labels_at(1), return_inverse=True)
    counted = np.bincount(place_N * len(tops) + top_N, minlength=(places + 1) * len(tops)).reshape(places + 1, -1)[:places]
    counted[:, tops < 0] = 0  # products without a path
    names = _department_names(taxonomy)
    return tuple(names[int(tops[top])] if counts_T[top] else None for counts_T, top in zip(counted, counted.argmax(axis=1), strict=True))
