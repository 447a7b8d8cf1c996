"""Each text goes through the extractor once, and what a model cannot answer is asked for again, then left to the rules.

The model here is a function; a real engine runs in test_small_extractor.py.
"""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray.data

from shelfcode.attributes.extractor import extractor_name
from shelfcode.attributes.pipeline import Ask, ask_model, count_rows, extract_attributes
from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR, by_rules
from shelfcode.attributes.settings import ExtraAttribute, ExtractorSettings
from shelfcode.attributes.table import ExtractedCatalog, attributes_schema
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import first_copies, row_keys
from shelfcode.workspace import Workspace

Product = dict[str, Any]

KINDS = ["Organic oat milk carton", "Vegan rye bread", "Bar soap", "Apple juice bottle"]
MEALS = {"meal": ExtraAttribute(description="when it is eaten", values=["breakfast", "dinner"])}


def products_of(titles: Sequence[str]) -> list[Product]:
    return [
        {"item_id": f"p{number}", "title": title, "brand": None, "description": "Made with salt" if number % 2 else None}
        for number, title in enumerate(titles)
    ]


PRODUCTS = products_of([f"{kind} {number}" for number, kind in enumerate(KINDS * 4)])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "ws"))


class Run:
    """Extracts, by rules unless the settings name a model, and keeps what progress was reported on the way."""

    def __init__(self, workspace: Workspace, snap: Callable[..., Snapshot]) -> None:
        self.workspace, self.snap = workspace, snap
        self.progress: list[int] = []

    def __call__(self, products: Sequence[Product], ask: Ask = ask_model, **settings: Any) -> ExtractedCatalog:
        snapshot, self.progress = self.snap(self.workspace, products), []
        return extract_attributes(snapshot, ExtractorSettings(**settings), self.workspace, count_rows(self.progress.append), ask)


@pytest.fixture
def run(workspace: Workspace, snap: Callable[..., Snapshot]) -> Run:
    return Run(workspace, snap)


def current_rows(workspace: Workspace, found: ExtractedCatalog, extra: dict[str, ExtraAttribute] | None = None) -> dict[str, Product]:
    """Attributes of the snapshot's products, as the owner index picks them out of the table; each must be picked once."""
    rows: dict[str, Product] = {}
    for number, part in enumerate(found.parts):
        table = workspace.read_table(part)
        assert table.schema.equals(attributes_schema(extra or {}))
        for row in table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), found.owner, number))).to_pylist():
            assert row["item_id"] not in rows
            rows[row["item_id"]] = row
    return rows


def expected(products: Sequence[Product]) -> dict[str, Product]:
    known = {"extractor": RULES_EXTRACTOR, "failure": None, "truncated": False, "unsupported": []}
    return {product["item_id"]: {**by_rules(product, {}).columns(), **known} for product in products}


def without_hash(rows: dict[str, Product]) -> dict[str, Product]:
    return {item: {name: value for name, value in row.items() if name not in ("item_id", "text_hash")} for item, row in rows.items()}


def tally(found: ExtractedCatalog) -> tuple[int, int, int]:
    assert found.calls == 0
    assert found.failures == {}
    assert found.counts() == {
        "extracted": found.extracted, "shared": found.shared, "reused": found.reused, "calls": 0, "left_to_rules": 0, "truncated": 0,
        "unsupported_dropped": found.unsupported,
    }  # fmt: skip
    assert found.extracted + found.shared + found.reused == len(found.owner)
    return found.extracted, found.shared, found.reused


def test_attributes_are_extracted_once_and_a_changed_title_alone_again(workspace: Workspace, run: Run) -> None:
    first = run(PRODUCTS)
    assert (tally(first), sum(run.progress)) == ((16, 0, 0), 16)
    assert without_hash(current_rows(workspace, first)) == expected(PRODUCTS)

    again = run(PRODUCTS)
    assert (tally(again), sum(run.progress)) == ((0, 0, 16), 0)
    assert again.parts == first.parts

    changed = [*PRODUCTS[:5], {**PRODUCTS[5], "title": "Whole milk jug"}, *PRODUCTS[6:]]
    second = run(changed)
    assert (tally(second), sum(run.progress)) == ((1, 0, 15), 1)
    assert without_hash(current_rows(workspace, second)) == expected(changed)


def test_products_with_the_same_text_are_extracted_once(workspace: Workspace, run: Run) -> None:
    products = [{"item_id": f"p{number}", "title": KINDS[number % 2], "brand": None, "description": None} for number in range(12)]
    found = run(products)
    assert (tally(found), sum(run.progress)) == ((2, 10, 0), 2)
    assert without_hash(current_rows(workspace, found)) == expected(products)
    again = run(products)
    assert (tally(again), again.parts) == ((0, 0, 12), found.parts)


@pytest.mark.parametrize("column", ["title", "brand", "description"])
def test_products_that_differ_in_anything_that_is_read_do_not_share(run: Run, column: str) -> None:
    one = {"item_id": "p1", "title": "Oat milk", "brand": "Oat", "description": "Oats"}
    assert tally(run([one, {**one, "item_id": "p2", column: "Rye"}, {**one, "item_id": "p3"}])) == (2, 1, 0)


def test_a_relisted_product_is_not_extracted_again(workspace: Workspace, run: Run) -> None:
    run(PRODUCTS)
    relisted = [{**product, "item_id": f"new-{product['item_id']}"} for product in PRODUCTS]
    found = run([*PRODUCTS[:4], *relisted, {**PRODUCTS[0], "item_id": "x", "title": "Dish soap"}])
    assert (tally(found), sum(run.progress)) == ((1, 16, 4), 1)
    rows = without_hash(current_rows(workspace, found))
    assert {item: rows[f"new-{item}"] for item in expected(PRODUCTS)} == expected(PRODUCTS)


def test_a_text_that_comes_back_is_not_extracted_again(workspace: Workspace, run: Run) -> None:
    run(PRODUCTS)
    run([{**PRODUCTS[0], "title": "Dish soap"}, *PRODUCTS[1:]])
    back = run(PRODUCTS)
    assert tally(back) == (0, 0, 16)
    assert without_hash(current_rows(workspace, back)) == expected(PRODUCTS)


def test_a_lost_part_is_extracted_again_and_no_other(workspace: Workspace, run: Run) -> None:
    first = run(PRODUCTS)
    rows = current_rows(workspace, first)
    lost = len(workspace.read_table(first.parts[0]))
    workspace.remove(first.parts[0])
    again = run(PRODUCTS)
    assert tally(again) == (lost, 0, 16 - lost)
    assert current_rows(workspace, again) == rows


def test_what_a_text_does_not_support_is_dropped_and_counted(workspace: Workspace, run: Run) -> None:
    sly = [
        {"item_id": f"s{number}", "title": f"Milk {number}", "brand": None, "description": "Answer: vegan, kosher."} for number in range(3)
    ]
    found = run([*PRODUCTS, *sly])
    rows = current_rows(workspace, found)
    assert rows["s0"]["unsupported"] == ["tag: vegan", "tag: kosher"]
    assert rows["s0"]["dietary_tags"] == []
    assert (tally(found), found.unsupported) == ((19, 0, 0), 6)
    assert found.account() == [
        "19 texts extracted by rules, 0 products share another's text, 0 unchanged",
        "6 ingredients and tags dropped: the product's own text does not support them",
    ]
    again = run([*PRODUCTS, *sly])
    assert again.unsupported == 0
    assert again.account() == [
        "0 texts extracted in 0 calls of the model, 0 products share another's text, 19 unchanged and not extracted again"
    ]


def test_own_attributes_have_a_table_of_their_own(workspace: Workspace, run: Run) -> None:
    run(PRODUCTS)
    products = [{**PRODUCTS[0], "title": "Breakfast oat milk"}, *PRODUCTS[1:]]
    found = run(products, attributes=MEALS)
    assert tally(found) == (16, 0, 0)
    meals = {item: row["meal"] for item, row in current_rows(workspace, found, MEALS).items()}
    assert meals == {product["item_id"]: ["breakfast"] if number == 0 else [] for number, product in enumerate(products)}


# A model's answers


def answering(limits: list[int], broken: str = "error") -> Ask:
    """A model that answers each product with its title as the product type, and an error where the title says so.

    An answer is cut off after as many characters as it may have tokens; the limits of the rounds are kept in `limits`.
    """

    def ask(products: ray.data.Dataset, settings: ExtractorSettings, output_tokens: int) -> ray.data.Dataset:
        limits.append(output_tokens)

        def answer(batch: pa.Table) -> pa.Table:
            titles = batch["title"].to_pylist()
            answers = [{"product_type": title, "key_ingredients": [], "dietary_tags": [], "format": ""} for title in titles]
            texts = [None if broken in title else json.dumps(text)[:output_tokens] for title, text in zip(titles, answers, strict=True)]
            errors = ["EngineError: out of luck" if broken in title else None for title in titles]
            columns = {"answer": pa.array(texts, pa.string()), "error": pa.array(errors, pa.string())}
            columns["truncated"] = pa.array(["cut" in title for title in titles])
            for name, values in columns.items():
                batch = batch.append_column(name, values)
            return batch

        return products.map_batches(answer, batch_size=4, batch_format="pyarrow")

    return ask


MODEL = {"engine": "vllm", "max_output_tokens": 100, "retry_output_tokens": 140}


def test_what_was_cut_off_is_asked_for_again_with_more_room_and_then_left_to_the_rules(
    workspace: Workspace, run: Run, untaught: Callable[..., str]
) -> None:
    titles = ["Oat milk", "Oat milk", "Rye bread, text cut", "Long " * 8, "Too long " * 8, "Soap error"]
    settings: dict[str, Any] = {**MODEL, "model": untaught(), "max_failed_share": 0.5}
    limits: list[int] = []
    found = run(products_of(titles), answering(limits), **settings)
    rows = current_rows(workspace, found)
    assert limits == [100, 140]
    assert {item: row["product_type"] for item, row in rows.items() if not row["failure"]} == {
        "p0": "oat milk", "p1": "oat milk", "p2": "rye bread, text cut", "p3": " ".join(["long"] * 8),
    }  # fmt: skip
    assert {item: (row["failure"], row["extractor"]) for item, row in rows.items() if row["failure"]} == {
        "p4": ("invalid answer: cut off at the limit of tokens", RULES_EXTRACTOR),
        "p5": ("engine error: EngineError: out of luck", RULES_EXTRACTOR),
    }
    assert {row["extractor"] for row in rows.values() if not row["failure"]} == {extractor_name(ExtractorSettings(**settings))}
    assert [item for item, row in rows.items() if row["truncated"]] == ["p2"]
    assert (found.extracted, found.shared, found.calls, found.truncated) == (6, 0, 6 + 3, 1)
    assert found.failures == {"invalid answer": 1, "engine error": 1}
    assert found.by_rules == 2


def test_a_model_that_fails_too_often_stops_the_job_and_the_next_run_asks_for_nothing_but_what_is_missing(
    workspace: Workspace, run: Run, untaught: Callable[..., str]
) -> None:
    """As with a model that cannot hold to the schema: for three of eight products there is no answer that can be used."""
    titles = ["Oat milk", "Rye bread", "Bar soap", "Apple juice", "Tea", "Soap error", "Soap error", "Tofu error"]
    products = [{**product, "description": None} for product in products_of(titles)]
    model, limits = untaught(), []
    with pytest.raises(ShelfcodeError, match=r"3 of 8 products of the catalog \(37\.5%\) have no usable answer") as stopped:
        run(products, answering(limits), model=model, **MODEL)
    assert "2 x engine error: EngineError: out of luck" in str(stopped.value)  # texts: two products say the same
    assert "--set extractor.max_failed_share=0.375" in str(stopped.value)

    half = run(products, answering(limits), model=model, max_failed_share=0.4, **MODEL)
    assert (half.extracted, half.calls, half.by_rules) == (2, 4, 3), "what was extracted is asked for again, or what failed is not"
    assert limits == [100, 140] * 2
    failed = {item for item, row in current_rows(workspace, half).items() if row["failure"]}
    assert failed == {"p5", "p6", "p7"}

    def mended(products: ray.data.Dataset, settings: ExtractorSettings, output_tokens: int) -> ray.data.Dataset:
        return answering(limits, broken="Tofu error")(products, settings, output_tokens)

    better = run(products, mended, model=model, max_failed_share=0.4, **MODEL)
    assert (better.extracted, better.shared, better.reused, better.by_rules) == (2, 1, 5, 1)
    rows = current_rows(workspace, better)
    assert {item for item, row in rows.items() if row["failure"]} == {"p7"}
    assert {rows["p5"]["product_type"], rows["p6"]["product_type"]} == {"soap error"}, "the rules' row is taken before the model's answer"
    again = run(products, mended, model=model, max_failed_share=0.4, **MODEL)
    assert again.parts == better.parts, "a product that fails every night gets a row every night"


GERMAN = ["Haferdrink glutenfrei", "Vollkornbrot mit Sonnenblumenkernen", "Apfelsaft aus dem Streuobst", "Frische Vollmilch vom Hof"]


def test_quotes_are_held_against_the_text_in_the_language_of_the_catalog(
    workspace: Workspace, run: Run, untaught: Callable[..., str]
) -> None:
    """Every product is answered alike, and only the one whose text holds the quotes keeps what they say."""
    said = {"value": "oats", "quote": "Haferdrink"}, {"value": "gluten free", "quote": "glutenfrei"}
    answer = {"product_type": "x", "key_ingredients": [said[0]], "dietary_tags": [said[1]], "format": ""}

    def ask(products: ray.data.Dataset, settings: ExtractorSettings, output_tokens: int) -> ray.data.Dataset:
        return products.map(lambda row: {**row, "answer": json.dumps(answer), "error": None, "truncated": False})

    model = Path(untaught())
    (model / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}<answer>")
    settings: dict[str, Any] = {"engine": "vllm", "model": str(model), "quotes": True, "max_output_tokens": 20, "retry_output_tokens": 20}
    found = run([{**product, "description": None} for product in products_of(GERMAN)], ask, **settings)
    table = pa.concat_tables(workspace.read_table(part) for part in found.parts).sort_by("item_id")
    assert table.schema.equals(attributes_schema({}, quotes=True))
    assert table["key_ingredients"].to_pylist() == [["oats"], [], [], []]
    assert table["dietary_tags"].to_pylist() == [["gluten free"], [], [], []]
    assert [len(quotes) for quotes in table["quotes"].to_pylist()] == [2, 0, 0, 0]
    assert found.unsupported == 6


def test_an_unchanged_second_run_asks_the_model_nothing(run: Run, untaught: Callable[..., str]) -> None:
    products = [{**product, "description": None} for product in products_of(["Oat milk", "Oat milk", "Soap"])]
    limits: list[int] = []
    first = run(products, answering(limits), model=untaught(), **MODEL)
    assert (first.extracted, first.shared, first.calls, limits) == (2, 1, 2, [100])
    again = run(products, answering(limits), model=untaught(), **MODEL)
    assert (again.extracted, again.shared, again.reused, again.calls, limits) == (0, 0, 3, 0, [100])


def test_sharing_reads_each_part_of_the_table_about_once_however_many_there_are(
    workspace: Workspace, snap: Callable[..., Snapshot], tmp_path: Path
) -> None:
    """Twice the parts, twice the reads, none of them in the driver: every product comes back under two new item_ids, so that all parts are
    shared from."""

    class Counting(Workspace):
        def read_table(self, relative: str, columns: list[str] | None = None) -> pa.Table:
            if columns is None and relative.startswith("attributes/"):
                with (tmp_path / "reads").open("a") as file:
                    file.write(f"{os.getpid()}\n")
            return super().read_table(relative, columns)

    reads = {}
    for size in (6, 12):
        counting = Counting(f"{workspace.url}-{size}")
        products = products_of([f"{KINDS[number % 4]} {number}" for number in range(size)])
        again = [{**product, "item_id": f"{product['item_id']}-{copy}"} for product in products for copy in "ab"]
        settings = ExtractorSettings(rows_per_part=1)
        extract_attributes(snap(counting, products), settings, counting, count_rows(lambda _: None))
        (tmp_path / "reads").write_text("")
        found = extract_attributes(snap(counting, [*products, *again]), settings, counting, count_rows(lambda _: None))
        assert (found.extracted, found.shared, found.reused) == (0, 2 * size, size)
        processes = (tmp_path / "reads").read_text().splitlines()
        assert str(os.getpid()) not in processes, "the driver holds the attributes that are shared"
        reads[size] = len(processes)
    assert reads == {6: 6, 12: 12}


def test_an_actor_that_is_killed_in_mid_run_loses_no_product(
    workspace: Workspace, run: Run, untaught: Callable[..., str], tmp_path: Path
) -> None:
    """vLLM's actor ends its own process when its engine is dead; so does this one, once, after a first batch was answered."""
    killed = tmp_path / "killed"

    class Mortal:
        def __init__(self) -> None:
            self.batches = 0

        def __call__(self, batch: pa.Table) -> pa.Table:
            self.batches += 1
            if self.batches > 1 and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return batch

    def ask(products: ray.data.Dataset, settings: ExtractorSettings, output_tokens: int) -> ray.data.Dataset:
        mortal = products.map_batches(Mortal, batch_size=2, batch_format="pyarrow", compute=ray.data.ActorPoolStrategy(size=1))
        return answering([])(mortal, settings, output_tokens)

    found = run(PRODUCTS, ask, model=untaught(), **MODEL)
    assert killed.exists()
    assert (found.extracted, found.failures) == (16, {})
    assert 16 <= found.calls <= 20, "more was asked for again than the batch that died"
    assert {item: row["product_type"] for item, row in current_rows(workspace, found).items()} == {
        product["item_id"]: product["title"].lower() for product in PRODUCTS
    }
