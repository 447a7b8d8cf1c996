"""Keys find the right row: against a plain dictionary."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.keys import first_copies, index_keys, item_key, item_keys, row_keys, stored_rows, text_hash
from shelfcode.workspace import Workspace


def test_an_item_key_depends_on_the_item_id_alone() -> None:
    ids = [f"item {i}" for i in range(5000)] + ["007", "7", "", "Ñandú", "x" * 10_000]
    keys = item_keys(pa.array(ids))
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == len(ids)
    chunked = pa.chunked_array([ids[::-1][:3], ids[::-1][3:]])
    np.testing.assert_array_equal(item_keys(chunked), keys[::-1])


def test_keys_are_those_of_the_published_hash() -> None:
    """Releases keep keys in files: whatever changes these vectors needs another layout. The first two are in xxHash's own tests."""
    vectors = {
        "": 0x2D06800538D394C2,
        "abc": 0x78AF5F94892F3950,
        "007": 0x983B6DD0C94D82,
        "Ñandú": 0x2EBF563CAE53E33C,
        "x" * 300: 0xA5D1B4607DC83554,
    }
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert [hex(key) for key in item_keys(pa.array(list(vectors), kind))] == [hex(key) for key in vectors.values()]
    assert [hex(item_key(text)) for text in vectors] == [hex(key) for key in vectors.values()]
    assert hex(row_keys(pa.array(["007"]), pa.array([text_hash("milk")]))[0]) == "0x1d71b6550c6d2fbe"
    assert text_hash("milk") == "489f5fd41444b7a850a1d1c0551b16ed"


def test_a_null_has_a_key_of_its_own() -> None:
    keys = item_keys(pa.array(["a", None, "", "null", None]))
    assert len(set(keys.tolist())) == 4


def test_no_item_ids_give_no_keys() -> None:
    assert item_keys(pa.array([], pa.string())).shape == (0,)
    assert row_keys(pa.array([], pa.string()), pa.array([], pa.string())).shape == (0,)


def test_a_row_key_changes_with_the_text_and_with_the_item() -> None:
    ids, hashes = pa.array(["a", "a", "b", "ab", "a"]), pa.array(["1", "2", "1", "c", "bc"])
    assert len(set(row_keys(ids, hashes).tolist())) == 5


def test_a_text_hash_takes_any_text() -> None:
    texts = ["", "milk", "Milk", "milk ", "m\ud800lk", "m\ud801lk"]
    assert len({text_hash(text) for text in texts}) == len(texts)
    assert text_hash("milk") == text_hash("milk")


@pytest.mark.parametrize("known", [0, 1, 1000])
def test_an_index_answers_as_a_dictionary_would(known: int) -> None:
    rng = np.random.default_rng(known)
    keys_N = rng.integers(0, 700, known).astype(np.uint64) * np.uint64(2**54 + 1)  # some of them several times
    expected: dict[int, int] = {}
    for place, key in enumerate(keys_N.tolist()):
        expected.setdefault(key, place)
    index = index_keys(keys_N)
    asked = np.concatenate([keys_N, rng.integers(0, 2**63, 500).astype(np.uint64), np.array([0, 2**64 - 1], np.uint64)])
    assert len(index) == len(expected)
    assert index.get(asked).tolist() == [expected.get(key, -1) for key in asked.tolist()]
    assert [index.find(key) for key in asked.tolist()] == index.get(asked).tolist()


def test_an_index_gives_the_value_of_the_first_of_equal_keys() -> None:
    index = index_keys(np.array([5, 9, 5], np.uint64), np.array([70, 80, 90]))
    assert index.get(np.array([9, 5, 6], np.uint64)).tolist() == [80, 70, -1]


def test_every_stored_row_is_used_exactly_once_though_parts_repeat_it(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    rng = np.random.default_rng(0)
    rows_of_part = [[(f"i{i}", f"h{h}") for i, h in rng.integers(0, 12, (40, 2)).tolist()] for _ in range(4)]
    parts = []
    for number, rows in enumerate(rows_of_part):
        parts.append(f"table/part-{number}.parquet")
        workspace.write_table(parts[-1], pa.table({"item_id": [row[0] for row in rows], "text_hash": [row[1] for row in rows]}))
    owner = stored_rows(workspace, parts)

    expected_first: dict[tuple[str, str], int] = {}
    for number, rows in enumerate(rows_of_part):
        for row in rows:
            expected_first.setdefault(row, number)
    used = []
    for number, rows in enumerate(rows_of_part):
        keys_N = row_keys(pa.array([row[0] for row in rows]), pa.array([row[1] for row in rows]))
        assert owner.get(keys_N).tolist() == [expected_first[row] for row in rows]
        used += [row for row, first in zip(rows, first_copies(keys_N, owner, number), strict=True) if first]
    assert sorted(used) == sorted(expected_first)


def test_a_table_without_parts_holds_no_row(tmp_path: Path) -> None:
    assert len(stored_rows(Workspace(str(tmp_path)), [])) == 0
