"""Tables are recognised by their columns, named by where they lie, and refused with a reason."""

from datetime import UTC, date, datetime
from math import nan

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.relations import Relations, read_relations
from shelfcode.keys import item_keys


@pytest.fixture
def write(tmp_path):
    """Writes a table below a folder of the test's own, and gives the folder."""

    def written(path: str, **columns) -> str:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), target)
        return str(tmp_path)

    return written


def read(url: str) -> dict[str, list[tuple[int, int, int]]]:
    return {rows.name: list(zip(rows.owner_R, rows.item_R, rows.label_R, strict=True)) for rows in read_relations(url).rows}


def key(text: str) -> int:
    return int(item_keys(pa.array([text]))[0])


def test_every_kind_is_known_by_its_columns_and_others_are_passed_over(write):
    write("substitutes/part-0.parquet", item_id=["a"], other_item_id=["b"], theme=["tea"])
    write("accessories.parquet", item_id=["a"], other_item_id=["c"])
    write("judgments/x.parquet", query=["oat milk"] * 2, item_id=["a", "b"], label=["E", "I"])
    write("sessions/1.parquet", session_id=["s", "s"], item_id=["a", "b"], position=[1, 2])
    folder = write("misfiled/part-0.parquet", item_id=["a"], filed_under=["tea"])
    found = read_relations(folder)
    assert [(rows.kind, rows.name) for rows in found.rows] == [
        ("pairs", "accessory"), ("pairs", "substitute"), ("judgments", "judgments"), ("baskets", "baskets")
    ]  # fmt: skip
    assert (found.passed_over, found.incomplete_rows) == (("misfiled",), 0)
    pairs, judgments, baskets = found.rows[1:]
    assert (pairs.owner_R.tolist(), pairs.item_R.tolist()) == ([key("a")], [key("b")])
    assert judgments.label_R.tolist() == [0, 3]
    assert len(set(baskets.owner_R.tolist())) == 1


def test_a_relation_column_names_the_relation_row_by_row(write):
    folder = write("pairs.parquet", item_id=["a", "b", "c"], other_item_id=["b", "c", "d"], relation=["swap", "pairing", "swap"])
    assert read(folder) == {"pairing": [(key("b"), key("c"), 0)], "swap": [(key("a"), key("b"), 0), (key("c"), key("d"), 0)]}


@pytest.mark.parametrize(("path", "name"), [("substitutes/part-0.parquet", "substitute"), ("glass.parquet", "glass")])
def test_a_file_may_be_given_itself(write, path, name):
    folder = write(path, item_id=["a"], other_item_id=["b"])
    assert list(read(f"{folder}/{path}")) == [name]


def test_a_folder_of_parts_is_named_after_itself(write):
    folder = write("complements/part-0.parquet", item_id=["a"], other_item_id=["b"])
    write("complements/part-1.parquet", item_id=["b"], other_item_id=["c"])
    assert [len(rows) for rows in (read(f"{folder}/complements/")["complement"],)] == [2]


def test_files_of_a_table_share_their_baskets_and_tables_do_not(write):
    for path in ("orders/0.parquet", "orders/1.parquet", "visits/0.parquet"):
        folder = write(path, order_id=[7], item_id=["a"])
    one, other, visit = (owner for owner, _, _ in read(folder)["baskets"])
    assert one == other
    assert visit != one


def test_ids_are_read_as_the_catalog_reads_them(write):
    folder = write("orders.parquet", order_id=[1, 1], item_id=[17, 18])
    write("more.parquet", item_id=pa.array([" 17 "]).dictionary_encode(), other_item_id=["18"])
    assert [item for _, item, _ in read(folder)["baskets"]] == [key("17"), key("18")]
    write("doubles.parquet", item_id=[4006381333931.0, None, 1.5], other_item_id=["Cafe\u0301\u200b", "18", "18"])
    assert read(folder)["more"] == [(key("17"), key("18"), 0)]
    assert read(folder)["double"] == [(key("4006381333931"), key("Caf\u00e9"), 0)]
    assert read_relations(folder).incomplete_rows == 2


def test_rows_that_lack_a_value_are_counted_and_left_out(write):
    folder = write("substitutes.parquet", item_id=["a", None, "c"], other_item_id=["b", "b", " "])
    found = read_relations(folder)
    assert found.incomplete_rows == 2
    assert found.rows[0].owner_R.tolist() == [key("a")]


def test_hidden_files_are_left_out(write):
    write(".half/part-0.parquet", item_id=["a"], other_item_id=["b"])
    write("_half.parquet", item_id=["a"], other_item_id=["b"])
    folder = write("swaps.parquet", item_id=["a"], other_item_id=["b"])
    assert list(read(folder)) == ["swap"]


def test_relations_are_read_from_a_bucket(s3, write):
    folder = write("swaps/part-0.parquet", item_id=["a"], other_item_id=["b"])
    fsspec.filesystem("s3").put(folder + "/", f"{s3}/relations/", recursive=True)
    assert read(f"{s3}/relations/") == read(folder)
    with pytest.raises(ShelfcodeError, match="does not exist"):
        read_relations(f"{s3}/no-such-relations")


def test_what_cannot_be_read_is_named(write, tmp_path):
    with pytest.raises(ShelfcodeError, match="nowhere does not exist"):
        read_relations(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShelfcodeError, match="empty holds no Parquet file"):
        read_relations(str(tmp_path / "empty"))
    folder = write("attributes.parquet", item_id=["a"], format=["bar"])
    with pytest.raises(ShelfcodeError, match="attributes has item_id, format"):
        read_relations(folder)
    (tmp_path / "swaps.parquet").write_text("not Parquet")
    with pytest.raises(ShelfcodeError, match=r"swaps\.parquet cannot be read"):
        read_relations(folder)


def test_an_unknown_label_is_named(write):
    folder = write("judgments.parquet", query=["tea", "tea"], item_id=["a", "b"], label=["E", "Perfect"])
    with pytest.raises(ShelfcodeError, match=r"judgments\.parquet has the label 'Perfect'. Labels are E, S, C, I"):
        read_relations(folder)


def test_a_relation_may_not_take_the_name_of_another_kind(write):
    folder = write("pairs.parquet", item_id=["a"], other_item_id=["b"], relation=["same_basket"])
    with pytest.raises(ShelfcodeError, match="same_basket"):
        read_relations(folder)


def test_ids_that_are_no_text_are_refused(write):
    folder = write("swaps.parquet", item_id=[["a"]], other_item_id=["b"])
    with pytest.raises(ShelfcodeError, match="cannot be read"):
        read_relations(folder)


def test_a_table_without_rows_is_no_relation(write):
    folder = write("swaps.parquet", item_id=pa.array([], pa.string()), other_item_id=pa.array([], pa.string()))
    with pytest.raises(ShelfcodeError, match="tables are empty"):
        read_relations(folder)
    write("more.parquet", item_id=["a"], other_item_id=["b"])
    assert isinstance(read_relations(folder), Relations)
    assert list(read(folder)) == ["more"]


# Order and time


def test_what_tables_say_of_order_and_time_is_kept_row_by_row(write):
    days = pa.array([datetime(2017, 1, 2, tzinfo=UTC), None, datetime(1970, 1, 1, 0, 1, tzinfo=UTC)], pa.timestamp("ms", "UTC"))
    write("a/0.parquet", session_id=["s", "s", None], item_id=["b", "a", "c"], position=[2, 1, 3], week=pa.array([1, None, 1], pa.int16()))
    folder = write("b/0.parquet", order_id=[1, 1, 2], item_id=["c", "a", "b"], at=days, timestamp=["no", "number", "here"])
    (baskets,) = read_relations(folder).rows
    assert baskets.item_R.tolist() == [key("b"), key("a"), key("c"), key("a"), key("b")]
    assert list(baskets.order) == ["position", "week", "at"], "a timestamp that is text says nothing"
    np.testing.assert_array_equal(baskets.order["position"], [2, 1, nan, nan, nan])
    np.testing.assert_array_equal(baskets.order["week"], [1, nan, nan, nan, nan])
    np.testing.assert_array_equal(baskets.order["at"], [nan, nan, 1483315200, nan, 60])


def test_tables_that_say_nothing_of_order_have_none_and_relations_keep_their_own(write):
    folder = write("pairs.parquet", item_id=["a", "b"], other_item_id=["b", "c"], relation=["swap", "pairing"], at=[date(1970, 1, 2)] * 2)
    write("judgments.parquet", query=["q"], item_id=["a"], label=["E"])
    pairing, swap, judgments = read_relations(folder).rows
    assert [rows.order.get("at", np.empty(0)).tolist() for rows in (pairing, swap)] == [[86400], [86400]]
    assert judgments.order == {}
