"""Tables that say which products belong together: pairs, baskets and judgments, read from Parquet.

A table is recognised by its columns. What else it holds is not read, but for order and time (`position`, `week`, `at`, `timestamp`):

| columns | rows are | relations |
|---|---|---|
| item_id, other_item_id (and relation) | pairs | what `relation` says, else the table's name in the singular: substitutes -> substitute |
| query, item_id, label | judgments, E(xact), S(ubstitute), C(omplement) or I(rrelevant) | query_EE, query_ES, query_EC, query_EI |
| order_id or session_id, item_id | products of a basket | same_basket |

Files of a folder within the one that is given are one table, named after their folder; so are files named part-*. Any
other file is a table by itself. Names that start with `.` or `_` are left out, as in catalogs. Rows keep the order in
which they are read, file by file in the order of their names.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from shelfcode.catalog.cells.arrow_types import plain
from shelfcode.catalog.cells.item_ids import known_item_ids
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.columns import KNOWN_LABELS, LABELS, ORDER_COLUMNS, label_places, order_values, trimmed
from shelfcode.keys import Keys, item_keys
from shelfcode.store import open_filesystem

SAME_BASKET = "same_basket"
RESERVED = (SAME_BASKET, *(f"query_{LABELS[0]}{label}" for label in LABELS))

_ROWS_PER_BATCH = 100_000
_BASKET_COLUMNS = ("order_id", "session_id")

Kind = Literal["pairs", "judgments", "baskets"]
_Order = dict[str, NDArray[np.float64]]
_KeyedRows = tuple[Keys, Keys, NDArray[np.int8], _Order]


@dataclass(frozen=True)
class RelationRows:
    """R rows of one kind, as keys (shelfcode.keys), from all tables that have such rows.

    Attributes:
        kind: what a row is.
        name: the relation of pairs; `judgments` or `baskets` otherwise.
        owner_R: what the row belongs to: the left product of a pair, the query, the basket.
        item_R: the product; of a pair, the right one.
        label_R: int8, place of a judgment's label in LABELS; 0 otherwise.
        order: what the tables say of order and time, float64[R] by column: times in seconds since 1970, NaN where a row says nothing.
    """

    kind: Kind
    name: str
    owner_R: Keys
    item_R: Keys
    label_R: NDArray[np.int8]
    order: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Relations:
    """All that was read from one place.

    Attributes:
        url: where from.
        rows: pairs by relation in the order of their names, then judgments, then baskets.
        passed_over: names of the tables that have none of the known columns.
        incomplete_rows: rows that lack a value in a column that counts, left out.
    """

    url: str
    rows: tuple[RelationRows, ...]
    passed_over: tuple[str, ...]
    incomplete_rows: int


@dataclass(frozen=True)
class _File:
    """A file, the folder or stem that its table is known by, and the name that the table shows."""

    path: str
    table: str
    name: str


def read_relations(url: str, flag: str = "--pairs") -> Relations:
    """Read all relations of a Parquet file, or of a folder of such files and folders; local or s3://.

    Args:
        flag: that named the place, for messages.

    Raises:
        ShelfcodeError: nothing is there, no table has the columns of a relation, a file cannot be read, or a label is unknown.
    """
    fs, path = open_filesystem(url)
    files = _files(fs, path.rstrip("/"), url, flag)
    gathered: dict[tuple[Kind, str], list[_KeyedRows]] = defaultdict(list)
    passed_over: dict[str, list[str]] = {}
    incomplete = 0
    for file in files:
        try:
            with fs.open(file.path, "rb") as stream:
                parquet = pq.ParquetFile(stream)
                columns = parquet.schema_arrow.names
                kind = _kind(columns)
                if kind is None:
                    passed_over[file.name] = columns
                    continue
                names, order_names = _columns(kind, columns), [name for name in ORDER_COLUMNS if name in columns]
                for batch in parquet.iter_batches(_ROWS_PER_BATCH, columns=[*names, *order_names]):
                    read = pa.Table.from_batches([batch])
                    table = _texts(read.select(names))
                    complete_R = _complete(table)
                    incomplete += int((~complete_R).sum())
                    order = {name: values[complete_R] for name in order_names if (values := order_values(read[name])) is not None}
                    for name, rows in _keyed(table.filter(pa.array(complete_R)), order, kind, file, flag):
                        gathered[kind, name].append(rows)
        except (pa.ArrowException, OSError) as error:
            raise ShelfcodeError(f"{flag}: {file.path} cannot be read: {' '.join(str(error).split())[:300]}") from error
    if not gathered:
        listed = "; ".join(f"{name} has {', '.join(columns)}" for name, columns in list(passed_over.items())[:5])
        raise ShelfcodeError(
            f"{flag} {url}: no row of a relation in {len(files)} file(s) ({listed or 'tables are empty'}). "
            "Known are tables with item_id and other_item_id; query, item_id and label; session_id or order_id and item_id"
        )
    return Relations(url, tuple(_joined(gathered)), tuple(sorted(passed_over)), incomplete)


def _files(fs: AbstractFileSystem, path: str, url: str, flag: str) -> list[_File]:
    if fs.isfile(path):
        return [_file(path, "")]
    files = []
    for file in sorted(fs.find(path)):
        relative = file[len(path) :].strip("/")
        hidden = any(name.startswith((".", "_")) for name in relative.split("/"))
        if not hidden and relative.endswith((".parquet", ".pq")):
            files.append(_file(file, relative))
    if not files:
        there = "holds no Parquet file" if fs.exists(path) else "does not exist"
        raise ShelfcodeError(f"{flag} {url} {there}. Give a Parquet file, or a folder of them such as a sample catalog's facts/")
    return files


def _file(path: str, relative: str) -> _File:
    """`relative` is the path within the folder that was given, "" for a file that was given itself."""
    folder, _, name = path.rpartition("/")
    if "/" in relative or name.startswith("part-"):
        return _File(path, folder, folder.rsplit("/", 1)[-1])
    return _File(path, path, name.rsplit(".", 1)[0])


def _kind(columns: list[str]) -> Kind | None:
    if "item_id" not in columns:
        return None
    if "other_item_id" in columns:
        return "pairs"
    if "query" in columns and "label" in columns:
        return "judgments"
    return "baskets" if any(name in columns for name in _BASKET_COLUMNS) else None


def _columns(kind: Kind, columns: list[str]) -> list[str]:
    """The columns to read, owner and product first."""
    if kind == "pairs":
        return ["item_id", "other_item_id", *(["relation"] if "relation" in columns else [])]
    if kind == "judgments":
        return ["query", "item_id", "label"]
    return [next(name for name in _BASKET_COLUMNS if name in columns), "item_id"]


def _texts(table: pa.Table) -> pa.Table:
    """All columns as text: item_ids as the catalog has them, others without white space around them; blank is null."""
    columns = {}
    for name in table.column_names:
        values = plain(table[name].combine_chunks())
        if pa.types.is_nested(values.type):
            raise pa.ArrowInvalid(f"column {name} is a {values.type}, expected text")
        columns[name] = known_item_ids(values) if name in ("item_id", "other_item_id") else trimmed(values.cast(pa.string()))
    return pa.table(columns)


def _complete(table: pa.Table) -> NDArray[np.bool_]:
    """Whether a row has a value in every column."""
    complete_R = np.ones(len(table), dtype=bool)
    for column in table.columns:
        complete_R &= column.is_valid().to_numpy()
    return complete_R


def _keyed(table: pa.Table, order: _Order, kind: Kind, file: _File, flag: str) -> Iterator[tuple[str, _KeyedRows]]:
    """The rows of a batch by name: that of the relation for pairs, else of the kind."""
    owners, items = table.columns[:2]
    if kind == "pairs":
        names = table["relation"].to_pylist() if "relation" in table.column_names else [_singular(file.name)] * len(table)
        owner_R, item_R, name_R = item_keys(owners), item_keys(items), np.array(names, dtype=object)
        for name in sorted(set(names)):
            if name in RESERVED:
                raise ShelfcodeError(f"{flag}: {file.path} names a relation {name}, which pairs of baskets or judgments have; rename it")
            mine_R = name_R == name
            part = {column: values[mine_R] for column, values in order.items()}
            yield name, (owner_R[mine_R], item_R[mine_R], np.zeros(int(mine_R.sum()), np.int8), part)
        return
    # Two tables may count their baskets from 1, both: the table belongs to a basket's key.
    owner_R = item_keys(pc.binary_join_element_wise(owners, pa.scalar(file.table), "\x1f"))
    if kind == "baskets" and len(table):
        yield "baskets", (owner_R, item_keys(items), np.zeros(len(table), np.int8), order)
    elif len(table):
        label_R = label_places(table["label"])
        if (label_R < 0).any():
            unknown = table["label"][int(np.argmax(label_R < 0))].as_py()
            raise ShelfcodeError(f"{flag}: {file.path} has the label {unknown!r}. {KNOWN_LABELS}")
        yield "judgments", (owner_R, item_keys(items), label_R, order)


def _joined(gathered: dict[tuple[Kind, str], list[_KeyedRows]]) -> Iterator[RelationRows]:
    kinds = ("pairs", "judgments", "baskets")
    for kind, name in sorted(gathered, key=lambda key: (kinds.index(key[0]), key[1])):
        owners, items, labels, orders = zip(*gathered[kind, name], strict=True)
        order = {column: _one_column(column, orders, items) for column in ORDER_COLUMNS if any(column in part for part in orders)}
        yield RelationRows(kind, name, np.concatenate(owners), np.concatenate(items), np.concatenate(labels), order)


def _one_column(column: str, orders: Sequence[_Order], items: Sequence[Keys]) -> NDArray[np.float64]:
    """A column of several tables, some of which may lack it."""
    return np.concatenate([part.get(column, np.full(len(rows), np.nan)) for part, rows in zip(orders, items, strict=True)])


def _singular(name: str) -> str:
    """accessories -> accessory, substitutes -> substitute; what ends in ss stays."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
