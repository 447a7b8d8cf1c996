"""The table of semantic IDs: its types are a contract, and codes come back to the right products."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.keys import item_keys
from shelfcode.quantization.semantic_ids import read_codes, semantic_ids_table
from shelfcode.workspace import Workspace

FOLDER = "releases/small/v0001/semantic_ids"


def names(count: int) -> list[str]:
    return [f"item {n}" for n in range(count)]


def table_of(item_ids: list[str], codes_NL: np.ndarray) -> pa.Table:
    return semantic_ids_table(pa.chunked_array([item_ids], type=pa.string()), codes_NL)


def keys_of(item_ids: list[str]) -> np.ndarray:
    return item_keys(pa.array(item_ids, pa.string()))


@pytest.fixture
def codes_NL() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (20, 4))


@pytest.fixture
def workspace(tmp_path, codes_NL) -> Workspace:
    """Twenty products in two parts, the second one first."""
    workspace = Workspace(str(tmp_path))
    workspace.write_table(f"{FOLDER}/part-00000.parquet", table_of(names(20)[12:], codes_NL[12:]))
    workspace.write_table(f"{FOLDER}/part-00001.parquet", table_of(names(20)[:12], codes_NL[:12]))
    return workspace


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("products", [0, 3])
def test_columns_have_the_types_that_other_teams_read(tmp_path, levels, products):
    table = table_of(names(products), np.zeros((products, levels), dtype=np.int64))
    expected = pa.schema([("item_id", pa.string()), ("semantic_id", pa.string()), ("codes", pa.list_(pa.uint16(), levels))])
    assert table.schema.equals(expected)
    Workspace(str(tmp_path)).write_table("part-0.parquet", table)
    assert Workspace(str(tmp_path)).read_table("part-0.parquet").schema.equals(expected)


def test_the_semantic_id_spells_its_codes():
    table = table_of(["b", "a"], np.array([[6, 19, 32, 63], [0, 65535, 1, 2]]))
    assert table.to_pylist() == [
        {"item_id": "b", "semantic_id": "6_19_32_63", "codes": [6, 19, 32, 63]},
        {"item_id": "a", "semantic_id": "0_65535_1_2", "codes": [0, 65535, 1, 2]},
    ]


def test_codes_come_in_the_order_asked_for(workspace, codes_NL):
    order = np.random.default_rng(1).permutation(20)
    read_NL = read_codes(workspace, FOLDER, keys_of([f"item {n}" for n in order]))
    assert read_NL.dtype == np.uint16
    np.testing.assert_array_equal(read_NL, codes_NL[order])


def test_products_not_asked_for_are_passed_over(workspace, codes_NL):
    np.testing.assert_array_equal(read_codes(workspace, FOLDER, keys_of(["item 15", "item 2"])), codes_NL[[15, 2]])


def test_a_part_without_rows_is_no_obstacle(workspace, codes_NL):
    workspace.write_table(f"{FOLDER}/part-00002.parquet", table_of([], codes_NL[:0]))
    np.testing.assert_array_equal(read_codes(workspace, FOLDER, keys_of(names(20))), codes_NL)


def test_products_without_a_semantic_id_are_counted(workspace):
    with pytest.raises(KeyError, match="no semantic ID for 2 products"):
        read_codes(workspace, FOLDER, keys_of(["item 3", "new", "newer"]))


def test_a_folder_without_parts_has_no_codes(tmp_path):
    with pytest.raises(KeyError, match="no semantic ID for 1 products"):
        read_codes(Workspace(str(tmp_path)), FOLDER, keys_of(["item 3"]))
