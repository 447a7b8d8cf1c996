"""The prefixes that a generator followed, as a tree that can be walked from its first codeword to whole semantic IDs."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CHILDREN = 12
"""Prefixes that are shown below one; how many more were followed is told."""
SHOWN = 400
"""Prefixes of a tree that are shown, the most probable ones."""


@dataclass(frozen=True)
class Branch:
    """A prefix that was followed, and those below it, the most probable first.

    Attributes:
        share: its probability as a share of that of the best one beside it.
        more: prefixes below it that were followed and are not shown.
    """

    prefix: str
    probability: float
    share: float
    children: tuple["Branch", ...]
    more: int


@dataclass(frozen=True)
class Walk:
    """All that one generator followed.

    Attributes:
        retriever: its version.
        followed: prefixes at each level.
        labels: prefix -> the words that tell it from its siblings, of the most probable ones.
    """

    retriever: str
    followed: tuple[int, ...]
    branches: tuple[Branch, ...]
    more: int
    labels: Mapping[str, str] = field(default_factory=dict)

    def best(self, many: int) -> list[str]:
        """The most probable prefixes of those that are shown."""
        shown = sorted(_all(self.branches), key=lambda branch: -branch.probability)
        return [branch.prefix for branch in shown[:many]]


def walks(beams: Sequence[Mapping[str, Any]]) -> tuple[Walk, ...]:
    """A walk for each generator that tells its beams, as RetrieveResponse has them."""
    by_retriever: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for beam in beams:
        by_retriever[beam["retriever"]].append(beam)
    return tuple(_walk(retriever, followed) for retriever, followed in by_retriever.items())


def _walk(retriever: str, beams: Sequence[Mapping[str, Any]]) -> Walk:
    levels = max(beam["level"] for beam in beams)
    followed = tuple(sum(beam["level"] == level for beam in beams) for level in range(1, levels + 1))
    # A prefix is at least as probable as any below it, so that what is shown hangs together.
    best = sorted(beams, key=lambda beam: (-beam["log_probability"], beam["level"]))
    number_below: defaultdict[str, int] = defaultdict(int)
    shown_below: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for place, beam in enumerate(best):
        above = _above(beam["prefix"])
        number_below[above] += 1
        if place < SHOWN and len(shown_below[above]) < CHILDREN:
            shown_below[above].append(beam)
    branches, more = _below("", shown_below, number_below)
    return Walk(retriever, followed, branches, more)


def _below(
    prefix: str, shown: Mapping[str, Sequence[Mapping[str, Any]]], number: Mapping[str, int]
) -> tuple[tuple[Branch, ...], int]:  # fmt: skip
    """What is shown below a prefix, and how many prefixes are not."""
    beams = shown.get(prefix, ())
    top = math.exp(beams[0]["log_probability"]) if beams else 1.0
    branches = []
    for beam in beams:
        probability = math.exp(beam["log_probability"])
        branches.append(Branch(beam["prefix"], probability, probability / top, *_below(beam["prefix"], shown, number)))
    return tuple(branches), number.get(prefix, 0) - len(beams)


def _above(prefix: str) -> str:
    return prefix.rpartition("_")[0]


def _all(branches: Sequence[Branch]) -> Iterator[Branch]:
    for branch in branches:
        yield branch
        yield from _all(branch.children)
