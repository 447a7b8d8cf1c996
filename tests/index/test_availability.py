"""What each retailer has, by the rows of a store."""

import os
import threading
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


@pytest.fixture
def stock(tmp_path: Path, items: ItemStore) -> Stock:
    """Of the pairs above, with one release whose products stand in the order of the store's rows, and one that has them backwards."""
    stock = Stock(read_availability(written(tmp_path / "t", table())))
    stock.add("small@v0001", index_keys(items.keys_N))
    stock.add("small@v0002", index_keys(items.keys_N[::-1]))
    return stock


NOWHERE = index_keys(np.empty(0, np.uint64))


def at(stock: Stock, retailer: str) -> list[int]:
    """The places of what a retailer has in the two releases; the second counts from the end, so that both come to the same."""
    first, second = (stock.places(retailer, f"small@v000{number}", NOWHERE) for number in (1, 2))
    assert list(first) == sorted(3 - place for place in second)
    return list(first)


def test_a_change_is_seen_in_every_release(stock: Stock, items: ItemStore) -> None:
    assert at(stock, "north") == [0, 1, 3]
    stock.change("north", ["c", "a"], ["b", "nowhere"])
    assert at(stock, "north") == [0, 2, 3]
    stock.replace("north", ["b"])
    assert at(stock, "north") == [1]
    assert list(stock.places("north", "small@v0003", index_keys(items.keys_N))) == [1]  # of a release that was not added
    assert at(stock, "south") == [0]


def test_what_is_to_be_added_and_removed_is_there(stock: Stock) -> None:
    stock.change("north", ["c", "a"], ["a", "c", "d"])
    assert at(stock, "north") == [0, 1, 2]


def test_a_retailer_becomes_known_by_the_first_change_and_stays_known_with_nothing(stock: Stock) -> None:
    assert not stock.knows("west")
    with pytest.raises(KeyError):
        stock.count("west")
    stock.change("west", [], ["a"])
    stock.replace("north", [])
    for retailer in ("west", "north"):
        assert stock.knows(retailer)
        assert (stock.count(retailer), at(stock, retailer)) == (0, [])
    assert sorted(stock.retailers) == ["east", "north", "south", "west"]


def test_items_that_no_release_has_count_and_are_found_once_one_has_them(stock: Stock, tmp_path: Path) -> None:
    stock.change("south", ["tomorrow"], [])
    assert (stock.count("south"), at(stock, "south")) == (3, [0])
    stock.add("small@v0003", index_keys(store(tmp_path / "new.arrow", ["tomorrow", "elsewhere", "a"]).keys_N))
    assert list(stock.places("south", "small@v0003", NOWHERE)) == [0, 1, 2]
    stock.change("south", [], ["elsewhere"])
    assert list(stock.places("south", "small@v0003", NOWHERE)) == [0, 2]


def test_reported_ids_are_the_same_ids_as_in_a_table(tmp_path: Path) -> None:
    written_ids = ["Ñandú", "4006381333931"]
    stock = Stock(read_availability(written(tmp_path / "t", table([("x", "south")]))))
    stock.replace("north", ["  N\u0303andu\u0301\u200b ", "4006381333931.0", "\x07", "", "4.006381E+12"])
    place_of = index_keys(store(tmp_path / "items.arrow", written_ids).keys_N)
    assert (stock.count("north"), list(stock.places("north", "x", place_of))) == (2, [0, 1])


def test_a_stock_becomes_another(stock: Stock, tmp_path: Path) -> None:
    stock.become(read_availability(written(tmp_path / "other", table([("d", "north"), ("new", "west")]))))
    assert at(stock, "north") == [3]
    assert sorted(stock.retailers) == ["north", "west"]
    with pytest.raises(KeyError):
        stock.places("south", "small@v0001", NOWHERE)


def test_what_was_given_to_a_reader_is_never_changed(stock: Stock) -> None:
    before, known = stock.places("north", "small@v0001", NOWHERE), stock.availability
    stock.change("north", ["c"], ["a"])
    assert list(before) == [0, 1, 3]
    assert len(known.retailers["north"]) == 3


def test_readers_see_each_change_whole_and_no_writer_undoes_another(tmp_path: Path) -> None:
    ids = [f"{number}" for number in range(2000)]
    place_of = index_keys(store(tmp_path / "items.arrow", ids).keys_N)
    stock = Stock(read_availability(written(tmp_path / "t", table([(each, "north") for each in ids[:1000]]))))
    stock.add("one", place_of)
    ended, seen = threading.Event(), set()

    def read() -> None:
        while not ended.is_set():
            for release in ("one", "not added"):
                places = stock.places("north", release, place_of)
                seen.add((len(places), min(places), max(places)))

    def write(own: str) -> None:
        for turn in range(20):
            stock.change(own, [f"{own}-{turn}"], [])
            stock.add(own, place_of)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(own,)) for own in ("east", "south")]
    for thread in (*readers, *writers):
        thread.start()
    for _ in range(20):
        stock.change("north", ids[1000:], ids[:1000])
        stock.replace("north", ids[:1000])
    for thread in writers:
        thread.join()
    ended.set()
    for thread in readers:
        thread.join()
    assert seen <= {(1000, 0, 999), (1000, 1000, 1999)}
    assert (stock.count("east"), stock.count("south"), stock.count("north")) == (20, 20, 1000)


def test_ids_that_are_written_in_two_ways_are_one_item(tmp_path: Path, items: ItemStore) -> None:
    pairs = [(" a", "north"), ("a", "north"), ("a\u200b", "south"), ("b ", "south")]
    availability = read_availability(written(tmp_path / "t", table(pairs)))
    assert [has(availability, name, items) for name in ("north", "south")] == ["a", "ab"]
    assert len(availability.retailers["north"]) == 1


@pytest.mark.parametrize("item_ids", [pa.array(["a", "b", None, "a"]).dictionary_encode(), pa.array([b"a", b"b", None, b"a"])])
def test_items_may_be_dictionaries_and_bytes(tmp_path: Path, items: ItemStore, item_ids: pa.Array) -> None:
    pairs = pa.table({"item_id": item_ids, "retailer_id": ["north", "north", "south", "south"]})
    availability = read_availability(written(tmp_path / "t", pairs, pairs.slice(1)))
    assert [has(availability, name, items) for name in ("north", "south")] == ["ab", "a"]


def test_a_retailer_of_nulls_alone_is_known_and_has_nothing(tmp_path: Path, items: ItemStore) -> None:
    stock = Stock(read_availability(written(tmp_path / "t", table([(None, "north"), ("a", "south")]))))
    assert (stock.knows("north"), stock.count("north"), stock.count("south")) == (True, 0, 1)


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
