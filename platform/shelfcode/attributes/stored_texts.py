"""Which products and which texts an attributes table has rows of, by their keys, and whose answers these are.

Two kinds of parts make up a table. Those that hold the extractor's own answers, and those that the rules filled because the extractor
gave no answer: `part-rules-<name>.parquet`. The latter sort after all others, and of a row that is stored twice every reader takes the
first. An answer that the extractor gives on a later day therefore takes the place of what the rules said.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from shelfcode.keys import KeyIndex, Keys, index_keys, item_keys, row_keys
from shelfcode.parts import part_name
from shelfcode.workspace import Workspace

BY_RULES = "rules-"
"""How the name of a part begins that the rules filled in place of the table's extractor."""


@dataclass(frozen=True)
class Texts:
    """Products by what is extracted from them.

    Attributes:
        rows_N: row key of each product.
        texts_N: key of its text alone, equal for products that say the same.
    """

    rows_N: Keys
    texts_N: Keys


@dataclass(frozen=True)
class StoredTexts:
    """The keys of a table's rows, part by part.

    Attributes:
        parts: in the order of their names, and so with the extractor's own answers first.
    """

    parts: tuple[str, ...] = ()
    keys: tuple[Texts, ...] = field(default=(), repr=False)

    @property
    def own_parts(self) -> int:
        """The number of parts that hold the extractor's own answers."""
        return sum(not is_by_rules(part) for part in self.parts)

    def part_of_row(self) -> KeyIndex:
        """Row key -> number of the first part that has the row."""
        return self._index([keys.rows_N for keys in self.keys])

    def part_of_text(self) -> KeyIndex:
        """Key of a text -> number of the first part that has a row of it."""
        return self._index([keys.texts_N for keys in self.keys])

    def _index(self, keys: Sequence[Keys]) -> KeyIndex:
        part_of_row = np.repeat(np.arange(len(keys)), [len(keys_B) for keys_B in keys])
        return index_keys(np.concatenate([np.empty(0, np.uint64), *keys]), part_of_row)


def is_by_rules(part: str) -> bool:
    """Whether the rules filled a part in place of the extractor that its table is named after."""
    return part_name(part).startswith(BY_RULES)


def read_stored(workspace: Workspace, folder: str, before: StoredTexts | None = None) -> StoredTexts:
    """The keys of a table's rows; parts of which they are known already are not read again."""
    before = before or StoredTexts()
    known = dict(zip(before.parts, before.keys, strict=True))
    parts = sorted(workspace.parts(folder), key=lambda part: (is_by_rules(part), part))
    new = [part for part in parts if part not in known]
    known |= zip(new, map(texts_of, workspace.read_tables(new, ["item_id", "text_hash"])), strict=True)
    return StoredTexts(tuple(parts), tuple(known[part] for part in parts))


def texts_of(products: pa.Table) -> Texts:
    """Keys of products with item_id and text_hash."""
    return Texts(row_keys(products["item_id"], products["text_hash"]), item_keys(products["text_hash"]))
