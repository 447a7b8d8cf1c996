"""The sample catalog is deterministic, streamed, reads as a shop, and its planted facts hold."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.sample.catalog import SampleChunk, sample_chunk, sample_chunks, write_sample
from shelfcode.sample.facts import FACT_SCHEMAS
from shelfcode.sample.products import PRODUCT_SCHEMA
from shelfcode.sample.shop import Shop, load_shop

SIZE = 5000

# Written out here, apart from the vocabulary's own classes, so that a hole there shows.
DENIED_BY = {
    "vegan": r"milk|cream|butter|cheese|cheddar|yogurt|whey|eggs?|beef|pork|chicken|turkey|salmon|tuna|shrimp|honey|gelatin|anchov\w+",
    "vegetarian": r"beef|pork|chicken|turkey|salmon|tuna|shrimp|cod|gelatin|anchov\w+|bacon",
    "gluten free": r"wheat|barley|rye|semolina|breadcrumbs|oats",
    "dairy free": r"milk|cream|butter|cheese|cheddar|mozzarella|parmesan|yogurt|whey",
    "nut free": r"almonds?|cashews|pecans|walnuts|hazelnuts|pistachios|peanuts?",
    "halal": r"pork|bacon|gelatin|alcohol",
    "sugar free": r"sugar|honey|molasses|\w* ?syrup",
    "no added sugar": r"sugar|honey|molasses|\w* ?syrup",
}
NOT_WHAT_IT_SAYS = r"coconut (milk|cream)|(peanut|almond|cashew|cocoa|shea|seed) butter|cheese cultures"


@pytest.fixture(scope="module")
def chunk() -> SampleChunk:
    return sample_chunk(0, SIZE, seed=0)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return load_shop()


@pytest.fixture(scope="module")
def products(chunk: SampleChunk) -> dict[str, dict]:
    return {row["item_id"]: row for row in chunk.products.to_pylist()}


@pytest.fixture(scope="module")
def attributes(chunk: SampleChunk) -> dict[str, dict]:
    return {row["item_id"]: row for row in chunk.facts["attributes"].to_pylist()}


def test_same_seed_same_tables_and_another_seed_others(chunk: SampleChunk) -> None:
    again, other = sample_chunk(0, SIZE, seed=0), sample_chunk(0, SIZE, seed=1)
    assert again.products.equals(chunk.products)
    assert all(again.facts[name].equals(table) for name, table in chunk.facts.items())
    assert not other.products["title"].equals(chunk.products["title"])
    assert not other.facts["sessions"].equals(chunk.facts["sessions"])


def test_schema_follows_the_contract(chunk: SampleChunk) -> None:
    assert chunk.products.schema.equals(PRODUCT_SCHEMA)
    assert chunk.products.num_rows == SIZE
    assert chunk.facts.keys() == FACT_SCHEMAS.keys()
    for name, table in chunk.facts.items():
        assert table.schema.equals(FACT_SCHEMAS[name])
        assert table.num_rows > 0
    assert all(chunk.products[name].null_count == 0 for name in ("item_id", "title", "category_path", "price", "size"))
    assert min(chunk.products["price"].to_pylist()) > 0


def test_any_chunk_can_be_made_alone_and_ids_are_unique() -> None:
    size, chunk_size = 1150, 300
    chunks = list(sample_chunks(size, seed=3, chunk_size=chunk_size))
    assert [c.products.num_rows for c in chunks] == [300, 300, 300, 250]
    alone = sample_chunk(2, size, seed=3, chunk_size=chunk_size)
    assert alone.products.equals(chunks[2].products)
    assert all(alone.facts[name].equals(table) for name, table in chunks[2].facts.items())
    ids = [item for c in chunks for item in c.products["item_id"].to_pylist()]
    assert len(set(ids)) == size
    sessions = [set(c.facts["sessions"]["session_id"].to_pylist()) for c in chunks]
    assert sum(map(len, sessions)) == len(set().union(*sessions)) == size // 4


def test_it_is_a_whole_shop(chunk: SampleChunk, shop: Shop) -> None:
    paths = {tuple(path) for path in chunk.products["category_path"].to_pylist()}
    assert paths == {leaf.path for leaf in shop.leaves}
    assert len({path[0] for path in paths}) == 12
    assert 50 <= len({path[:2] for path in paths}) <= 70
    assert 230 <= len(paths) <= 270
    assert {len(path) for path in paths} == {2, 3, 4}
    assert len(shop.themes) >= 10
    assert all(len({shop.leaves[leaf].path[0] for leaf in theme.leaves}) >= 2 for theme in shop.themes)


def test_titles_are_varied_and_carry_their_kind(products: dict[str, dict], attributes: dict[str, dict]) -> None:
    titles = [row["title"] for row in products.values()]
    assert len(set(titles)) / len(titles) >= 0.9
    assert len(set(Counter(len(title.split()) for title in titles))) >= 6
    missing = [row["title"] for item, row in products.items() if attributes[item]["product_type"].lower() not in row["title"].lower()]
    assert missing == []


def test_sparse_rows_are_short_and_bare(products: dict[str, dict]) -> None:
    sparse = [row for row in products.values() if row["description"] is None]
    assert 0.065 <= len(sparse) / len(products) <= 0.095
    assert all(row["brand"] is None for row in sparse)
    assert sum(len(row["title"].split()) for row in sparse) / len(sparse) <= 5.5
    assert all(row["brand"] for row in products.values() if row["description"] is not None)


def test_misfiled_rows_are_filed_wrongly_and_all_others_rightly(
    chunk: SampleChunk, shop: Shop, products: dict[str, dict], attributes: dict[str, dict]
) -> None:
    path_of_kind = {kind.name: leaf.path for leaf in shop.leaves for kind in leaf.kinds}
    misfiled = {row["item_id"]: row for row in chunk.facts["misfiled"].to_pylist()}
    assert 0.013 <= len(misfiled) / SIZE <= 0.027
    same_department = 0
    for item, row in products.items():
        true_path = path_of_kind[attributes[item]["product_type"]]
        if item in misfiled:
            assert tuple(misfiled[item]["true_path"]) == true_path != tuple(row["category_path"])
            assert misfiled[item]["filed_under"] == row["category_path"]
            same_department += row["category_path"][0] == true_path[0]
        else:
            assert tuple(row["category_path"]) == true_path
    assert 0.6 <= same_department / len(misfiled) < 1


def test_every_fact_speaks_of_products_that_exist(chunk: SampleChunk, products: dict[str, dict]) -> None:
    for table in chunk.facts.values():
        for column in {"item_id", "other_item_id"} & set(table.column_names):
            assert set(table[column].to_pylist()) <= products.keys()
    assert chunk.facts["attributes"]["item_id"].equals(chunk.products["item_id"])


def test_no_article_may_carry_a_dietary_tag_that_its_ingredients_deny(shop: Shop) -> None:
    wrong = []
    for leaf in shop.leaves:
        for article in (article for kind in leaf.kinds for article in kind.articles):
            text = re.sub(NOT_WHAT_IT_SAYS, "", ", ".join(article.ingredients))
            for tag in {*article.named_tags, *article.claimable} & DENIED_BY.keys():
                if re.search(rf"\b(?:{DENIED_BY[tag]})\b", text):
                    wrong.append((article.name, tag, article.ingredients))
            assert leaf.food or not article.claimable
    assert wrong == []


def test_attributes_state_what_the_text_states(shop: Shop, products: dict[str, dict], attributes: dict[str, dict]) -> None:
    tagged = 0
    for item, truth in attributes.items():
        text = f"{products[item]['title']} {products[item]['description'] or ''}".lower().replace("-", " ")
        for tag in truth["dietary_tags"]:
            assert tag in shop.tags
            in_words = {"whole grain": "whole wheat", "sugar free": "zero sugar", "vegetarian": "veggie", "low sodium": "salt"}.get(
                tag, tag
            )
            assert tag in text or in_words in text or (tag == "no added sugar" and ("unsweetened" in text or "no sugar added" in text))
        tagged += bool(truth["dietary_tags"])
    assert tagged > SIZE / 10


def test_substitutes_share_kind_and_diet_and_differ_in_brand_or_size(
    chunk: SampleChunk, products: dict[str, dict], attributes: dict[str, dict]
) -> None:
    pairs = chunk.facts["substitutes"].to_pylist()
    assert len(pairs) > SIZE / 10
    for pair in pairs:
        one, other = pair["item_id"], pair["other_item_id"]
        assert attributes[one]["product_type"] == attributes[other]["product_type"]
        assert set(attributes[one]["dietary_tags"]) <= set(attributes[other]["dietary_tags"])
        assert (products[one]["brand"], products[one]["size"]) != (products[other]["brand"], products[other]["size"])


def test_complements_come_from_two_leaves_of_their_theme(chunk: SampleChunk, shop: Shop, attributes: dict[str, dict]) -> None:
    leaf_of_kind = {kind.name: number for number, leaf in enumerate(shop.leaves) for kind in leaf.kinds}
    leaves_of_theme = {theme.name: theme.leaves for theme in shop.themes}
    for pair in chunk.facts["complements"].to_pylist():
        one, other = (leaf_of_kind[attributes[pair[column]]["product_type"]] for column in ("item_id", "other_item_id"))
        assert one != other
        assert {one, other} <= set(leaves_of_theme[pair["theme"]])


def test_queries_are_judged_by_kind_and_stated_diet(chunk: SampleChunk, shop: Shop, attributes: dict[str, dict]) -> None:
    judged = defaultdict(list)
    for row in chunk.facts["judgments"].to_pylist():
        judged[row["query"]].append((row["label"], attributes[row["item_id"]]))
    assert len(judged) == SIZE // 25
    assert {label for rows in judged.values() for label, _ in rows} == set("ESCI")
    with_diet = 0
    for query, rows in judged.items():
        assert 10 <= len(rows) <= 20
        exact = [truth for label, truth in rows if label == "E"]
        assert exact
        kind = exact[0]["product_type"]
        assert kind.lower() in query
        for label, truth in rows:
            assert (truth["product_type"] == kind) == (label in "ES")
        asked = [tag for tag in shop.tags if re.search(rf"\b{tag}\b", query)]
        with_diet += bool(asked)
        assert all(tag in truth["dietary_tags"] for truth in exact for tag in asked)
    assert with_diet >= 10


def test_sessions_are_carts_of_three_to_twelve_distinct_items_mostly_of_a_theme(
    chunk: SampleChunk, shop: Shop, attributes: dict[str, dict]
) -> None:
    themes_of_kind = {kind.name: set(leaf.themes) for leaf in shop.leaves for kind in leaf.kinds}
    carts = defaultdict(list)
    for row in chunk.facts["sessions"].to_pylist():
        carts[row["session_id"]].append((row["position"], row["item_id"]))
    assert len(carts) == SIZE // 4
    shares = []
    for cart in carts.values():
        assert 3 <= len(cart) <= 12
        assert [position for position, _ in cart] == list(range(1, len(cart) + 1))
        assert len({item for _, item in cart}) == len(cart)
        counts = Counter(theme for _, item in cart for theme in themes_of_kind[attributes[item]["product_type"]])
        shares.append(max(counts.values(), default=0) / len(cart))
    assert sum(shares) / len(shares) > 0.6


def test_written_parts_are_the_chunks_and_leave_nothing_behind(tmp_path: Path) -> None:
    write_sample(tmp_path, size=5100, seed=2)
    seen: list[int] = []
    summary = write_sample(tmp_path, size=400, seed=2, on_chunk=seen.append)
    assert seen == [400]
    assert summary.products == 400
    expected = sample_chunk(0, 400, seed=2)
    written = {"catalog": expected.products, **{f"facts/{name}": table for name, table in expected.facts.items()}}
    for folder, table in written.items():
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["part-00000.parquet"]
        assert pq.read_table(tmp_path / folder / "part-00000.parquet").equals(table)
    assert summary.facts == {name: table.num_rows for name, table in expected.facts.items()}


def test_it_never_writes_into_a_catalog_that_is_no_sample(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    mine = tmp_path / "catalog" / "part-00007.parquet"
    pq.write_table(pa.table({"item_id": ["mine"]}), mine)
    with pytest.raises(ShelfcodeError, match="not a sample"):
        write_sample(tmp_path, size=10)
    assert mine.exists()


@pytest.mark.parametrize(("size", "seed", "index"), [(0, 0, 0), (10, -1, 0), (10, 0, 1)])
def test_out_of_range_requests_say_so(size: int, seed: int, index: int) -> None:
    with pytest.raises(ShelfcodeError, match="sample catalog"):
        sample_chunk(index, size, seed)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_tiny_catalogs_work(size: int) -> None:
    chunk = sample_chunk(0, size, seed=5)
    assert chunk.products.num_rows == size
    queries = chunk.facts["judgments"]["query"].to_pylist()
    assert len(queries) == 0 or "E" in chunk.facts["judgments"]["label"].to_pylist()
