"""How much of a release's codes changed from those of the release before it: churn, and what became of the prefixes."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.figures import Figures
from shelfcode.semantic_id import format_codes, shared_depth

MOSTLY = 0.8
"""A prefix is kept, or moved, where so much of its products stay together."""

FEWEST_PRODUCTS = 10
"""Of a prefix that is looked at: what becomes of a few products is no trend."""

EXAMPLES = 20
"""Prefixes told of each fate, the largest."""

DEEPEST = 2
"""Level down to which the fate of prefixes is told; deeper ones have a handful of products each."""

SMALLEST_PART = 0.05
"""Of a prefix's products, for another prefix to be named."""

Fate = Literal["moved", "split", "merged"]
Flows = dict[str, dict[str, int]]


class DepartmentChurn(Figures):
    """Churn of the products under one first name of the category path; `changed` as in Churn."""

    department: str
    products: int
    changed: tuple[float, ...]


class PrefixFate(Figures):
    """What became of one prefix.

    Attributes:
        prefix: of the old codes; for `merged` of the new ones.
        products: of it.
        parts: the prefixes of the other side that its products are at now, or came from, and the share of its products at each;
            the largest first, none below SMALLEST_PART.
    """

    fate: Fate
    prefix: str
    products: int
    parts: tuple[tuple[str, float], ...]


class LevelFates(Figures):
    """What became of the old prefixes down to one level that had ten products or more.

    Attributes:
        kept, moved, split: old prefixes: four fifths of the products, or more, still have it; have one other; neither.
        merged: new prefixes to which two old ones or more gave more than half of their products each.
        examples: the largest that moved, split or merged.
    """

    level: int
    kept: int
    moved: int
    split: int
    merged: int
    examples: tuple[PrefixFate, ...]


class Churn(Figures):
    """What changed between the codes of two releases.

    Attributes:
        against: the release that is compared with.
        products: that both releases coded; all shares are of these.
        added, removed: products that only this release coded, and only the other.
        changed: for each level, the share of products whose prefix down to it changed; the last is that of the whole semantic ID.
        departments: the same by the first name of the category path, the largest first.
        fates: for each of the first levels, what became of the prefixes.
    """

    against: str
    products: int
    added: int
    removed: int
    changed: tuple[float, ...]
    departments: tuple[DepartmentChurn, ...]
    fates: tuple[LevelFates, ...]


def measure_churn(
    old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], against: str, added: int, removed: int, taxonomy: Taxonomy | None = None
) -> Churn:
    """Churn of the codes of the same N products before and after.

    Args:
        old_NL, new_NL: rows in the same order; of different numbers of levels only those that both have are compared.
        added, removed: products that have only one of the two codes.
        taxonomy: of the same products; churn by department is left out without one.
    """
    levels = min(old_NL.shape[1], new_NL.shape[1])
    kept_N = shared_depth(old_NL[:, :levels], new_NL[:, :levels])
    undefined = {} if len(kept_N) else {"changed": "the two releases have no product in common"}
    return Churn(
        against=against, products=len(kept_N), added=added, removed=removed, changed=_changed(kept_N, levels),
        departments=_departments(kept_N, levels, taxonomy) if taxonomy else (),
        fates=tuple(_fates(old_NL[:, : level + 1], new_NL[:, : level + 1]) for level in range(min(DEEPEST, levels))) if len(kept_N) else (),
        undefined=undefined,
    )  # fmt: skip


def _changed(kept_N: NDArray[np.integer], levels: int) -> tuple[float, ...]:
    """Share of products that keep fewer levels than each; none where there are no products."""
    return tuple(float((kept_N < level).mean()) for level in range(1, levels + 1)) if len(kept_N) else ()


def _departments(kept_N: NDArray[np.integer], levels: int, taxonomy: Taxonomy) -> tuple[DepartmentChurn, ...]:
    top_N = taxonomy.labels_at(1)
    name_of = {int(nodes_D[0]): path[0] for nodes_D, path in zip(taxonomy.ancestors_PD, taxonomy.paths, strict=True)}
    tops, counts = np.unique(top_N[top_N >= 0], return_counts=True)
    return tuple(
        DepartmentChurn(department=name_of[int(tops[i])], products=int(counts[i]), changed=_changed(kept_N[top_N == tops[i]], levels))
        for i in np.argsort(-counts, kind="stable")
    )


def _fates(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer]) -> LevelFates:
    """Fates of the prefixes that rows of so many levels are."""
    to_of, from_of = _flows(old_NL, new_NL)
    size_of = {old: sum(parts.values()) for old, parts in to_of.items()}
    counts, examples = dict.fromkeys(("kept", "moved", "split", "merged"), 0), []
    for old, parts in to_of.items():
        if size_of[old] < FEWEST_PRODUCTS:
            continue
        target, largest = max(parts.items(), key=lambda part: part[1])
        fate = "split" if largest < MOSTLY * size_of[old] else "kept" if target == old else "moved"
        counts[fate] += 1
        if fate != "kept":
            examples.append(_told(fate, old, parts))
    for new, parts in from_of.items():
        if sum(2 * products > size_of[old] >= FEWEST_PRODUCTS for old, products in parts.items()) > 1:
            counts["merged"] += 1
            examples.append(_told("merged", new, parts))
    examples.sort(key=lambda example: -example.products)
    told = [example for fate in get_args(Fate) for example in [each for each in examples if each.fate == fate][:EXAMPLES]]
    return LevelFates(level=old_NL.shape[1], **counts, examples=tuple(told))


def _flows(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer]) -> tuple[Flows, Flows]:
    """Old prefix -> new prefix -> products, and the same from new to old."""
    pairs_P, products_P = np.unique(np.hstack([old_NL, new_NL]).astype(np.int64), axis=0, return_counts=True)
    to_of: Flows = defaultdict(dict)
    from_of: Flows = defaultdict(dict)
    for pair, products in zip(pairs_P.tolist(), products_P.tolist(), strict=True):
        old, new = (format_codes(codes) for codes in (pair[: old_NL.shape[1]], pair[old_NL.shape[1] :]))
        to_of[old][new] = from_of[new][old] = products
    return to_of, from_of


def _told(fate: str, prefix: str, parts: Mapping[str, int]) -> PrefixFate:
    products = sum(parts.values())
    largest = sorted(parts.items(), key=lambda part: -part[1])
    shares = tuple((other, count / products) for other, count in largest if count >= SMALLEST_PART * products)
    return PrefixFate(fate=fate, prefix=prefix, products=products, parts=shares)
