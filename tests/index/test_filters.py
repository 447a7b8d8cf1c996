"""A filter finds what looking at every value finds, whatever was asked before."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.index.filters import FREQUENT, Filters, build_filters
from shelfcode.index.item_store import ROWS_PER_BATCH, ItemStore


def filters_of(folder: Path, columns: dict[str, Any], rows_per_batch: int = ROWS_PER_BATCH, places: Any = None) -> Filters:
    table, path = pa.table(columns), folder / "items.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_per_batch)
    return build_filters(ItemStore(path), np.arange(len(table), dtype=np.int32) if places is None else np.asarray(places, np.int32))


@pytest.mark.parametrize(
    ("values", "wanted", "rows"),
    [
        (["Mossy Glen", "mossy glen", None, "Mossy"], "MOSSY glen", [0, 1]),
        (["ΒΙΚΟΣ", "βικος", "Βίκος"], "ΒΙΚΟΣ", [0, 1]),
        (["ΒΙΚΟΣ", "βικος", "Βίκος"], "βικος", [0, 1]),
        (["Ünlü", "ÜNLÜ", "牛乳"], "ünlü", [0, 1]),
        (["a", "", None], "", [1]),
        ([["vegan", "Organic"], [], None, ["ORGANIC", None], ["organic food"]], "organic", [0, 3]),
        (pa.array([["a", "b"], None, ["c", "a"]], pa.list_(pa.string(), 2)), "a", [0, 2]),
        (pa.array([["a"], None, ["b", "a"]], pa.large_list(pa.large_string())), "a", [0, 2]),
        ([[1, 2], [3], None], "2", [0]),
        ([[["a"]], None, [["b"], ["c", "a"]]], "a", [0, 2]),
        ([1, 2, None], "2", [1]),
        ([1.0, 2.5, None], "2.5", [1]),
        ([True, False, None], "TRUE", [0]),
        ([datetime.date(2026, 1, 2), None], "2026-01-02", [0]),
        (pa.nulls(2), "", []),
        ([{"a": "b"}, None], "b", []),
        ([[{"a": "b"}], None], "b", []),
    ],
    ids=str,
)
def test_a_filter_finds_texts_lists_and_numbers_without_regard_to_case(tmp_path: Path, values: Any, wanted: str, rows: list[int]) -> None:
    filters = filters_of(tmp_path, {"other": ["x"] * len(values), "column": values})
    assert list(filters.places("column", wanted)) == rows
    for column, text in (("column", "nothing like it"), ("column", "\ud800"), ("nowhere", wanted), ("other", wanted)):
        assert list(filters.places(column, text)) == []


def test_values_that_many_products_have_are_found_as_those_that_few_have(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), 3 * FREQUENT
    brand = rng.choice(["most", "some", "few"], rows, p=[0.7, 0.299, 0.001])
    tags = [rng.choice(["a", "b", "c"], rng.integers(0, 4)).tolist() for _ in range(rows)]
    places = rng.permutation(rows)
    places[rng.random(rows) < 0.1] = -1
    filters = filters_of(tmp_path, {"brand": brand, "tags": pa.array(tags, pa.list_(pa.string()))}, rows // 5, places)
    for value in ("most", "some", "few"):
        assert list(filters.places("brand", value)) == sorted(places[(brand == value) & (places >= 0)].tolist())
    for value in "abc":
        has = np.array([value in each for each in tags])
        assert list(filters.places("tags", value)) == sorted(places[has & (places >= 0)].tolist())
    assert len(filters.places("brand", "most")) > FREQUENT > len(filters.places("brand", "few")) > 0


def test_a_store_without_rows_or_values_has_none(tmp_path: Path) -> None:
    for columns in ({"item_id": pa.array([], pa.string())}, {"item_id": pa.nulls(3, pa.string())}):
        assert list(filters_of(tmp_path, columns).places("item_id", "a")) == []
