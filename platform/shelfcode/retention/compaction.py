"""Which parts of a table of attributes or embeddings are rewritten, and which of them become one. Only counts; reads no part.

Every run that embeds adds parts of its own, and rows of texts that have changed stay behind in older parts. A part is rewritten
only where that pays: many of its rows are dead, or it is small and there is another to join it with.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from shelfcode.attributes.stored_texts import is_by_rules
from shelfcode.keys import KeyIndex, Keys, first_copies, index_keys


@dataclass(frozen=True)
class PartSizes:
    """When a part is rewritten, and how large the new ones become.

    Attributes:
        largest: most rows of a part that is made of others.
        small: rows below which a part is joined with others.
        dead_share: share of a part's rows above which, if they are dead, the part is rewritten.
    """

    largest: int = 65_536
    small: int = 16_384
    dead_share: float = 0.3

    def is_mostly_dead(self, part: "Part") -> bool:
        return part.rows - part.live > self.dead_share * part.rows


SIZES = PartSizes()


@dataclass(frozen=True)
class Part:
    """A part of a table.

    Attributes:
        number: by which `TablePlan.owner` names the part.
        live: rows that are kept in this part, and not in another that also has them.
    """

    number: int
    path: str
    rows: int
    live: int


@dataclass(frozen=True)
class TablePlan:
    """What is done to a table.

    Attributes:
        parts: how many the table has.
        owner: row key -> number of the part whose copy is kept, for the rows that are rewritten.
        groups: the parts of each group become one.
        empty: parts of which no row is kept.
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


def plan_table(
    folder: str, paths: Sequence[str], keys: Sequence[Keys], young: int, referred: Keys | None, sizes: PartSizes = SIZES
) -> TablePlan:
    """Count the live rows of a table's parts, and group the parts that are rewritten.

    Of a row that is stored more than once the first copy is kept, as every reader of the table would take it. Young parts come
    first, because a sweep that was killed leaves its new part, which is young, beside those that it was to replace.

    Args:
        paths, keys: the path of each part and the row keys in it. Parts that are too young to be touched come first.
        young: how many of them are too young.
        referred: row keys that are kept. None keeps all.
    """
    part_of_row = np.repeat(np.arange(len(paths)), [len(keys_B) for keys_B in keys])
    owner = index_keys(np.concatenate([np.empty(0, np.uint64), *keys]), part_of_row)
    if referred is not None:
        owner = owner.only(referred)
    parts = [
        Part(number, paths[number], len(keys[number]), int(first_copies(keys[number], owner, number).sum()))
        for number in range(young, len(paths))
    ]
    groups, empty = group_parts(parts, sizes), tuple(part for part in parts if not part.live)
    return TablePlan(folder, len(paths), _of_groups(owner, groups), groups, empty)


def group_parts(parts: Iterable[Part], sizes: PartSizes = SIZES) -> tuple[tuple[Part, ...], ...]:
    """The parts that are rewritten, in groups that become one part each. Small ones come first, so that they end up together.

    Attributes that the rules filled in place of another extractor stay in parts of their own: readers go by the names of parts.
    """
    worth = [part for part in parts if part.live and (sizes.is_mostly_dead(part) or part.rows < sizes.small)]
    groups: list[list[Part]] = []
    for kind in (False, True):
        rows = sizes.largest
        for part in sorted((part for part in worth if is_by_rules(part.path) == kind), key=lambda part: (part.live, part.path)):
            if rows + part.live > sizes.largest:
                groups.append([])
                rows = 0
            groups[-1].append(part)
            rows += part.live
    return tuple(tuple(group) for group in groups if len(group) > 1 or sizes.is_mostly_dead(group[0]))


def _of_groups(owner: KeyIndex, groups: Sequence[Sequence[Part]]) -> KeyIndex:
    """The owners among the parts that are rewritten, which is all that a task needs to know."""
    ours_K = np.isin(owner.values_K, [part.number for group in groups for part in group])
    return KeyIndex(owner.keys_K[ours_K], owner.values_K[ours_K])
