"""What is judged: sets of products from clusters of releases. They are drawn by hash, so that the order of rows does not matter.

Anchors are products. A cluster is drawn by the anchor that lies in it, and so by its size, and two releases are compared over the same
anchors. Near-duplicates count once: a cluster of one product in eight sizes would be judged by its repetition.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.keys import Keys
from shelfcode.semantic_id import format_codes
from shelfcode.text import cut

CLUSTER = "cluster"
CANDIDATES_PER_PRODUCT = 6
"""So many members are looked at for each product that is shown: near-duplicates fall out."""
ANCHORS_PER_CLUSTER = 40
"""So many anchors are tried for each cluster that is asked for, before a level counts as having no more."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_ALIKE = 0.75


@dataclass(frozen=True)
class JudgedRelease:
    """The codes of a release."""

    name: str
    codes_NL: NDArray[np.uint16]
    codebook_sizes: tuple[int, ...]


@dataclass(frozen=True)
class JudgedCatalog:
    """N products that all judged releases have coded.

    Attributes:
        item_ids, titles: of each.
        item_keys_N: uint64.
        taxonomy: their leaves.
        releases: one, or two to be compared; rows of their codes are the products.
    """

    item_ids: pa.ChunkedArray
    titles: pa.ChunkedArray
    item_keys_N: Keys
    taxonomy: Taxonomy
    releases: tuple[JudgedRelease, ...]

    def titles_of(self, rows: Sequence[int], characters: int) -> tuple[str, ...]:
        """Titles on one line each, cut at a word."""
        return tuple(cut(" ".join(title.split()), characters) for title in self.titles.take(pa.array(rows, pa.int64())).to_pylist())


@dataclass(frozen=True)
class ProductSet:
    """Some products that are judged together.

    Attributes:
        kind: CLUSTER, or the name of a control.
        name: the prefix of a cluster, the leaf behind a control.
        draw: 0, or 1 for the second draw of the same cluster.
        members: rows of the catalog.
        strangers: rows of products from elsewhere, the farthest first: what an intruder is taken from.
        release: of a cluster.
        level: of a cluster, from 1.
    """

    kind: str
    name: str
    draw: int
    members: tuple[int, ...]
    strangers: tuple[int, ...] = ()
    release: str = ""
    level: int = 0


@dataclass(frozen=True)
class Anchors:
    """Products that clusters are drawn by.

    Attributes:
        level: from 1.
        rows: of the catalog.
        prefixes: of each anchor in each release.
    """

    level: int
    rows: tuple[int, ...]
    prefixes: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ClusterSample:
    """The clusters to judge.

    Attributes:
        sets: one or two a cluster.
        anchors: one entry a level.
        notes: what is fewer than was asked for.
    """

    sets: tuple[ProductSet, ...]
    anchors: tuple[Anchors, ...]
    notes: tuple[str, ...]


def hash_order(keys_N: Keys, *salts: int) -> NDArray[np.int64]:
    """An order of products that looks random and depends on their keys and the salts alone: int64[N]."""
    salt = np.uint64(np.random.default_rng(list(salts)).integers(2**63))
    mixed_N = keys_N ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of SplitMix64 (Steele et al., 2014)
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(shift))) * np.uint64(factor)
    return np.argsort(mixed_N ^ (mixed_N >> np.uint64(31)), kind="stable")


def sample_clusters(catalog: JudgedCatalog, clusters: int, products: int, draws: int, seed: int) -> ClusterSample:
    """Clusters of all releases, as many a level as go evenly into `clusters`, over the same anchors."""
    levels = min(len(release.codebook_sizes) for release in catalog.releases)
    wanted = max(1, clusters // levels)
    numbers = [prefix_numbers(release.codes_NL, release.codebook_sizes) for release in catalog.releases]
    sets: dict[tuple[str, str], list[ProductSet]] = {}
    anchors, notes = [], []
    for level in range(1, levels + 1):
        members = [_Members(of_level[level - 1]) for of_level in numbers]
        found: list[tuple[int, tuple[str, ...]]] = []
        for anchor in hash_order(catalog.item_keys_N, seed, level)[: wanted * ANCHORS_PER_CLUSTER].tolist():
            drawn = [
                _draw_cluster(catalog, release, level, of_release, anchor, products, draws, seed, sets)
                for release, of_release in zip(catalog.releases, members, strict=True)
            ]
            if all(drawn):
                found.append((anchor, tuple(prefix for prefix in drawn if prefix)))
            if len(found) == wanted:
                break
        if len(found) < wanted:
            notes.append(
                f"L{level}: {len(found)} of the {wanted} clusters asked for; others have fewer than {products} products that differ"
            )
        anchors.append(Anchors(level, tuple(row for row, _ in found), tuple(prefixes for _, prefixes in found)))
    kept = {
        (release.name, prefix) for each in anchors for both in each.prefixes for release, prefix in zip(catalog.releases, both, strict=True)
    }
    return ClusterSample(tuple(one for key, drawn in sets.items() if key in kept for one in drawn), tuple(anchors), tuple(notes))


class _Members:
    """Products by the number of their prefix."""

    def __init__(self, number_N: NDArray[np.int64]) -> None:
        self.number_N = number_N
        self._order_N = np.argsort(number_N, kind="stable")
        self._first_P = np.concatenate([[0], np.cumsum(np.bincount(number_N))])

    def of(self, row: int) -> NDArray[np.int64]:
        number = self.number_N[row]
        return self._order_N[self._first_P[number] : self._first_P[number + 1]]


def _draw_cluster(
    catalog: JudgedCatalog, release: JudgedRelease, level: int, members: _Members, anchor: int, products: int, draws: int, seed: int,
    sets: dict[tuple[str, str], list[ProductSet]],
) -> str | None:  # fmt: skip
    """The prefix of an anchor, whose sets are added where they are not there yet; None where it has too few products."""
    prefix = format_codes(release.codes_NL[anchor, :level].tolist())
    key = (release.name, prefix)
    if key not in sets:
        rows = members.of(anchor)
        taken = draw_distinct(catalog, rows, draws * products, seed)
        if len(taken) < products:
            sets[key] = []
        else:
            strangers = _strangers(catalog, release, anchor, seed)
            whole = len(taken) // products
            sets[key] = [
                ProductSet(CLUSTER, prefix, draw, tuple(taken[draw * products : (draw + 1) * products]), strangers, release.name, level)
                for draw in range(min(draws, whole))
            ]
    return prefix if sets[key] else None


def draw_distinct(catalog: JudgedCatalog, rows_M: NDArray[np.integer], most: int, seed: int) -> list[int]:
    """Up to `most` of some products, near-duplicates once, in an order by hash."""
    order_M = rows_M[hash_order(catalog.item_keys_N[rows_M], seed)][: most * CANDIDATES_PER_PRODUCT]
    titles = catalog.titles.take(pa.array(order_M)).to_pylist()
    taken: list[int] = []
    seen: list[frozenset[str]] = []
    for row, title in zip(order_M.tolist(), titles, strict=True):
        words = title_words(title)
        if any(alike(words, other) for other in seen):
            continue
        taken.append(row)
        seen.append(words)
        if len(taken) == most:
            break
    return taken


def title_words(title: str) -> frozenset[str]:
    """The words of a title, without numbers and single letters."""
    return frozenset(_WORD.findall(title.lower()))


def alike(words: frozenset[str], others: frozenset[str]) -> bool:
    """Whether two titles, as sets of words, are of near-duplicates: they share most of them."""
    return words == others or len(words & others) > _ALIKE * len(words | others)


def _strangers(catalog: JudgedCatalog, release: JudgedRelease, anchor: int, seed: int) -> tuple[int, ...]:
    """A product from another first codeword, one that shares L1 alone, and one that shares L1 to L3 alone; those there are."""
    same_N = release.codes_NL == release.codes_NL[anchor]
    depth_N = np.logical_and.accumulate(same_N, axis=1).sum(axis=1)
    found = []
    for depth in (0, 1, 3):
        rows = np.flatnonzero(depth_N == depth) if depth < release.codes_NL.shape[1] else np.empty(0, np.int64)
        if len(rows):
            found.append(int(rows[hash_order(catalog.item_keys_N[rows], seed, anchor, depth)[0]]))
    return tuple(found)


def by_kind(sets: Sequence[ProductSet]) -> Iterator[tuple[str, list[int]]]:
    """Places of the sets of each kind, in the order in which kinds first appear."""
    for kind in dict.fromkeys(each.kind for each in sets):
        yield kind, [place for place, each in enumerate(sets) if each.kind == kind]
