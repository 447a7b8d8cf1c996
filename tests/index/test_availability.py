"""What each retailer has, by the rows of a store."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import Availability, Stock, availability_version, read_availability
from shelfcode.index.item_store import ItemStore
from shelfcode.keys import index_keys
from shelfcode.workspace import Workspace

PAIRS = [("b", "north"), ("a", "south"), ("a", "north"), ("elsewhere", "south"), ("d", "north"), ("d", "north"), ("elsewhere", "east")]


@pytest.fixture
def items(tmp_path: Path) -> ItemStore:
    return store(tmp_path / "items.arrow", list("abcd"))


def store(path: Path, item_ids: list[str]) -> ItemStore:
    table = pa.table({"item_id": item_ids})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return ItemStore(path)


def table(pairs: list[tuple[Any, Any]] = PAIRS, **more: Any) -> pa.Table:
    return pa.table({"item_id": [item for item, _ in pairs], "retailer_id": [retailer for _, retailer in pairs], **more})


def has(availability: Availability, retailer: str, items: ItemStore) -> str:
    """The items of a retailer, in a release whose products stand in the order of the store's rows."""
    places = availability.places(retailer, index_keys(items.keys_N))
    return "".join(items.value(row, "item_id") for row in places)


def written(folder: Path, *tables: pa.Table) -> str:
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(tables):
        pq.write_table(each, folder / f"part-{number}.parquet")
    return str(folder)


def test_a_file_and_a_folder_say_the_same(tmp_path: Path, items: ItemStore) -> None:
    workspace = Workspace(str(tmp_path))
    workspace.write_table("one.parquet", table(price=[1] * 7))
    for number, half in enumerate((table().slice(0, 3), table().slice(3))):
        workspace.write_table(f"many/part-{number}.parquet", half)
    for name in ("one.parquet", "many"):
        availability = read_availability(f"{tmp_path}/{name}")
        assert [has(availability, retailer, items) for retailer in ("north", "south", "east")] == ["abd", "a", ""]


@pytest.mark.parametrize(
    "retailers", [pa.array([7, 12, 7]), pa.array(["7", "12", "7"]).dictionary_encode(), pa.array([7, 12, 7], pa.uint8())]
)
def test_retailers_may_be_numbers(tmp_path: Path, items: ItemStore, retailers: pa.Array) -> None:
    availability = read_availability(written(tmp_path / "t", pa.table({"item_id": ["a", "b", "c"], "retailer_id": retailers})))
    assert [has(availability, name, items) for name in ("7", "12")] == ["ac", "b"]


def test_items_may_be_numbers(tmp_path: Path) -> None:
    availability = read_availability(written(tmp_path / "t", table([(1, "north"), (3, "north")])))
    assert has(availability, "north", store(tmp_path / "numbers.arrow", ["1", "2", "3"])) == "13"
    availability = read_availability(written(tmp_path / "doubles", table([(4006381333931.0, "north"), (None, "north"), (2.0, "south")])))
    assert has(availability, "north", store(tmp_path / "eans.arrow", ["2", "4006381333931"])) == "4006381333931"


def test_pairs_without_a_retailer_or_an_item_are_nobodys(tmp_path: Path, items: ItemStore) -> None:
    availability = read_availability(written(tmp_path / "t", table([("a", None), (None, "north"), ("b", "north"), ("c", None)])))
    assert has(availability, "north", items) == "b"
    assert list(availability.retailers) == ["north"]


@pytest.mark.parametrize("retailer", ["nobody", "", "North", "north "])
def test_a_retailer_that_the_table_does_not_know_is_a_key_error(tmp_path: Path, items: ItemStore, retailer: str) -> None:
    availability = read_availability(written(tmp_path / "t", table()))
    with pytest.raises(KeyError):
        availability.places(retailer, index_keys(items.keys_N))


def test_an_empty_table_knows_nobody(tmp_path: Path, items: ItemStore) -> None:
    nothing = pa.table({"item_id": pa.array([], pa.string()), "retailer_id": pa.array([], pa.string())})
    assert read_availability(written(tmp_path / "t", nothing)).retailers == {}


def test_the_products_of_any_number_of_retailers_are_found_before_anybody_asks(tmp_path: Path, items: ItemStore) -> None:
    stock = Stock(read_availability(written(tmp_path / "t", table([("a", f"r{number}") for number in range(40)]))))
    place_of, nothing = index_keys(items.keys_N), index_keys(np.empty(0, np.uint64))
    stock.add("small@v0001", place_of)
    for number in range(40):
        assert list(stock.places(f"r{number}", "small@v0001", nothing)) == [0]
    assert list(stock.places("r1", "small@v0002", place_of)) == [0]  # of a release that was not added
    stock.only(["small@v0002"])
    assert list(stock.places("r1", "small@v0001", nothing)) == []
    for release in ("small@v0001", "small@v0002"):
        with pytest.raises(KeyError):
            stock.places("nobody", release, place_of)


@pytest.mark.parametrize("column", ["item_id", "retailer_id"])
def test_a_missing_column_is_told_with_those_found(tmp_path: Path, column: str) -> None:
    url = written(tmp_path / "t", table(colour=["red"] * 7).drop([column]))
    with pytest.raises(ShelfcodeError, match=f"{url} has no column {column}; columns found: .*colour"):
        read_availability(url)


def test_what_cannot_be_read_is_told_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and nothing else")
    for name in ("not-there", "damaged.parquet"):
        with pytest.raises(ShelfcodeError, match=name):
            read_availability(f"{tmp_path}/{name}")


def test_a_table_in_a_bucket_is_read_and_what_is_not_there_is_told(s3: str, items: ItemStore) -> None:
    url = f"{s3}/availability"
    Workspace(url).write_table("table/part-0.parquet", table())
    assert has(read_availability(f"{url}/table"), "north", items) == "abd"
    for read in (read_availability, availability_version):
        with pytest.raises(ShelfcodeError, match="not-there"):
            read(f"{url}/not-there")


def test_the_version_changes_when_a_file_does(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    workspace.write_table("table/part-0.parquet", table())
    urls = [f"{workspace_url}/table", f"{workspace_url}/table/part-0.parquet"]
    before = [availability_version(url) for url in urls]
    assert [availability_version(url) for url in urls] == before
    workspace.write_table("table/part-0.parquet", table(PAIRS[:2]))
    after = [availability_version(url) for url in urls]
    assert all(one != two for one, two in zip(before, after, strict=True))
    workspace.write_table("table/part-1.parquet", table())
    assert availability_version(urls[0]) != after[0]
    assert availability_version(urls[1]) == after[1]


def test_the_version_changes_when_a_file_of_the_same_size_is_newer(tmp_path: Path) -> None:
    url = written(tmp_path / "t", table())
    before = availability_version(url)
    os.utime(Path(url) / "part-0.parquet", (1, 1))
    assert availability_version(url) != before


def test_nothing_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for url in (f"{tmp_path}/not-there", str(tmp_path / "empty")):
        with pytest.raises(ShelfcodeError, match="availability="):
            availability_version(url)
