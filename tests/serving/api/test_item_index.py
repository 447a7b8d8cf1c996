"""Questions about products that a release holds, and what is wrong with a question."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from released import BOLD_TITLE, ITEM_IDS, Shop

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import Stock, read_availability
from shelfcode.index.release_index import ReleaseIndex
from shelfcode.semantic_id import parse
from shelfcode.serving.api.item_index import LIGHT_NEIGHBOURS, VISITORS_KEPT, ItemIndex, is_light
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage, Question, StoredAttributes

PRECISION, DISCOVERY, OLDER = "precision@v0002", "discovery@v0002", "precision@v0001"


@pytest.fixture(scope="module")
def index(shop: Shop) -> ItemIndex:
    index = ItemIndex(shop.workspace, ["precision", "discovery"], {"precision": 2, "discovery": 2})
    for release in (PRECISION, DISCOVERY, OLDER):
        index.keep(index.load(release))
    return index


def answer(index: ItemIndex, question: Question) -> Any:
    return index.answer(question, [index.prepared[release] for release in question.releases])


def like(item_id: str | None = "SKU-0000011", releases: Sequence[str] = (PRECISION,), **other: Any) -> Neighbours:
    """A question for neighbours; in a blend all flavors weigh the same."""
    fields: dict[str, Any] = {
        "parts": tuple((release, 1 / len(releases)) for release in releases), "codes": None, "item_id": item_id, "k": 10, "min_level": 0,
        "exclude": (), "retailer_id": None, "attributes": (), "fields": ("title",), **other,
    }  # fmt: skip
    return Neighbours(**fields)


def wrong(index: ItemIndex, question: Question) -> tuple[str, str]:
    """The kind of a question's problem, and what it says; answered, not raised."""
    told = answer(index, question)
    assert isinstance(told, Problem)
    return told.kind, told.detail


def ids(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["item_id"] for row in rows]


# Neighbours.


def test_neighbours_come_nearest_first_and_the_product_itself_is_not_among_them(index: ItemIndex) -> None:
    rows = answer(index, like(k=30))
    release = index.prepared[PRECISION]
    assert len(rows) == 30
    assert "SKU-0000011" not in ids(rows)
    assert [(-row["level"], row["distance"]) for row in rows] == sorted((-row["level"], row["distance"]) for row in rows)
    own = release.codes.codes_of(release.place("SKU-0000011"))
    assert all(parse(row["semantic_id"])[: row["level"]] == own[: row["level"]] for row in rows)


def test_codes_find_what_their_product_finds_and_the_product_too(index: ItemIndex) -> None:
    release = index.prepared[PRECISION]
    codes = release.codes.codes_of(release.place("SKU-0000011"))
    by_codes = answer(index, like(None, codes=(codes,), k=400))
    assert set(ids(by_codes)) - set(ids(answer(index, like(k=400)))) == {"SKU-0000011"}
    assert answer(index, like(None, codes=(codes,), exclude=("SKU-0000011",))) == answer(index, like())


def test_what_is_excluded_and_what_a_release_does_not_have_changes_nothing_else(index: ItemIndex) -> None:
    rows = answer(index, like(k=12))
    left = answer(index, like(k=10, exclude=(rows[0]["item_id"], rows[5]["item_id"], "nobody")))
    assert left == [row for number, row in enumerate(rows) if number not in (0, 5)]


def test_filters_on_columns_and_attributes_hold_together(index: ItemIndex, shop: Shop) -> None:
    item_ids, brands = (shop.products[name].to_pylist() for name in ("item_id", "brand"))
    of_brand = answer(index, like(k=400, attributes=(("brand", "mossy GLEN"),)))
    mossy = {item_id for item_id, brand in zip(item_ids, brands, strict=True) if brand == "Mossy Glen"}
    assert set(ids(of_brand)) == mossy - {"SKU-0000011"}
    organic = answer(index, like(k=400, attributes=(("dietary_tags", "Organic"),), fields=("brand", "dietary_tags")))
    assert organic
    assert all("organic" in row["dietary_tags"] for row in organic)
    brand = organic[0]["brand"]
    both = answer(index, like(k=400, attributes=(("brand", brand), ("dietary_tags", "organic")), fields=("brand", "dietary_tags")))
    assert both == [row for row in organic if row["brand"] == brand]
    assert answer(index, like(attributes=(("brand", "nobody's"),))) == []


def test_fields_are_columns_of_the_catalog_or_attributes(index: ItemIndex) -> None:
    row = answer(index, like(k=1, fields=("price", "category_path", "product_type")))[0]
    assert set(row) == {"item_id", "semantic_id", "level", "distance", "price", "category_path", "product_type"}
    assert set(answer(index, like(k=1, fields=()))[0]) == {"item_id", "semantic_id", "level", "distance"}


@pytest.mark.parametrize(
    ("question", "kind", "told"),
    [
        (like("nobody"), "unknown-item", "precision@v0002 has no item_id 'nobody'"),
        (like("n" * 10_000), "unknown-item", "send the product itself"),
        (like("nobody", (PRECISION, DISCOVERY)), "unknown-item", "nobody"),
        (like(fields=("colour",)), "invalid-request", "no column colour; it has item_id"),
        (like(fields=("description",)), "invalid-request", "no column description"),
        (like(attributes=(("colour", "red"),)), "invalid-request", "no column colour"),
        (like(fields=("c" * 10_000,)), "invalid-request", "no column ccc"),
        (like(retailer_id="north"), "no-availability", "names no availability table"),
        (ItemPage("nobody", (PRECISION, DISCOVERY), 0, 5), "unknown-item", "precision@v0002 and discovery@v0002 have no item_id"),
        (PrefixPage(PRECISION, "0_x", 0, 0, 5), "unknown-prefix", "not a semantic ID"),
        (PrefixPage(PRECISION, "6", 0, 0, 5), "unknown-prefix", "level 1 has the codewords 0 to 5, and no 6"),
        (PrefixPage(PRECISION, "0_0_0_0_0", 0, 0, 5), "unknown-prefix", "has 5 levels; precision@v0002 has 4"),
        (PrefixPage(PRECISION, "9" * 5000, 0, 0, 5), "unknown-prefix", "4300"),
        (PrefixPage(PRECISION, "-1", 0, 0, 5), "unknown-prefix", "not a semantic ID"),
        (PrefixPage(PRECISION, "_", 0, 0, 5), "unknown-prefix", "not a semantic ID"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_wrong_with_a_question_is_its_answer(index: ItemIndex, question: Question, kind: str, told: str) -> None:
    found, detail = wrong(index, question)
    assert found == kind
    assert told in detail
    assert len(detail) < 1000


def test_a_retailers_products_are_those_of_its_table(index: ItemIndex, shop: Shop, tmp_path: Path) -> None:
    item_ids = shop.products["item_id"].to_pylist()
    pq.write_table(pa.table({"item_id": item_ids[::7], "retailer_id": ["north"] * len(item_ids[::7])}), tmp_path / "t.parquet")
    index.use_stock(Stock(read_availability(str(tmp_path / "t.parquet"))))
    try:
        assert set(ids(answer(index, like(k=400, retailer_id="north")))) == set(item_ids[::7]) - {"SKU-0000011"}
        assert wrong(index, like(retailer_id="south"))[0] == "invalid-request"
        blended = answer(index, like(k=400, retailer_id="north", releases=(PRECISION, DISCOVERY)))
        assert set(ids(blended)) == set(item_ids[::7]) - {"SKU-0000011"}
    finally:
        index.stock = None


# Blends.


def test_a_blend_tells_a_score_and_each_flavors_semantic_id_and_level(index: ItemIndex) -> None:
    rows = answer(index, like(k=20, releases=(DISCOVERY, PRECISION)))
    assert len(rows) == 20
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    for row in rows:
        for release in (DISCOVERY, PRECISION):
            held: ReleaseIndex = index.prepared[release]
            told = row["by_flavor"][release.partition("@")[0]]
            assert told["semantic_id"] == held.product(held.place(row["item_id"]))["semantic_id"]
        assert row["semantic_id"] == row["by_flavor"]["discovery"]["semantic_id"]
        assert row["level"] == row["by_flavor"]["discovery"]["level"]


# Attributes, items and prefixes.


def test_stored_attributes_come_in_the_order_of_the_products(index: ItemIndex, shop: Shop) -> None:
    first, second, nobody, nameless = answer(index, StoredAttributes(DISCOVERY, ("SKU-0000011", ITEM_IDS[0], "nobody", None)))
    assert (nobody, nameless) == (None, None)
    assert set(first) == {"product_type", "key_ingredients", "dietary_tags", "format"}
    assert first["product_type"]
    assert first != second
    assert answer(index, StoredAttributes(PRECISION, ("SKU-0000011",))) == [first]


def test_an_item_is_told_with_its_ids_and_those_who_share_them(index: ItemIndex) -> None:
    told = answer(index, ItemPage(ITEM_IDS[0], (PRECISION, DISCOVERY, OLDER), 0, 5))
    assert (told["item_id"], told["product"]["title"]) == (ITEM_IDS[0], BOLD_TITLE)
    assert "description" not in told["product"]
    assert [(each["flavor"], each["release"]) for each in told["semantic_ids"]] == [
        ("precision", PRECISION), ("discovery", DISCOVERY), ("precision", OLDER),
    ]  # fmt: skip
    for each in told["semantic_ids"]:
        assert tuple(each["codes"]) == parse(each["semantic_id"])
        assert all(product["semantic_id"] == each["semantic_id"] for product in each["sharing"]["products"])


def test_those_who_share_an_id_are_paged_to_the_last(index: ItemIndex) -> None:
    item_id = index.prepared[DISCOVERY].product(0)["item_id"]
    whole = answer(index, ItemPage(item_id, (DISCOVERY,), 0, 400))["semantic_ids"][0]["sharing"]
    assert len(whole["products"]) == whole["total"]
    paged = [
        product
        for first in range(whole["total"] + 1)
        for product in answer(index, ItemPage(item_id, (DISCOVERY,), first, 1))["semantic_ids"][0]["sharing"]["products"]
    ]
    assert paged == whole["products"]
    assert answer(index, ItemPage(item_id, (DISCOVERY,), 10**9, 5))["semantic_ids"][0]["sharing"]["products"] == []


def test_the_tree_is_walked_from_the_root_to_every_product_once(index: ItemIndex, shop: Shop) -> None:
    seen: list[str] = []

    def walk(prefix: str) -> None:
        told = answer(index, PrefixPage(PRECISION, prefix, 0, 0, 400))
        assert told["parent"] == (None if not prefix else prefix.rpartition("_")[0])
        assert told["level"] == (len(parse(prefix)) if prefix else 0)
        if told["level"] == told["levels"]:
            assert told["children"]["prefixes"] == []
            seen.extend(ids(told["products"]["products"]))
        for child in told["children"]["prefixes"]:
            walk(child["prefix"])

    walk("")
    assert sorted(seen) == sorted(shop.products["item_id"].to_pylist())


def test_products_under_a_prefix_are_paged(index: ItemIndex) -> None:
    whole = answer(index, PrefixPage(PRECISION, "", 0, 0, 400))["products"]
    assert whole["total"] == 400
    paged = [answer(index, PrefixPage(PRECISION, "", 0, first, 150))["products"]["products"] for first in (0, 150, 300, 450)]
    assert [len(page) for page in paged] == [150, 150, 100, 0]
    assert [product for page in paged for product in page] == whole["products"]


# Releases.


def test_a_release_that_is_not_there_is_refused(index: ItemIndex) -> None:
    for name in ("precision@v0099", "nothing@v0001"):
        with pytest.raises(ShelfcodeError, match=f"no release {name}"):
            index.load(name)


def test_releases_that_were_prepared_last_stay_by_flavor_and_what_somebody_names_takes_none_of_their_room(
    shop: Shop, index: ItemIndex
) -> None:
    kept = ItemIndex(shop.workspace, ["precision", "discovery"], {"precision": 2, "discovery": 2})
    named = [replace(index.prepared[OLDER], name=f"precision@v{number:04}") for number in range(10, 20)]
    for release in (OLDER, PRECISION, DISCOVERY):
        kept.keep(index.prepared[release])
    for each in named:
        kept.keep_visitor(each)
    assert list(kept.prepared) == [OLDER, PRECISION, DISCOVERY]
    assert list(kept.visitors) == [each.name for each in named[-VISITORS_KEPT:]]
    kept.keep(named[-1])
    assert list(kept.prepared) == [PRECISION, DISCOVERY, named[-1].name]
    assert list(kept.visitors) == [named[-2].name]
    kept.keep(index.prepared[PRECISION])  # again
    kept.keep(named[0])
    assert list(kept.prepared) == [DISCOVERY, PRECISION, named[0].name]


def test_a_question_is_answered_from_releases_that_have_made_way_meanwhile(shop: Shop, index: ItemIndex) -> None:
    empty = ItemIndex(shop.workspace, ["precision", "discovery"], {"precision": 2, "discovery": 2})
    page = ItemPage("SKU-0000011", (PRECISION, DISCOVERY, OLDER), 0, 1)
    assert empty.answer(page, [index.prepared[release] for release in page.releases]) == answer(index, page)


def test_a_question_that_nobody_foresaw_is_a_problem_of_its_own(index: ItemIndex) -> None:
    kind, detail = wrong(index, like(k="ten"))
    assert (kind, "log" in detail) == ("internal", True)
    assert wrong(index, like("\ud800"))[0] == "unknown-item"
    assert answer(index, like(attributes=(("brand", "\ud800"),), exclude=("\ud800",))) == []


def test_what_takes_long_goes_alone() -> None:
    light = [like(), like(k=LIGHT_NEIGHBOURS, min_level=1), like(min_level=1), StoredAttributes(DISCOVERY, ("a",))]
    assert [is_light(each) for each in light] == [False, True, True, True]
    heavy = [
        like(k=200, min_level=1), like(min_level=1, releases=(PRECISION, DISCOVERY)), like(min_level=1, exclude=("x",) * 1000),
        like(min_level=1, attributes=(("brand", "x"),)), like(min_level=1, retailer_id="7"), StoredAttributes(DISCOVERY, ("a",) * 256),
        ItemPage("a", (PRECISION,), 0, 1), PrefixPage(PRECISION, "", 0, 0, 5),
    ]  # fmt: skip
    assert not any(map(is_light, heavy))


def test_answers_are_of_plain_values_that_json_has(index: ItemIndex) -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(name, str) and plain(each) for name, each in value.items())
        return all(map(plain, value)) if isinstance(value, list) else not isinstance(value, np.generic | np.ndarray)

    questions: list[Question] = [
        like(), like(releases=(PRECISION, DISCOVERY)), StoredAttributes(DISCOVERY, ("SKU-0000011",)),
        ItemPage("SKU-0000011", (PRECISION,), 0, 3), PrefixPage(PRECISION, "", 0, 0, 3),
    ]  # fmt: skip
    assert all(plain(answer(index, question)) for question in questions)


def test_the_index_does_without_torch() -> None:
    """Its replicas start in half the time, and take half the memory."""
    code = "import sys, serve_apps.deployments, shelfcode.serving.api.item_index; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False\n"
