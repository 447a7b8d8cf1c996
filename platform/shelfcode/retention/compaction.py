"""Which parts of a table of attributes or embeddings are written again, and together: plain counting, nothing is read here.

Every run that embeds leaves parts of its own, and rows of texts that changed stay behind. A part is written again only when it
pays: much of it is dead, or it is small and there is another to join it with.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from shelfcode.keys import KeyIndex, Keys, first_copies, index_keys

ROWS_A_PART = 65_536
"""At the most, of parts that were gathered."""

SMALL = 16_384
"""Rows below which a part is joined with others."""

DEAD_SHARE = 0.3
"""Of a part's rows, above which it is worth writing again."""


@dataclass(frozen=True)
class Part:
    """A part of a table.

    Attributes:
        number: of the part, as the table's owners know it.
        live: rows that are kept, and kept here.
    """

    number: int
    path: str
    rows: int
    live: int


@dataclass(frozen=True)
class TablePlan:
    """What is done to a table.

    Attributes:
        parts: how many it has.
        owner: row key -> number of the part whose copy is kept; rows that go are left out.
        groups: parts that become one.
        empty: parts of which nothing is kept.
    """

    folder: str
    parts: int
    owner: KeyIndex
    groups: tuple[tuple[Part, ...], ...]
    empty: tuple[Part, ...]

    @property
    def replaced(self) -> list[Part]:
        return [*self.empty, *(part for group in self.groups for part in group)]

    @property
    def parts_after(self) -> int:
        return self.parts - len(self.replaced) + len(self.groups)

    @property
    def rows_dropped(self) -> int:
        return sum(part.rows - part.live for part in self.replaced)


def plan_table(folder: str, paths: Sequence[str], keys: Sequence[Keys], young: int, referred: Keys | None) -> TablePlan:
    """Count what of a table is alive, and group its parts.

    Of a row that is stored more than once the first copy counts, as for every reader of the table; but one in a young part before
    those in others, since a sweep that was killed leaves its own part young beside those which it was to replace.

    Args:
        paths, keys: of each part: its path and the row keys in it; those that are too young to be touched come first.
        young: how many are.
        referred: row keys that are kept; None keeps all.
    """
    part_of_row = np.repeat(np.arange(len(paths)), [len(keys_B) for keys_B in keys])
    owner = index_keys(np.concatenate([np.empty(0, np.uint64), *keys]), part_of_row)
    if referred is not None:
        owner = owner.only(referred)
    parts = [
        Part(number, paths[number], len(keys[number]), int(first_copies(keys[number], owner, number).sum()))
        for number in range(young, len(paths))
    ]
    groups, empty = group_parts(parts), tuple(part for part in parts if not part.live)
    return TablePlan(folder, len(paths), _of_groups(owner, groups), groups, empty)


def group_parts(parts: Iterable[Part]) -> tuple[tuple[Part, ...], ...]:
    """Parts that are worth writing again, in groups of up to ROWS_A_PART live rows; small ones first, so that they meet."""
    worth = [part for part in parts if part.live and (_is_dead(part) or part.rows < SMALL)]
    groups: list[list[Part]] = []
    rows = ROWS_A_PART
    for part in sorted(worth, key=lambda part: (part.live, part.path)):
        if rows + part.live > ROWS_A_PART:
            groups.append([])
            rows = 0
        groups[-1].append(part)
        rows += part.live
    return tuple(tuple(group) for group in groups if len(group) > 1 or _is_dead(group[0]))


def _is_dead(part: Part) -> bool:
    return part.rows - part.live > DEAD_SHARE * part.rows


def _of_groups(owner: KeyIndex, groups: Sequence[Sequence[Part]]) -> KeyIndex:
    """Owners among the parts that are written again: all that a task has to know."""
    ours_K = np.isin(owner.values_K, [part.number for group in groups for part in group])
    return KeyIndex(owner.keys_K[ours_K], owner.values_K[ours_K])
