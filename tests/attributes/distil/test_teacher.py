"""A student is taught what its teacher said of a product, as far as the product's own text supports it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.attributes.distil.teacher import Teacher, check_teachers, name_teachers, read_teacher, teaching_pairs
from shelfcode.attributes.prompt import text_hashes
from shelfcode.attributes.schema import Attributes
from shelfcode.attributes.settings import ExtraAttribute
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

EXTRA = {"mood": ExtraAttribute(description="how it is praised", limit=2)}
LIST = pa.list_(pa.string())
SCHEMA = pa.schema([("item_id", pa.string()), ("product_type", pa.string()), ("key_ingredients", LIST), ("dietary_tags", LIST),
                    ("format", pa.string()), ("mood", LIST)])  # fmt: skip

PRODUCTS = [
    {"item_id": "p1", "title": "Vegan Oat Milk Carton", "brand": "Oatly", "description": "Oats and salt."},
    {"item_id": "p2", "title": "Rye Bread"},
    {"item_id": "p3", "title": "Bar Soap"},
    {"item_id": "p4", "title": "Apple Juice"},
]


def said(item_id: str, product_type: str, **more: Any) -> dict[str, Any]:
    return {"item_id": item_id, "product_type": product_type, "key_ingredients": [], "dietary_tags": [], "format": "", **more}


OAT_MILK = said("p1", "oat milk", key_ingredients=["oats", "honey"], dietary_tags=["vegan", "kosher"], format="carton", mood=["cosy"])


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return str(path)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "ws"))


@pytest.fixture
def snapshot(workspace: Workspace, snap: Callable[..., Snapshot]) -> Snapshot:
    return snap(workspace, PRODUCTS)


# Reading


@pytest.mark.parametrize("folder", [False, True])
def test_a_teacher_is_a_file_or_a_folder_of_parquet(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "teacher").mkdir()
    write(tmp_path / "teacher" / "one.parquet", [OAT_MILK])
    file = write(tmp_path / "teacher" / "two.parquet", [said("p2", "bread")])
    found = read_teacher(str(tmp_path / "teacher") if folder else file, EXTRA)
    assert sorted(found["item_id"].to_pylist()) == (["p1", "p2"] if folder else ["p2"])


def table(path: Path, columns: dict[str, Any]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_teacher_that_knows_some_attributes_is_read_and_one_that_knows_none_is_refused(tmp_path: Path) -> None:
    some = table(tmp_path / "some.parquet", {"item_id": ["p1"], "product_type": ["x"], "aisle": ["y"]})
    assert read_teacher(some, EXTRA).column_names == ["item_id", "product_type"]
    none = table(tmp_path / "none.parquet", {"item_id": ["p1"], "aisle": ["y"]})
    with pytest.raises(
        ShelfcodeError, match=r"none\.parquet must have item_id and some of the columns product_type, .*mood; it has item_id, aisle"
    ):
        read_teacher(none, EXTRA)
    with pytest.raises(ShelfcodeError, match="must have item_id"):
        read_teacher(table(tmp_path / "nameless.parquet", {"product_type": ["x"]}), EXTRA)


def test_an_attribute_that_no_teacher_knows_is_named_with_those_that_some_do(tmp_path: Path) -> None:
    whole = Teacher("c", write(tmp_path / "whole.parquet", [OAT_MILK]))
    types = Teacher("c", table(tmp_path / "types.parquet", {"item_id": ["p1"], "product_type": ["x"]}))
    tags = Teacher("c", table(tmp_path / "tags.parquet", {"item_id": ["p1"], "dietary_tags": [["vegan"]]}))
    check_teachers([whole, types], EXTRA)
    with pytest.raises(
        ShelfcodeError, match=r"types\.parquet and .*tags\.parquet lacks the columns key_ingredients, format, mood; it has item_id, p"
    ):
        check_teachers([types, tags], EXTRA)


def test_flags_are_given_once_a_teacher() -> None:
    assert name_teachers(["a", "b"], ["x", "y"], [2, 0.5]) == [Teacher("a", "x", 2), Teacher("b", "y", 0.5)]
    assert name_teachers(["a"], ["x"], []) == [Teacher("a", "x", 1)]
    with pytest.raises(ShelfcodeError, match="1 --catalog, 2 --attributes and 2 --weight: give each once a teacher"):
        name_teachers(["a"], ["x", "y"], [])
    with pytest.raises(ShelfcodeError, match="2 --catalog, 2 --attributes and 1 --weight"):
        name_teachers(["a", "b"], ["x", "y"], [3])
    for weight in (0, -1, 1000, float("nan")):
        with pytest.raises(ShelfcodeError, match=f"--weight {weight:g} must be above 0 and at most 100"):
            name_teachers(["a"], ["x"], [weight])


def test_a_list_written_as_one_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({**said("p1", "x"), "key_ingredients": ["oats, salt"], "dietary_tags": [["vegan"]], "item_id": ["p1"],
                             "product_type": ["x"], "format": [""]}), tmp_path / "teacher.parquet")  # fmt: skip
    with pytest.raises(ShelfcodeError, match=r"teacher\.parquet: key_ingredients must be lists of texts"):
        read_teacher(str(tmp_path / "teacher.parquet"), {})


@pytest.mark.parametrize("name", ["nowhere", "teacher.csv"])
def test_what_is_no_parquet_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "teacher.csv").write_text("item_id,product_type\n")
    with pytest.raises(ShelfcodeError, match=rf"--attributes .*{name}: .*Give a file or folder of Parquet"):
        read_teacher(str(tmp_path / name), {})


# Pairs


def test_what_the_text_does_not_support_is_not_taught(workspace: Workspace, snapshot: Snapshot, tmp_path: Path) -> None:
    pairs = teaching_pairs(
        workspace, snapshot, read_teacher(write(tmp_path / "t.parquet", [OAT_MILK, said("p9", "stranger")]), EXTRA), EXTRA
    )
    assert pairs.texts == ["title: Vegan Oat Milk Carton\nbrand: Oatly\ndescription: Oats and salt."]
    assert pairs.answers == [
        '{"product_type":"oat milk","key_ingredients":["oats"],"dietary_tags":["vegan"],"format":"carton","mood":["cosy"]}'
    ]
    expected = Attributes(
        product_type="oat milk", key_ingredients=("oats",), dietary_tags=("vegan",), format="carton", extra={"mood": ("cosy",)}
    )
    assert pairs.known == [expected]
    assert (pairs.silent, pairs.dropped) == (3, 2)


def test_texts_and_answers_stand_side_by_side_in_the_order_of_the_catalog(workspace: Workspace, snapshot: Snapshot, tmp_path: Path) -> None:
    """Whatever the order of the teacher, and with whole parts of the snapshot on which it is silent."""
    rows = [said("p4", "apple juice"), said("p3", "soap")]
    pairs = teaching_pairs(workspace, snapshot, read_teacher(write(tmp_path / "t.parquet", rows), {}), {})
    assert pairs.texts == ["title: Bar Soap", "title: Apple Juice"]
    assert [known.product_type for known in pairs.known] == ["soap", "apple juice"]
    assert pairs.silent == 2


def test_what_a_teacher_does_not_know_is_empty_and_not_among_its_fields(workspace: Workspace, snapshot: Snapshot) -> None:
    teacher = pa.table({"item_id": ["p3"], "format": ["bar"], "dietary_tags": [["vegan"]]})
    pairs = teaching_pairs(workspace, snapshot, teacher, EXTRA)
    assert pairs.fields == ("dietary_tags", "format")
    assert pairs.answers == ['{"product_type":"","key_ingredients":[],"dietary_tags":[],"format":"bar","mood":[]}']
    assert pairs.dropped == 1, "what it does know is held against the text"


def test_a_teacher_of_other_products_is_refused(workspace: Workspace, snapshot: Snapshot, tmp_path: Path) -> None:
    teacher = read_teacher(write(tmp_path / "t.parquet", [said("p9", "stranger")]), {})
    with pytest.raises(ShelfcodeError, match="speaks of none of the 4 products: do their item_ids agree"):
        teaching_pairs(workspace, snapshot, teacher, {})


def test_of_an_extractors_table_only_what_it_said_of_the_present_text_is_taught(workspace: Workspace, snapshot: Snapshot) -> None:
    products = pa.Table.from_pylist([PRODUCTS[1], {**PRODUCTS[1], "title": "White Bread"}, PRODUCTS[2]], pa.schema(
        [(name, pa.string()) for name in ("item_id", "title", "description", "brand")]))  # fmt: skip
    earlier, present, _ = text_hashes(products.take([1, 0, 2])).to_pylist()
    rows = [
        {**said("p2", "white bread"), "text_hash": earlier}, {**said("p2", "rye bread"), "text_hash": present},
        {**said("p3", "towel"), "text_hash": earlier},
    ]  # fmt: skip
    teacher = pa.Table.from_pylist(rows, SCHEMA.append(pa.field("text_hash", pa.string())))
    pairs = teaching_pairs(workspace, snapshot, teacher, {})
    assert [known.product_type for known in pairs.known] == ["rye bread"]
    assert pairs.silent == 3


def test_a_teacher_beyond_the_limits_is_cut_to_them(workspace: Workspace, snapshot: Snapshot, tmp_path: Path) -> None:
    row = said("p1", "oat milk", dietary_tags=["Vegan", "planet friendly"], key_ingredients=None, mood=["a", "b", "c"], format=None)
    pairs = teaching_pairs(workspace, snapshot, read_teacher(write(tmp_path / "t.parquet", [row]), EXTRA), EXTRA)
    assert pairs.known == [Attributes(product_type="oat milk", dietary_tags=("vegan",), extra={"mood": ("a", "b")})]
