"""The evidence of a finding: what lies under its prefix, what is nearest to it, what each view said, and one sentence for people."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shelfcode.audit.finding import Fault
from shelfcode.audit.findings.issues import Suspicion
from shelfcode.audit.findings.label_counts import PrefixLabels
from shelfcode.audit.findings.scored import ScoredProducts
from shelfcode.catalog.cells.category_paths import name_key
from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.semantic_id import shared_depth

Path = tuple[str, ...]

NEAREST_SHOWN = 5
LABELS_SHOWN = 5
CLEAR_MARGIN = 0.1
"""A codeword that is hardly nearer than the next one may as well have been the other."""
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Nearest:
    """A product near to another: its item_id, title and label."""

    item_id: str
    title: str
    leaf: int
    cosine: float


@dataclass(frozen=True)
class Witnesses:
    """What speaks for or against the label of one product.

    Attributes:
        around: of its prefix.
        nearest: nearest first.
        views: name, probability of the given leaf, likeliest leaf, its probability.
        cluster_fit, margin: of its code.
        words: of its text; missing: columns that are empty.
    """

    around: PrefixLabels
    nearest: tuple[Nearest, ...]
    views: tuple[tuple[str, float, int, float], ...]
    cluster_fit: float
    margin: float
    words: int
    missing: tuple[str, ...]


def cluster_fit(codes_NL: NDArray[np.uint16], near_codes_NJL: NDArray[np.uint16], near_NJ: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How well products fit the cluster that their code puts them in: float32[N], from 0 to 1.

    The share of a product's nearest ones that its first codeword holds, and of those that its first two hold, on average.

    Args:
        near_codes_NJL: codes of the nearest; near_NJ: which of them there are. Without any, a product fits by 0.5.
    """
    deep = min(2, codes_NL.shape[1])
    depth_NJ = np.stack([shared_depth(codes_NL[:, :deep], near_codes_NJL[:, place, :deep]) for place in range(near_NJ.shape[1])], axis=1)
    count_N = near_NJ.sum(axis=1)
    share_N = np.where(near_NJ, depth_NJ / deep, 0).sum(axis=1) / np.maximum(count_N, 1)
    return np.where(count_N > 0, share_N, 0.5).astype(np.float32)


def fault_of(suspicion: Suspicion, witnesses: Witnesses) -> Fault:
    """Which is wrong, label or code.

    The label, where most views name the same other path for it. The code, where most views that do not see codes stand by the label, and
    its prefix holds next to nothing of it, or its nearest products are elsewhere. Otherwise nobody can tell.
    """
    names = [leaf for _, _, leaf, _ in witnesses.views]
    first = suspicion.suggested[0][0] if suspicion.suggested else NO_LEAF
    for_first, for_given = (names.count(leaf) / max(1, len(names)) for leaf in (first, suspicion.given))
    around = witnesses.around
    astray = around.products > 0 and around.of(suspicion.given) < 0.1 * around.products
    if for_given >= 0.5 and (witnesses.cluster_fit < 0.5 or witnesses.margin < CLEAR_MARGIN) and astray:
        return "code"
    if suspicion.issue == "placeholder" or (suspicion.p_wrong >= 0.5 and for_first >= 0.5):
        return "label"
    return "ambiguous"


def evidence_of(suspicion: Suspicion, witnesses: Witnesses, paths: Sequence[Path]) -> dict[str, Any]:
    """A value of EVIDENCE."""
    around = witnesses.around
    return {
        "fault": fault_of(suspicion, witnesses),
        "reason": reason_of(suspicion, witnesses, paths),
        "also": list(suspicion.also),
        "prefix": around.prefix or None,
        "prefix_products": around.products,
        "prefix_given": around.of(suspicion.given),
        "prefix_labels": [{"path": paths[leaf], "products": count} for leaf, count in around.labels[:LABELS_SHOWN]],
        "nearest": [
            {"item_id": near.item_id, "title": near.title, "path": paths[near.leaf], "cosine": near.cosine}
            for near in witnesses.nearest[:NEAREST_SHOWN]
        ],
        "views": [
            {"view": name, "given_p": given_p, "path": paths[leaf] if leaf >= 0 else None, "p": p}
            for name, given_p, leaf, p in witnesses.views
        ],
        "margin": witnesses.margin,
        "missing": list(witnesses.missing),
    }


def reason_of(suspicion: Suspicion, witnesses: Witnesses, paths: Sequence[Path]) -> str:
    """One sentence that a specialist can check."""
    name = _names(suspicion, witnesses, paths)
    given = name[suspicion.given]
    where = "; ".join(filter(None, _where(suspicion, witnesses, name)))
    if suspicion.issue == "conflict" and suspicion.other:
        leaf, count, same = suspicion.other
        times = "the same product is" if count == 1 else f"{_number(count)} of the same product are"
        own = f", {_number(same)} under {given}" if same else ""
        said = f"{times} filed under {name.get(leaf, paths[leaf][-1])}{own}; {where}"
    elif suspicion.issue == "sparse_text":
        wanted = f" and no {' or '.join(witnesses.missing)}" if witnesses.missing else ""
        said = f"its text is {_number(witnesses.words)} {'word' if witnesses.words == 1 else 'words'}{wanted}: too little to say; {where}"
    elif suspicion.issue == "outlier":
        near = f"the nearest product has a cosine of only {witnesses.nearest[0].cosine:.2f}" if witnesses.nearest else "nothing is near it"
        said = f"it fits nowhere: {near}; {where}"
    elif suspicion.issue == "too_shallow" and suspicion.suggested:
        said = f"{given} goes on to {name[suspicion.suggested[0][0]]}; {where}"
    elif suspicion.issue == "placeholder":
        said = f"{given} says nothing; {where}"
    else:
        said = where
    return f"{said[0].upper()}{said[1:]}." if said else f"Most views would file it elsewhere than under {given}."


def _where(suspicion: Suspicion, witnesses: Witnesses, name: Mapping[int, str]) -> tuple[str, str]:
    """What lies under its prefix and what is nearest to it, first the one that says more."""
    around = witnesses.around
    under, beside = _under_prefix(suspicion, around, name), _beside(suspicion, witnesses.nearest, name)
    telling = bool(around.labels) and around.labels[0][1] >= 0.5 * around.products
    return (under, beside) if telling else (beside, under)


def _under_prefix(suspicion: Suspicion, around: PrefixLabels, name: Mapping[int, str]) -> str:
    """`of 212 products under 6_19_32, 203 are Oat Milk and none Candy`."""
    if not around.prefix or not around.labels:
        return ""
    lead = f"of {around.products:,} other products under {around.prefix}, "
    top, count = around.labels[0]
    if count == around.products and count > 1:
        return f"all {count:,} other products under {around.prefix} are {name[top]}{', too' if top == suspicion.given else ''}"
    if top == suspicion.given:
        second = f", {around.labels[1][1]:,} {name[around.labels[1][0]]}" if len(around.labels) > 1 else ""
        return f"{lead}{count:,} are {name[top]}, too{second}"
    first = suspicion.suggested[0][0] if suspicion.suggested else top
    shown = list(dict.fromkeys([*([top] if count >= 0.25 * around.products else []), *([first] if around.of(first) else [])])) or [top]
    (leaf, *others) = shown
    counts = [f"{around.of(leaf):,} {'is' if around.of(leaf) == 1 else 'are'} {name[leaf]}"]
    counts += [f"{around.of(other):,} {name[other]}" for other in others]
    if suspicion.issue == "placeholder":
        return lead + " and ".join(counts)
    given = around.of(suspicion.given)
    return f"{lead}{', '.join(counts)} and {f'{given:,}' if given else 'none'} {name[suspicion.given]}"


def _beside(suspicion: Suspicion, nearest: Sequence[Nearest], name: Mapping[int, str]) -> str:
    """`its five nearest are Oat Milk`, or how they are divided."""
    counts = Counter(near.leaf for near in nearest[:NEAREST_SHOWN])
    total = counts.total()
    if not total:
        return ""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0] != suspicion.given))
    if len(ordered) == 1:
        leaf = ordered[0][0]
        return f"its {_number(total)} nearest are all {name[leaf]}" if total > 1 else f"its nearest is {name[leaf]}"
    if len(ordered) == total and total > 3:
        return f"its {_number(total)} nearest are all filed differently"
    (first, count), *others = ordered[:3]
    shown = [
        f"{_number(count)} {'is' if count == 1 else 'are'} {name[first]}",
        *(f"{_number(count)} {name[leaf]}" for leaf, count in others),
    ]
    return f"of its {_number(total)} nearest, {', '.join(shown[:-1])} and {shown[-1]}"


def _names(suspicion: Suspicion, witnesses: Witnesses, paths: Sequence[Path]) -> dict[int, str]:
    """What each leaf is called in a sentence: its last name; its whole path where another one there has the same."""
    leaves = {suspicion.given, *(leaf for leaf, _ in suspicion.suggested[:1]), *(leaf for leaf, _ in witnesses.around.labels[:2])}
    leaves |= {near.leaf for near in witnesses.nearest[:NEAREST_SHOWN]} | ({suspicion.other[0]} if suspicion.other else set())
    last = Counter(name_key(paths[leaf][-1]) for leaf in leaves)
    return {leaf: paths[leaf][-1] if last[name_key(paths[leaf][-1])] == 1 else " > ".join(paths[leaf]) for leaf in leaves}


def _number(count: int) -> str:
    return NUMBERS[count] if 0 <= count < len(NUMBERS) else f"{count:,}"


def witnesses_of(
    row: int, scored: ScoredProducts, around: PrefixLabels, fit: float, nearest: Sequence[Nearest], missing: Sequence[str]
) -> Witnesses:
    """What is known of one of some scored products."""
    views = tuple(
        (view.name, float(view.given_p_N[row]), int(view.best_leaf_N[row]), float(view.best_p_N[row])) for view in scored.scores.views
    )
    return Witnesses(around, tuple(nearest), views, fit, float(scored.margin_N[row]), int(scored.words_N[row]), tuple(missing))
