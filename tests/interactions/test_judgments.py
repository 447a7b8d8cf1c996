"""Judgments are read from every format, joined by item_id, cleared by the rules, and every row read is accounted for."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.rejected import rejected_table
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.columns import LABELS
from shelfcode.interactions.judgments import Judgments, read_judgments
from shelfcode.keys import Keys, item_keys

Row = tuple[Any, Any, Any]


def catalog(*item_ids: str) -> Keys:
    return item_keys(pa.array(item_ids, pa.string()))


CATALOG = catalog("p0", "p1", "p2", "p3", "007")

GOOD: list[Row] = [(f"query {number}", item, label) for number in range(12) for item, label in (("p1", "E"), ("p0", "I"))]
"""Twelve queries with an exact product: enough to be read."""


def write(path: Path, rows: list[Row], **columns: list[Any]) -> str:
    """Rows of query, item_id and label in the format that the file's name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("query", "item_id", "label")
    if path.suffix == ".parquet":
        own = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)} if rows else {}
        pq.write_table(pa.table(own | columns), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *rows])
    else:
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    return str(path)


def triples(judgments: Judgments) -> list[Row]:
    return [
        (judgments.queries[query], int(product), LABELS[label])
        for query, product, label in zip(judgments.query_R, judgments.product_R, judgments.label_R, strict=True)
    ]


def read(tmp_path: Path, rows: list[Row], **options: Any) -> Judgments:
    """GOOD and further rows, read; what must add up is seen to."""
    judgments = read_judgments(write(tmp_path / "j.parquet", GOOD + rows), CATALOG, **options)
    account = judgments.account
    assert account.read == len(GOOD) + len(rows) == account.used + account.duplicates + account.rejected
    assert account.used == len(judgments.label_R) == len(judgments.query_R) == len(judgments.product_R)
    assert account.rejected == len(judgments.rejected) == sum(account.reasons.values())
    assert account.queries == account.queries_used + account.queries_without_exact + account.queries_without_product
    assert account.queries_used == len(judgments.queries)
    return judgments


@pytest.mark.parametrize("name", ["j.parquet", "j.csv", "j.jsonl"])
def test_every_format_gives_the_same(tmp_path, name):
    rows = [*GOOD, ("oat  milk,\nfresh", " 007 ", "s"), ("Oat milk, fresh ", "p2", "Exact")]
    judgments = read_judgments(write(tmp_path / name, rows), CATALOG)
    assert judgments.queries[0] == "oat milk, fresh"
    assert triples(judgments)[:4] == [
        ("oat milk, fresh", 2, "E"), ("oat milk, fresh", 4, "S"), ("query 0", 0, "I"), ("query 0", 1, "E")
    ]  # fmt: skip
    assert [array.dtype for array in (judgments.query_R, judgments.product_R, judgments.label_R)] == [np.int32, np.int64, np.int8]
    assert judgments.account.read == judgments.account.used == 26


@pytest.mark.parametrize("place", ["", "/", "/*.csv", "/a.csv"])
def test_a_folder_a_glob_or_a_file_may_be_given(tmp_path, place):
    write(tmp_path / "data" / "a.csv", GOOD)
    write(tmp_path / "data" / "b.csv", [(query, "p3", "S") for query, _, _ in GOOD[::2]])
    judgments = read_judgments(f"{tmp_path}/data{place}", CATALOG)
    assert judgments.account.used == (24 if place == "/a.csv" else 36)


def test_judgments_are_read_from_a_bucket(s3, tmp_path):
    path = write(tmp_path / "j.parquet", GOOD)
    fsspec.filesystem("s3").put(path, f"{s3}/judgments/j.parquet")
    for url in (f"{s3}/judgments/", f"{s3}/judgments/*.parquet", f"{s3}/judgments/j.parquet"):
        assert triples(read_judgments(url, CATALOG)) == triples(read_judgments(path, CATALOG))
    with pytest.raises(ShelfcodeError, match=r"^--judgments s3://shelf/no-such-judgments: there is nothing there"):
        read_judgments(f"{s3}/no-such-judgments", CATALOG)


def test_labels_are_letters_or_words_in_any_case(tmp_path):
    rows = [
        ("tea", "p0", "Irrelevant"),
        ("tea", "p1", "complement"),
        ("tea", "p2", "SUBSTITUTE"),
        ("tea", "p3", " exact "),
        ("tea", "007", "c"),
    ]
    assert triples(read(tmp_path, rows))[-5:] == [("tea", item, label) for item, label in enumerate("ICSEC")]


def test_numbers_and_categories_are_read_as_the_catalog_reads_them(tmp_path):
    table = pa.table({
        "query": pa.array([row[0] for row in GOOD]).dictionary_encode(),
        "item_id": pa.array([17 + number % 2 for number in range(len(GOOD))]),
        "label": pa.array([row[2] for row in GOOD]).cast(pa.large_string()),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "j.parquet")
    judgments = read_judgments(str(tmp_path / "j.parquet"), catalog("17", "18"))
    assert judgments.product_R.tolist() == [0, 1] * 12


def test_item_ids_are_those_of_the_catalog_whatever_they_are_stored_as(tmp_path):
    eans = [float(4006381333931 + number % 2) for number in range(len(GOOD))]
    table = pa.table({"query": [row[0] for row in GOOD], "item_id": eans, "label": [row[2] for row in GOOD]})
    odd = pa.table({"query": ["tea"], "item_id": [1.5], "label": ["E"]})
    pq.write_table(pa.concat_tables([table, odd]), tmp_path / "j.parquet")
    judgments = read_judgments(str(tmp_path / "j.parquet"), catalog("4006381333931", "4006381333932"))
    assert judgments.product_R.tolist() == [0, 1] * 12
    assert judgments.account.reasons == {"item_id is a number with a fraction": 1}
    spelled = read(tmp_path, [("Tea", "\ufeffp0\u200b", "E"), ("Tea", " p1 ", "S")])
    assert spelled.account.used == len(GOOD) + 2


def test_queries_that_differ_in_case_and_white_space_are_one_spelled_as_the_first(tmp_path):
    judgments = read(tmp_path, [("Große  TASSE", "p0", "E"), (" grosse tasse", "p1", "S"), ("GROSSE\tTASSE", "p0", "E")])
    assert triples(judgments)[:2] == [("Große TASSE", 0, "E"), ("Große TASSE", 1, "S")]
    assert (judgments.account.used, judgments.account.duplicates) == (26, 1)


def test_duplicates_are_used_once(tmp_path):
    judgments = read(tmp_path, [GOOD[0], GOOD[0], ("QUERY 1", "p1", "exact")])
    assert (judgments.account.used, judgments.account.duplicates, judgments.account.rejected) == (24, 3, 0)
    assert triples(judgments) == triples(read(tmp_path, []))


def test_of_conflicting_labels_the_most_frequent_counts_and_else_the_worst(tmp_path):
    votes = {"p0": "EES", "p1": "ESSEI", "p2": "ES", "p3": "ESCI", "007": "E"}
    judgments = read(tmp_path, [("tea", item, label) for item, labels in votes.items() for label in labels])
    assert triples(judgments)[-5:] == [("tea", 0, "E"), ("tea", 1, "S"), ("tea", 2, "S"), ("tea", 3, "I"), ("tea", 4, "E")]
    account = judgments.account
    assert (account.conflicts, account.duplicates, account.rejected) == (4, 2, 8)
    assert account.reasons == {"another label of the same query and product counts": 8}
    turned_away = Counter((row.item_id, row.row["label"]) for row in judgments.rejected)
    assert turned_away == {
        ("p0", "S"): 1, ("p1", "E"): 2, ("p1", "I"): 1, ("p2", "E"): 1, ("p3", "E"): 1, ("p3", "S"): 1, ("p3", "C"): 1,
    }  # fmt: skip


def test_incomplete_rows_are_left_out_and_listed(tmp_path):
    judgments = read(tmp_path, [(None, "p0", "E"), ("tea", " ", "E"), ("tea", "p1", ""), ("tea", "p0", "E"), (" ", None, None)])
    assert judgments.account.reasons == {
        "query is missing, blank or not UTF-8": 2, "item_id is missing, blank or not UTF-8": 1, "label is missing, blank or not UTF-8": 1,
    }  # fmt: skip
    first = judgments.rejected[0]
    assert (first.item_id, first.stage, first.row) == ("p0", "judgments", {"query": None, "item_id": "p0", "label": "E"})
    assert first.reason == f"query is missing, blank or not UTF-8: row 25 of {tmp_path}/j.parquet"
    assert rejected_table(judgments.rejected)["reason"].to_pylist() == [row.reason for row in judgments.rejected]


def test_text_that_is_not_utf8_is_left_out(tmp_path):
    lines = ["query,item_id,label", *(",".join(row) for row in GOOD)]
    (tmp_path / "j.csv").write_bytes("\n".join(lines).encode() + b"\nt\xff,p0,E\n")
    raw = pa.array([*(row[0].encode() for row in GOOD), b"t\xff"], pa.binary())
    text = pa.StringArray.from_buffers(len(raw), *raw.buffers()[1:])
    table = pa.table({"query": text, "item_id": [*(row[1] for row in GOOD), "p0"], "label": [*(row[2] for row in GOOD), "E"]})
    pq.write_table(table, tmp_path / "j.parquet")
    for name in ("j.csv", "j.parquet"):
        account = read_judgments(str(tmp_path / name), CATALOG).account
        assert (account.read, account.used, account.reasons) == (25, 24, {"query is missing, blank or not UTF-8": 1})


def test_lines_that_cannot_be_parsed_are_left_out_and_listed(tmp_path):
    path = Path(write(tmp_path / "j.jsonl", GOOD))
    path.write_text(path.read_text() + "no JSON\n" + '{"query": "tea", "item_id": "p0"}\n')
    account = read_judgments(str(path), CATALOG).account
    assert (account.read, account.used) == (26, 24)
    assert account.reasons == {"line is not a JSON object": 1, "label is missing, blank or not UTF-8": 1}
    path = Path(write(tmp_path / "j.csv", GOOD))
    path.write_text(path.read_text() + "tea,p0\n")
    judgments = read_judgments(str(path), CATALOG)
    assert (judgments.account.read, judgments.account.rejected, judgments.rejected[0].stage) == (25, 1, "judgments")


def test_judgments_of_unknown_products_are_left_out_and_listed(tmp_path):
    judgments = read(tmp_path, [("query 0", "gone", "E"), ("lost", "gone too", "E")])
    account = judgments.account
    assert account.reasons == {"no such product in the catalog": 2}
    assert (account.unknown_products, account.queries, account.queries_without_product) == (2, 13, 1)
    assert [row.item_id for row in judgments.rejected] == ["gone", "gone too"]
    assert "judged products that the catalog lacks: 2" in account.lines()


def test_too_many_unknown_products_are_refused_and_may_be_allowed(tmp_path):
    rows = [("tea", f"gone {number}", "E") for number in range(6)]
    with pytest.raises(ShelfcodeError) as refused:
        read(tmp_path, rows)
    message = str(refused.value)
    assert message.startswith(f"--judgments {tmp_path}/j.parquet: 6 of 30 judgments (20 %)")
    assert "'gone 0', 'gone 1', 'gone 2', 'gone 3', 'gone 4';" in message
    assert "--set data.unknown_products_max=0.2" in message
    assert read(tmp_path, rows, unknown_share_max=0.2).account.unknown_products == 6


def test_a_query_without_an_exact_product_is_left_out(tmp_path):
    rows = [("tea", "p0", "S"), ("tea", "p0", "S"), ("cup", "p0", "E"), ("cup", "p0", "S"), ("pot", "gone", "E"), ("pot", "p1", "I")]
    judgments = read(tmp_path, rows)
    account = judgments.account
    assert account.reasons == {
        "no such product in the catalog": 1, "another label of the same query and product counts": 1, "the query has no exact product": 3,
    }  # fmt: skip
    assert (account.duplicates, account.queries_without_exact, account.queries_used) == (1, 3, 12)


@pytest.mark.parametrize("usable", [0, 9])
def test_few_queries_are_refused_with_the_reason(tmp_path, usable):
    rows = [*GOOD[: 2 * usable], ("tea", "p0", "S"), *[(f"lost {n}", "gone", "E") for n in range(2)]]
    with pytest.raises(ShelfcodeError) as refused:
        read_judgments(write(tmp_path / "j.parquet", rows), CATALOG, unknown_share_max=0.9)
    message = str(refused.value)
    assert message.startswith(f"--judgments {tmp_path}/j.parquet: {usable} queries can be used, at least 10 are needed.")
    assert "queries left out: 3 (no exact product: 1, no product of the catalog: 2)" in message
    assert "2 x no such product in the catalog" in message
    assert read_judgments(write(tmp_path / "j.parquet", GOOD[:20]), CATALOG).account.queries_used == 10


@pytest.mark.parametrize("name", ["j.parquet", "j.csv"])
def test_a_table_without_rows_is_refused(tmp_path, name):
    empty = {column: pa.array([], pa.string()) for column in ("query", "item_id", "label")}
    path = write(tmp_path / name, [], **empty)
    with pytest.raises(ShelfcodeError, match=r"^--judgments .*: 0 queries can be used.*0 judgments read"):
        read_judgments(path, CATALOG)


def test_an_empty_catalog_knows_no_product(tmp_path):
    with pytest.raises(ShelfcodeError, match=r"24 of 24 judgments \(100 %\)"):
        read_judgments(write(tmp_path / "j.parquet", GOOD), catalog())


def test_an_unknown_label_is_named_with_its_row(tmp_path):
    for label in ("X", "0", "exactly"):
        with pytest.raises(ShelfcodeError) as refused:
            read(tmp_path, [("tea", "p0", "E"), ("tea", "p1", label)])
        message = str(refused.value)
        assert message.startswith(
            f"--judgments {tmp_path}/j.parquet: row 26 of {tmp_path}/j.parquet (query 'tea', item_id 'p1'): unknown label {label!r}."
        )
        assert "E, S, C, I, or Exact, Substitute, Complement, Irrelevant" in message


def test_a_missing_column_is_named_with_those_there(tmp_path):
    write(tmp_path / "data" / "a.parquet", GOOD)
    write(tmp_path / "data" / "b.parquet", [], query=["tea"], sku=["p0"], label=["E"])
    with pytest.raises(ShelfcodeError, match=r"^--judgments .*b\.parquet has no column 'item_id'\. Columns found: 'query', 'sku'"):
        read_judgments(str(tmp_path / "data"), CATALOG)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ShelfcodeError, match=r"^--judgments .*nowhere: there is nothing there"):
        read_judgments(str(tmp_path / "nowhere"), CATALOG)
    (tmp_path / "notes.docx").write_bytes(b"tea")
    with pytest.raises(ShelfcodeError, match=r"^--judgments .*: 1 of its files cannot be read"):
        read_judgments(str(tmp_path), CATALOG)
    with pytest.raises(ShelfcodeError, match=r"^--test .*nowhere: there is nothing there"):
        read_judgments(str(tmp_path / "nowhere"), CATALOG, flag="--test")
    with pytest.raises(ShelfcodeError, match=r"^--judgments nosuch://place: cannot open"):
        read_judgments("nosuch://place", CATALOG)
    (tmp_path / "broken.parquet").write_text("not Parquet")
    with pytest.raises(ShelfcodeError, match=r"^--judgments .*file cannot be read: .*broken\.parquet"):
        read_judgments(str(tmp_path / "broken.parquet"), CATALOG)
    lists = write(tmp_path / "lists.parquet", [], query=[["tea"]], item_id=["p0"], label=["E"])
    with pytest.raises(ShelfcodeError, match=r"^--judgments .*lists\.parquet: column query is a list<.*expected text"):
        read_judgments(lists, CATALOG)


def test_a_place_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    def refuse(url):
        raise PermissionError("access\ndenied")

    monkeypatch.setattr("shelfcode.catalog.listed_files.list_source", refuse)
    with pytest.raises(ShelfcodeError, match=r"^--judgments s3://secret: it cannot be opened: access denied"):
        read_judgments("s3://secret", CATALOG)


def test_the_order_of_the_rows_decides_nothing(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(f"query {rng.integers(60)}", f"p{rng.integers(4)}", "ESCI"[rng.integers(4)]) for _ in range(300)]
    one = read_judgments(write(tmp_path / "one.csv", rows), CATALOG)
    other = read_judgments(write(tmp_path / "other.csv", [rows[place] for place in rng.permutation(300)]), CATALOG)
    assert one.queries == other.queries
    assert triples(one) == triples(other)
    assert one.account == other.account
    assert one.account.conflicts
    assert one.account.duplicates


def test_every_row_is_used_a_duplicate_or_rejected_whatever_they_are(tmp_path):
    rng = np.random.default_rng(1)
    items, labels = ["p0", "p1", "p2", "gone", " ", None], ["E", "s", "C", "Irrelevant", "", None]
    rows = [(f"query {rng.integers(20)}", items[rng.integers(6)], labels[rng.integers(6)]) for _ in range(500)]
    judgments = read(tmp_path, rows, unknown_share_max=1)
    assert np.all(np.diff(judgments.query_R.astype(np.int64) * 10 + judgments.product_R) > 0)
    assert set(judgments.query_R[judgments.label_R == 0].tolist()) == set(range(len(judgments.queries)))


def test_a_part_has_its_queries_numbered_as_they_are_given(tmp_path):
    whole = read(tmp_path, [("query 3", "p2", "S"), ("tea", "gone", "E")])
    part = whole.of(np.array([5, 3]))
    assert part.queries == (whole.queries[5], whole.queries[3])
    assert triples(part) == [row for query in (5, 3) for row in triples(whole) if row[0] == whole.queries[query]]
    assert part.query_R.tolist() == sorted(part.query_R.tolist())
    assert (part.query_R.dtype, part.account, part.rejected) == (np.int32, whole.account, ())
    assert whole.of(np.arange(0)).queries == ()
    assert triples(whole.of(np.arange(len(whole.queries)))) == triples(whole)
    for wrong in ([0, 0], [-1], [12]):
        with pytest.raises(ValueError, match="distinct numbers from 0 to 11"):
            whole.of(np.array(wrong))


def test_the_account_reads_as_sentences(tmp_path):
    lines = read(tmp_path, [GOOD[0], ("tea", "p0", "E"), ("tea", "p0", "S")]).account.lines()
    assert lines == [
        "27 judgments read: 24 used, of 12 queries; duplicates: 1, rejected: 2",
        "1 x another label of the same query and product counts",
        "1 x the query has no exact product",
        "pairs of query and product with several labels, where the most frequent counts, else the worst: 1",
        "queries left out: 1 (no exact product: 1, no product of the catalog: 0)",
    ]


def test_real_judgments_are_all_used(shelfcode_data):
    products = pq.read_table(shelfcode_data / "esci" / "catalog.parquet", columns=["item_id"])["item_id"]
    judgments = read_judgments(str(shelfcode_data / "esci" / "judgments.parquet"), item_keys(products))
    table = pq.read_table(shelfcode_data / "esci" / "judgments.parquet").to_pylist()
    assert judgments.account.used == len(table) == 4505
    place = {item: number for number, item in enumerate(products.to_pylist())}
    assert sorted(triples(judgments)) == sorted((row["query"], place[row["item_id"]], row["label"]) for row in table)
