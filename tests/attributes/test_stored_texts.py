"""Of a text that both the rules and the extractor have answered, the extractor's own answer counts, wherever it is stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shelfcode.attributes.schema import Attributes
from shelfcode.attributes.stored_texts import is_by_rules, read_stored, texts_of
from shelfcode.attributes.table import Outcome, attributes_rows, store_rows
from shelfcode.workspace import Workspace

FOLDER = "attributes/llm-1"


def rows(items: str, failed: str = "") -> pa.Table:
    products: list[dict[str, Any]] = [
        {"item_id": item, "text_hash": item.lower(), "title": item, "description": None, "brand": None} for item in items
    ]
    outcomes = [Outcome(None, "engine error") if item in failed else Outcome(Attributes(product_type="x"), None) for item in items]
    return attributes_rows(products, outcomes, "llm-1", {})


def test_what_the_rules_filled_has_parts_of_its_own_which_come_last(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    for own, failed in zip("012345678", "abcdefghi", strict=True):  # a name is a hash: one pair might be in order by chance
        store_rows(workspace, FOLDER, rows(own + failed, failed))
    stored = read_stored(workspace, FOLDER)
    assert [is_by_rules(part) for part in stored.parts] == [False] * 9 + [True] * 9
    assert stored.parts == tuple(workspace.parts(FOLDER)), "readers that go by the order of names would take other rows"
    assert stored.own_parts == 9

    store_rows(workspace, FOLDER, rows("a"))
    later = read_stored(workspace, FOLDER, stored)
    keys = texts_of(rows("ab"))
    for index, keys_N in ((later.part_of_row(), keys.rows_N), (later.part_of_text(), keys.texts_N)):
        assert (index.get(keys_N) < later.own_parts).tolist() == [True, False]


def test_parts_that_are_known_are_not_read_again(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    store_rows(workspace, FOLDER, rows("ab"))
    first = read_stored(workspace, FOLDER)
    workspace.write_bytes(first.parts[0], b"damaged since")
    assert np.array_equal(read_stored(workspace, FOLDER, first).keys[0].rows_N, first.keys[0].rows_N)


def test_a_folder_that_is_not_there_has_no_texts(tmp_path: Path) -> None:
    stored = read_stored(Workspace(str(tmp_path)), FOLDER)
    assert (stored.parts, stored.own_parts, len(stored.part_of_row())) == ((), 0, 0)
