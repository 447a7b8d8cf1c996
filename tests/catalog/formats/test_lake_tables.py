"""Delta and Iceberg tables are read as they are now, by their libraries, and never as the files that lie in their folders."""

import sys
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.io import load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from shelfcode.catalog.rows import read_file
from shelfcode.catalog.source import list_source
from shelfcode.errors import ShelfcodeError

IDS = [str(number) for number in range(60)]
ROWS = pa.table({"item_id": IDS, "title": [f"Milk {number}" for number in IDS], "shop": ["a", "b"] * 30})


def delta(folder: Path) -> Path:
    """60 products, of which 10 are renamed and 10 deleted."""
    deltalake.write_deltalake(str(folder), ROWS, partition_by=["shop"])
    table = deltalake.DeltaTable(str(folder))
    table.delete("cast(item_id as int) >= 50")
    table.update(new_values={"title": "renamed"}, predicate="cast(item_id as int) < 10")
    return folder


class OneTable(MetastoreCatalog):
    """An Iceberg catalog of one table, which needs no database."""

    def store(self, metadata: TableMetadata, path: str) -> None:
        io = load_file_io({}, path)
        self._write_metadata(metadata, io, path)
        self.table = Table(("shop", "products"), metadata, path, io, self)

    def load_table(self, _: Any) -> Table:
        return self.table

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        staged = self._update_and_stage_table(self.table, table.name(), requirements, updates)
        self.store(staged.metadata, staged.metadata_location)
        return CommitTableResponse(metadata=staged.metadata, metadata_location=staged.metadata_location)


OneTable.__abstractmethods__ = frozenset()  # what a table's own reads and writes never ask for


def iceberg(folder: Path) -> Path:
    """The same."""
    catalog = OneTable("shop")
    schema = catalog._convert_schema_if_needed(ROWS.schema, 2)
    metadata = new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, str(folder))
    catalog.store(metadata, f"{folder}/metadata/00000-{metadata.table_uuid}.metadata.json")
    catalog.table.append(ROWS)
    catalog.table.delete("item_id >= '50'")
    changed = ROWS.slice(0, 10).set_column(1, "title", pa.array(["renamed"] * 10))
    catalog.table.overwrite(pa.concat_tables([changed, ROWS.slice(10, 40)]))
    return folder


def rows_of(url: Path | str) -> list[dict[str, Any]]:
    found = [batch for file in list_source(str(url)) for batch in read_file(file)]
    assert not [row for batch in found for row in batch.unreadable]
    return [row for batch in found for row in batch.table.to_pylist()]


@pytest.mark.parametrize("make", [delta, iceberg])
def test_a_table_is_read_as_it_is_now(tmp_path: Path, make: Any) -> None:
    folder = make(tmp_path / "table")
    rows = sorted(rows_of(folder), key=lambda row: int(row["item_id"]))  # no table promises an order
    assert [row["item_id"] for row in rows] == [str(number) for number in range(50)]
    assert [row["title"] for row in rows] == ["renamed"] * 10 + [f"Milk {number}" for number in range(10, 50)]
    assert [row["shop"] for row in rows] == ["a", "b"] * 25
    assert rows_of(tmp_path) == rows_of(folder)  # a folder with a table in it


@pytest.mark.parametrize("make", [delta, iceberg])
def test_files_of_a_table_are_refused(tmp_path: Path, make: Any) -> None:
    folder = make(tmp_path / "table")
    data = "*/*.parquet" if make is delta else "data/*.parquet"
    for part in (f"{folder}/{data}", f"{folder}/{'shop=a' if make is delta else 'data'}", str(next(folder.glob(data)))):
        with pytest.raises(ShelfcodeError, match=r"files of the table in .*Give that folder"):
            list_source(part)


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_without_its_library_a_table_is_refused_with_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    log = tmp_path / ("_delta_log/0.json" if kind == "delta" else "metadata/v1.metadata.json")
    log.parent.mkdir()
    log.write_text("{}")
    for name in [name for name in sys.modules if name.split(".")[0] in ("deltalake", "pyiceberg")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ShelfcodeError, match=rf"pip install 'shelfcode\[{kind}\]'"):
        list_source(str(tmp_path))


@pytest.mark.parametrize("log", ["_delta_log/00000000000000000000.json", "metadata/v1.metadata.json"])
def test_a_table_whose_log_is_damaged_is_refused_by_its_kind(tmp_path: Path, log: str) -> None:
    (tmp_path / log).parent.mkdir()
    (tmp_path / log).write_text("{}")
    with pytest.raises(ShelfcodeError, match=r"is a Delta table that cannot|is an Iceberg table that cannot"):
        list_source(str(tmp_path))
