"""Suspicions about categories: how many of its labels are wrong, which two hold the same products, which one holds no kind of its own."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from shelfcode.audit.findings.tally import Tally
from shelfcode.audit.published_audit import CATEGORIES, WrongLabels
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.cells.category_paths import name_key
from shelfcode.text import fold

Path = tuple[str, ...]

FEWEST_PRODUCTS = 10
"""A category with fewer says nothing about whether it overlaps with another or is coherent."""

_WORD = re.compile(r"[^\W_]+")


def category_table(
    tally: Tally, paths: Sequence[Path], spelled: Mapping[Path, int], wrong: WrongLabels, settings: AuditSettings
) -> pa.Table:
    """Rows of CATEGORIES: one per path with products, and more for those with several suspicions; most expected errors first.

    Args:
        spelled: products of each path as it is spelled.
        wrong: of the whole catalog; intervals of categories are as wide at the least, in proportion.
    """
    rows = {leaf: _row(leaf, tally, paths, wrong) for leaf in np.flatnonzero(tally.products_P).tolist()}
    suspicions: dict[Path, list[dict[str, Any]]] = defaultdict(list)
    for suspicion in (*_overlaps(tally, paths, settings), *_incoherent(tally, paths, settings), *spellings(spelled)):
        suspicions[suspicion["path"]].append(suspicion)
    table: list[dict[str, Any]] = []
    for row in sorted(rows.values(), key=lambda row: (-row["expected_wrong"], row["path"])):
        table += [{**row, **each} for each in suspicions.pop(row["path"], [{}])]
    silent = {"products": 0, "expected_wrong": 0.0, "wrong_low": 0.0, "wrong_high": 0.0}
    table += [{**silent, **each} for path in sorted(suspicions) for each in suspicions[path]]
    return pa.Table.from_pylist(table, CATEGORIES)


def _row(leaf: int, tally: Tally, paths: Sequence[Path], wrong: WrongLabels) -> dict[str, Any]:
    products, expected = int(tally.products_P[leaf]), float(tally.expected_P[leaf])
    low, high = wrong_interval(expected, float(tally.variance_P[leaf]), products, wrong)
    sentence = f"{expected:,.0f} of {products:,} are expected to be wrong" if expected >= 0.5 else "next to none is expected to be wrong"
    return {
        "path": paths[leaf], "products": products, "expected_wrong": expected, "wrong_low": low, "wrong_high": high, "issue": None,
        "other_path": None, "score": None, "sentence": sentence,
    }  # fmt: skip


def wrong_interval(expected: float, variance: float, products: int, wrong: WrongLabels) -> tuple[float, float]:
    """95% interval of the wrong labels among some products: of independent errors, and of how well the whole is known, together."""
    scale = max(wrong.estimate, 1e-9)
    below, above = expected * (1 - wrong.low / scale), expected * (wrong.high / scale - 1)
    spread = 1.96**2 * variance
    low = expected - float(np.sqrt(max(0.0, below) ** 2 + spread))
    high = expected + float(np.sqrt(max(0.0, above) ** 2 + spread))
    return max(0.0, low), min(float(products), high)


def _overlaps(tally: Tally, paths: Sequence[Path], settings: AuditSettings) -> Iterator[dict[str, Any]]:
    """Pairs of categories whose products would fit as well into the other: seen from both sides."""
    labels = tally.labels
    share = {divmod(int(pair), labels): mass for pair, mass in zip(tally.pair_M.tolist(), tally.mass_M.tolist(), strict=True)}
    found = []
    for (a, b), mass in share.items():
        few = min(tally.products_P[a], tally.products_P[b]) < FEWEST_PRODUCTS
        if a < b and not few and (b, a) in share:
            both = mass / tally.products_P[a], share[b, a] / tally.products_P[b]
            if min(both) >= settings.overlap:
                found.append((min(both), a, b, both))
    for score, a, b, (of_a, of_b) in sorted(found, reverse=True):
        sentence = (
            f"{' > '.join(paths[a])} and {' > '.join(paths[b])} overlap: {of_a:.0%} of the first one's products would as well be filed "
            f"under the second, and {of_b:.0%} the other way round"
        )
        yield {"path": paths[a], "issue": "overlap", "other_path": paths[b], "score": float(score), "sentence": sentence}


def _incoherent(tally: Tally, paths: Sequence[Path], settings: AuditSettings) -> Iterator[dict[str, Any]]:
    """Categories that their products fit badly, and that no single other one would take the most of."""
    largest: dict[int, float] = defaultdict(float)
    for pair, mass in zip(tally.pair_M.tolist(), tally.mass_M.tolist(), strict=True):
        a, b = divmod(int(pair), tally.labels)
        if a != b:
            largest[a] = max(largest[a], mass)
    for leaf in np.flatnonzero(tally.products_P >= FEWEST_PRODUCTS).tolist():
        products = int(tally.products_P[leaf])
        fit = float(tally.fit_P[leaf]) / products
        if fit < settings.incoherent and largest[leaf] / products < settings.incoherent:
            sentence = f"{' > '.join(paths[leaf])} holds no kind of its own: its {products:,} products fit it by {fit:.0%} on average"
            yield {"path": paths[leaf], "issue": "incoherent", "other_path": None, "score": 1 - fit, "sentence": sentence}


def spellings(spelled: Mapping[Path, int]) -> Iterator[dict[str, Any]]:
    """Names of categories that are another one in other letters: one suspicion for each, however many products and paths have it.

    Other letter case, which is made one wherever paths are compared; and accents, punctuation, `&` for `and` and a plural s, which are not.
    """
    alike: dict[tuple[str, ...], dict[str, Counter[Path]]] = defaultdict(lambda: defaultdict(Counter))
    for path, products in spelled.items():
        letters = tuple(map(_letters, path))
        for depth in range(1, len(path) + 1):
            alike[letters[:depth]][path[depth - 1]][path[:depth]] += products
    for names in alike.values():
        most, *others = sorted(names.values(), key=lambda paths: (-paths.total(), min(paths)))
        (right, _), right_products = most.most_common(1)[0], most.total()
        for paths in others:
            path, products = paths.most_common(1)[0][0], paths.total()
            same = name_key(path[-1]) == name_key(right[-1])
            sentence = (
                f"{' > '.join(path)} ({products:,} products) is {' > '.join(right)} ({right_products:,}) in other letters; "
                f"the two are counted as {'one' if same else 'two'} here"
            )
            score = 1.0 if same else 0.5
            yield {"path": path, "issue": "spelling", "other_path": right, "score": score, "sentence": sentence}


def _letters(name: str) -> str:
    words = _WORD.findall(fold(name).replace("&", " and "))
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words) or name


def by_department(values_P: Iterable[float], paths: Sequence[Path]) -> dict[str, float]:
    """Sums over the leaves of each department: the first name of a path."""
    sums: dict[str, float] = defaultdict(float)
    for value, path in zip(values_P, paths, strict=True):
        sums[path[0]] += float(value)
    return dict(sums)
