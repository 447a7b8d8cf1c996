"""Judgments of products for queries, read and joined to the catalog: what the relevance encoder is trained from and measured by.

Parquet, CSV or JSON Lines; a file, folder or glob, local or s3://; columns query, item_id and label. Rules, in this order:

1. A row that cannot be parsed, or lacks a query, an item_id or a label, is rejected. An unknown label is an error.
2. Queries that differ in case and white space only are one query, spelled as it was first.
3. A judgment of a product that the catalog lacks is rejected; too many of them are an error.
4. One query and product with several labels: the most frequent label wins, and of equally frequent ones the worst, because a
   doubtful pair must not be taught as a match. The other labels' rows are rejected; of the winner's, one is used and the rest
   are duplicates.
5. A query without an exact product teaches nothing and cannot be ranked: its rows are rejected.

So every row read is used, a duplicate or rejected.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.catalog.cells.arrow_types import plain
from shelfcode.catalog.cells.item_ids import item_id_texts, known_item_ids
from shelfcode.catalog.listed_files import list_files
from shelfcode.catalog.rejected import RejectedRow, count_reasons
from shelfcode.catalog.rows import read_file
from shelfcode.catalog.source_file import UNREADABLE_FILE, RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.columns import EXACT, KNOWN_LABELS, LABELS, label_places, trimmed
from shelfcode.keys import Keys, index_keys, item_keys

STAGE = "judgments"
"""Of the rejected rows."""

LEAST_QUERIES = 10
"""Fewer usable queries than this are refused: nothing could be held out of them, and no figure of them has an interval."""

_COLUMNS = ("query", "item_id", "label")
_ROWS = pa.schema([*((name, pa.string()) for name in _COLUMNS), ("place", pa.int8()), ("file", pa.int32()), ("row", pa.int64())])
_SHOWN_ITEMS = 5

_USED, _DUPLICATE, _UNKNOWN_PRODUCT, _OUTVOTED, _NO_EXACT = range(5)
_REASONS = {
    _UNKNOWN_PRODUCT: "no such product in the catalog",
    _OUTVOTED: "another label of the same query and product counts",
    _NO_EXACT: "the query has no exact product",
}


@dataclass(frozen=True)
class JudgmentCounts:
    """What became of all rows that were read: `used`, `duplicates` and `rejected` add up to `read`.

    Attributes:
        read, used, duplicates, rejected: rows.
        reasons: how often each reason rejected a row.
        conflicts: pairs of query and product that had several labels, settled by rule 4.
        unknown_products: distinct item_ids that the catalog lacks.
        queries: distinct queries of complete rows; those used and the two below add up to it.
        queries_used: with an exact product.
        queries_without_exact: left out because no product of theirs is exact.
        queries_without_product: left out because the catalog has none of their products.
    """

    read: int
    used: int
    duplicates: int
    rejected: int
    reasons: dict[str, int]
    conflicts: int
    unknown_products: int
    queries: int
    queries_used: int
    queries_without_exact: int
    queries_without_product: int

    def lines(self) -> list[str]:
        """The counts as a reader wants them: the sum first, then whatever there was of each kind."""
        lines = [
            f"{self.read:,} judgments read: {self.used:,} used, of {self.queries_used:,} queries; "
            f"duplicates: {self.duplicates:,}, rejected: {self.rejected:,}"
        ]
        lines += [f"{count:,} x {reason}" for reason, count in self.reasons.items()]
        if self.unknown_products:
            lines.append(f"judged products that the catalog lacks: {self.unknown_products:,}")
        if self.conflicts:
            lines.append(
                f"pairs of query and product with several labels, where the most frequent counts, else the worst: {self.conflicts:,}"
            )
        if left_out := self.queries - self.queries_used:
            lines.append(
                f"queries left out: {left_out:,} (no exact product: {self.queries_without_exact:,}, "
                f"no product of the catalog: {self.queries_without_product:,})"
            )
        return lines


@dataclass(frozen=True)
class Judgments:
    """R judgments of the catalog's products for Q queries, one per query and product.

    Attributes:
        queries: texts, in the order of their case-folded spelling, so that the order of the rows decides nothing.
        query_R: int32, which query; rows are sorted by query, then product.
        product_R: int64, position of the product in the snapshot's order.
        label_R: int8, place in LABELS.
        account: what became of the rows that were read; a part made by `of` keeps that of the whole.
        rejected: rows turned away, reason by reason, for the workspace's rejected/<run>/; a part made by `of` has none.
    """

    queries: tuple[str, ...]
    query_R: NDArray[np.int32]
    product_R: NDArray[np.int64]
    label_R: NDArray[np.int8]
    account: JudgmentCounts
    rejected: tuple[RejectedRow, ...] = ()

    def of(self, queries: NDArray[np.integer]) -> "Judgments":
        """The part of some queries, which are numbered anew in the order that they are given in.

        Raises:
            ValueError: a query is given twice, or there is none of that number.
        """
        chosen = np.asarray(queries, dtype=np.int64)
        if len(np.unique(chosen)) != len(chosen) or ((chosen < 0) | (chosen >= len(self.queries))).any():
            raise ValueError(f"queries must be distinct numbers from 0 to {len(self.queries) - 1}")
        number_Q = np.full(len(self.queries), -1, dtype=np.int32)
        number_Q[chosen] = np.arange(len(chosen), dtype=np.int32)
        number_R = number_Q[self.query_R]
        order = np.argsort(number_R, kind="stable")[np.count_nonzero(number_R < 0) :]
        return replace(
            self, queries=tuple(self.queries[query] for query in chosen), query_R=number_R[order], product_R=self.product_R[order],
            label_R=self.label_R[order], rejected=(),
        )  # fmt: skip


def read_judgments(url: str, item_keys_N: Keys, unknown_share_max: float = 0.1, flag: str = "--judgments") -> Judgments:
    """Read judgments and join them to the catalog, by the rules above.

    Args:
        url: file, folder or glob; local or s3://.
        item_keys_N: item keys of the catalog's products, in the snapshot's order.
        unknown_share_max: largest share of the complete rows, 0 to 1, that may name products which the catalog lacks.
        flag: what the url was given by; errors begin with it.

    Raises:
        ShelfcodeError: nothing is there, a file cannot be read or lacks a column, a label is unknown, too many products are
            unknown, or fewer than LEAST_QUERIES queries can be used.
    """
    try:
        return _join(_read_rows(url), item_keys_N, unknown_share_max)
    except ShelfcodeError as error:
        raise ShelfcodeError(f"{flag} {url}: {error}") from error


@dataclass(frozen=True)
class _Rows:
    """The rows of all files.

    Attributes:
        table: complete rows: query, item_id and label as text without white space around it; `place` of the label in LABELS;
            number of the `file`, and `row` there, from 0.
        rejected: the others.
        files: what was read.
    """

    table: pa.Table
    rejected: list[RejectedRow]
    files: list[SourceFile]

    def turned_away(self, rows: pa.Array, reason: str) -> list[RejectedRow]:
        """Some complete rows as rejected ones, for a reason that they share."""
        return _rejected(self.table.take(rows), [reason] * len(rows), self.files)


def _read_rows(url: str) -> _Rows:
    """All rows as the files say them.

    Raises:
        ShelfcodeError: nothing is there, a file cannot be read or lacks a column, or a label is unknown; without the flag and url.
    """
    files = list_files(url)
    tables, rejected = [_ROWS.empty_table()], list[RejectedRow]()
    for number, file in enumerate(files):
        checked = False
        for batch in read_file(file):
            for row in batch.unreadable:
                if row.reason.startswith(UNREADABLE_FILE):  # half of the judgments is not what was asked for
                    raise ShelfcodeError(row.reason)
                rejected.append(replace(row, stage=STAGE))
            if not batch.table.num_columns:
                continue
            if not checked:
                _check_columns(batch.table.column_names, file.url)
                checked = True
            rows, reasons = _texts(batch, number, file.url)
            reasons = {**_incomplete(rows), **reasons}
            bad_R = pc.is_in(rows["row"], pa.array(list(reasons), pa.int64()))
            rejected += _rejected(rows.filter(bad_R), [reasons[row] for row in sorted(reasons)], files)
            tables.append(_labelled(rows.filter(pc.invert(bad_R)), file))
    return _Rows(pa.concat_tables(tables), rejected, files)


def _check_columns(columns: list[str], url: str) -> None:
    for name in _COLUMNS:
        if name not in columns:
            raise ShelfcodeError(
                f"{url} has no column {name!r}. Columns found: {', '.join(map(repr, columns))}. "
                "Judgments have the columns query, item_id and label; name the files that have them, or rename the columns"
            )


def _texts(batch: RowBatch, number: int, url: str) -> tuple[pa.Table, dict[int, str]]:
    """The columns that count as text, and where each row stands; and why an item_id, by the number of its row, is none."""
    columns, reasons = [], dict[int, str]()
    for name in _COLUMNS:
        values = batch.table[name].combine_chunks() if name in batch.table.column_names else pa.nulls(len(batch.table), pa.string())
        if name == "item_id":
            reasons = {int(batch.numbers_N[row]): reason for row, reason in item_id_texts(values)[1].items()}
            values = known_item_ids(values)
        else:
            values = _text(values, name, url)
        columns.append(values)
    count = len(batch.table)
    rows = pa.table([*columns, pa.nulls(count, pa.int8()), np.full(count, number, np.int32), batch.numbers_N], schema=_ROWS)
    return rows, reasons


def _text(values: pa.Array, name: str, url: str) -> pa.Array:
    """Text without white space around it. Blank is null, and so is what is not UTF-8."""
    values = plain(values)
    if pa.types.is_nested(values.type):
        raise ShelfcodeError(f"{url}: column {name} is a {values.type}, expected text")
    try:
        text = values.cast(pa.string())
        text.validate(full=True)  # Parquet says that it is text and does not look
    except pa.ArrowInvalid:
        text = pa.array([_decoded(value) for value in values.cast(pa.large_binary()).to_pylist()], pa.string())
    return trimmed(text)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _incomplete(rows: pa.Table) -> dict[int, str]:
    """Row number -> why it cannot be used."""
    reasons: dict[int, str] = {}
    for name in _COLUMNS:
        for row in rows["row"].filter(rows[name].is_null()).to_pylist():
            reasons.setdefault(row, f"{name} is missing, blank or not UTF-8")
    return reasons


def _labelled(rows: pa.Table, file: SourceFile) -> pa.Table:
    """The rows with each label's place in LABELS.

    Raises:
        ShelfcodeError: a label is unknown.
    """
    place_R = label_places(rows["label"])
    if (place_R < 0).any():
        row = rows.slice(int(np.argmax(place_R < 0)), 1).to_pylist()[0]
        raise ShelfcodeError(
            f"{file.place(row['row'])} (query {row['query']!r}, item_id {row['item_id']!r}): unknown label {row['label']!r}. {KNOWN_LABELS}"
        )
    return rows.set_column(rows.schema.get_field_index("place"), "place", pa.array(place_R, pa.int8()))


def _rejected(rows: pa.Table, reasons: Iterable[str], files: list[SourceFile]) -> list[RejectedRow]:
    """Rows of _ROWS as rejected ones, each with its reason and where it stands."""
    return [
        RejectedRow(row["item_id"], STAGE, f"{reason}: {files[row['file']].place(row['row'])}", {name: row[name] for name in _COLUMNS})
        for row, reason in zip(rows.to_pylist(), reasons, strict=True)
    ]


def _join(read: _Rows, item_keys_N: Keys, unknown_share_max: float) -> Judgments:
    """Rules 2 to 5."""
    rows, rejected = read.table, list(read.rejected)
    count = len(rows) + len(rejected)
    texts, query_R = _queries(rows["query"])
    product_R = index_keys(item_keys_N).get(item_keys(rows["item_id"]))
    unknown_products = _check_products(rows, product_R, unknown_share_max)
    label_R = rows["place"].to_numpy()
    fate_R, conflicts = _fates(query_R, product_R, label_R)
    for fate, reason in _REASONS.items():
        rejected += read.turned_away(pa.array(np.flatnonzero(fate_R == fate)), reason)
    used_R = np.flatnonzero(fate_R == _USED)
    used_R = used_R[np.lexsort((product_R[used_R], query_R[used_R]))]
    kept, number_R = np.unique(query_R[used_R], return_inverse=True)
    without_exact = len(np.unique(query_R[fate_R == _NO_EXACT]))
    account = JudgmentCounts(
        read=count, used=len(used_R), duplicates=int((fate_R == _DUPLICATE).sum()), rejected=len(rejected),
        reasons=dict(count_reasons(rejected)), conflicts=conflicts,
        unknown_products=unknown_products, queries=len(texts), queries_used=len(kept), queries_without_exact=without_exact,
        queries_without_product=len(texts) - len(kept) - without_exact,
    )  # fmt: skip
    _check_queries(account)
    return Judgments(
        tuple(texts[query] for query in kept), number_R.astype(np.int32), product_R[used_R], label_R[used_R], account, tuple(rejected)
    )


def _queries(texts: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct queries by case-folded spelling, each as it was first spelled, and which of them each row has."""
    encoded = texts.combine_chunks().dictionary_encode()
    spaced = [" ".join(text.split()) for text in encoded.dictionary.to_pylist()]
    folded = [text.casefold() for text in spaced]
    first: dict[str, str] = {}
    for key, text in zip(folded, spaced, strict=True):
        first.setdefault(key, text)
    number = {key: place for place, key in enumerate(sorted(first))}
    numbers = np.array([number[key] for key in folded], dtype=np.int64)
    return [first[key] for key in number], numbers[encoded.indices.to_numpy(zero_copy_only=False)]


def _check_products(rows: pa.Table, product_R: NDArray[np.int64], share_max: float) -> int:
    """Number of distinct products that the catalog lacks.

    Raises:
        ShelfcodeError: their share of the rows exceeds `share_max`.
    """
    unknown_R = product_R < 0
    items = pc.unique(rows["item_id"].filter(pa.array(unknown_R)))
    share = float(unknown_R.mean()) if len(rows) else 0.0
    if share > share_max:
        shown = ", ".join(repr(item) for item in items.slice(0, _SHOWN_ITEMS).to_pylist())
        raise ShelfcodeError(
            f"{unknown_R.sum():,} of {len(rows):,} judgments ({100 * share:.3g} %) are of products that the catalog "
            f"lacks, such as {shown}; at most {100 * share_max:.3g} % may be. Give the catalog that was judged and item_ids as it has "
            f"them, or leave these judgments out with --set data.unknown_products_max={math.ceil(100 * share) / 100}"
        )
    return len(items)


def _fates(query_R: NDArray[np.int64], product_R: NDArray[np.int64], label_R: NDArray[np.int8]) -> tuple[NDArray[np.int8], int]:
    """What becomes of each complete row, by rules 3 to 5, and how many pairs of query and product had several labels."""
    fate_R = np.full(len(query_R), _UNKNOWN_PRODUCT, dtype=np.int8)
    known_K = np.flatnonzero(product_R >= 0)
    label_K = label_R[known_K]
    pairs, pair_K = np.unique(query_R[known_K] * (product_R.max(initial=0) + 1) + product_R[known_K], return_inverse=True)
    cells = np.bincount(pair_K * len(LABELS) + label_K, minlength=len(pairs) * len(LABELS))
    count_PL = cells.reshape(-1, len(LABELS))
    winner_P = len(LABELS) - 1 - count_PL[:, ::-1].argmax(axis=1)  # the first of equal ones, from the worst label on
    won_K = label_K == winner_P[pair_K]
    fate_R[known_K] = np.where(won_K, _DUPLICATE, _OUTVOTED)
    won_W = known_K[won_K]
    first_P = won_W[np.unique(pair_K[won_K], return_index=True)[1]]
    has_exact_Q = np.zeros(int(query_R.max(initial=-1)) + 1, dtype=bool)
    has_exact_Q[query_R[first_P[label_R[first_P] == EXACT]]] = True
    fate_R[first_P] = np.where(has_exact_Q[query_R[first_P]], _USED, _NO_EXACT)
    return fate_R, int(((count_PL > 0).sum(axis=1) > 1).sum())


def _check_queries(account: JudgmentCounts) -> None:
    if account.queries_used < LEAST_QUERIES:
        raise ShelfcodeError(
            f"{account.queries_used} queries can be used, at least {LEAST_QUERIES} are needed. "
            f"{'. '.join(account.lines())}. Judge more queries, each with at least one exact product of the catalog"
        )
