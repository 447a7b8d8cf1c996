"""What retrievers answer online: what is allowed, what is told of it, and that a batch changes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from released import Shop, open_shop
from untrained_retriever import publish_untrained

from shelfcode.index.availability import Stock, availability_of
from shelfcode.releases.release import load_manifest
from shelfcode.retrieval.context_table import contexts_from_table
from shelfcode.retrieval.published_retriever import load_card, open_retriever
from shelfcode.semantic_id import parse
from shelfcode.serving.api.item_index import ItemIndex
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Retrieve
from shelfcode.serving.api.retrieving import Retrieving

RELEASE = "precision@v0001"
GENERATOR, CR = ("generator@v0001", "generator", 1.0), ("cr@v0001", "cr", 1.0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A release with a retriever of each kind; the north sold every third product, the south the others, and nobody the last forty."""
    folder = tmp_path_factory.mktemp("shop")
    shop = open_shop(str(folder / "ws"), 300, folder / "tiny")
    manifest = shop.release("precision", 0)
    item_ids = shop.products["item_id"].to_pylist()
    sold = {"north": item_ids[:260:3], 'so"uth': [*item_ids[1:260:3], *item_ids[2:260:3]]}
    publish_untrained(shop.workspace, manifest, sold)
    publish_untrained(shop.workspace, manifest, sold, "cr", "cr")
    return shop


@pytest.fixture(scope="module")
def desk(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retrieving]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFCODE_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        desk = Retrieving(shop.workspace, ItemIndex(shop.workspace, ["precision"], {"precision": 3}), torch.device("cpu"), 4096, False)
        desk.load(RELEASE, ["generator@v0001", "cr@v0001"])
        yield desk


def asked(**more: Any) -> Retrieve:
    plain = Retrieve(RELEASE, (GENERATOR,), "home", (), (), (), None, 0, 10, 40, 0.0, 0.0, (), (), None, ("title",))
    return replace(plain, **more)


def answered(desk: Retrieving, *questions: Retrieve) -> list[dict[str, Any]]:
    answers = desk.answer(questions)
    assert not any(isinstance(answer, Problem) for answer in answers), answers
    return answers  # type: ignore[return-value]


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["item_id"] for row in answer["results"]]


def stocked(desk: Retrieving, rows: dict[str, list[str]]) -> Stock:
    pairs = [(item_id, retailer) for retailer, item_ids in rows.items() for item_id in item_ids]
    stock = Stock(availability_of(pa.table({"item_id": [pair[0] for pair in pairs], "retailer_id": [pair[1] for pair in pairs]})))
    desk.index.use_stock(stock)
    return stock


@pytest.fixture
def no_stock(desk: Retrieving) -> Iterator[None]:
    desk.index.stock = None
    yield
    desk.index.stock = None


@pytest.mark.usefixtures("no_stock")
@pytest.mark.parametrize("part", [GENERATOR, CR])
def test_a_list_is_of_the_retailer_and_not_of_the_cart(desk: Retrieving, shop: Shop, part: Any) -> None:
    items = shop.products["item_id"].to_pylist()
    cart = (items[0], items[3])
    answer = answered(desk, asked(parts=(part,), cart=cart, session=cart, retailer_id="north", k=200, beams=200))[0]
    new = items[260:] if part is GENERATOR else []  # a scoring model knows nothing of what nobody bought
    assert set(ids(answer)) == {*items[:260:3], *new} - set(cart)
    assert len(ids(answer)) == len(set(ids(answer)))
    assert answer["notes"] == ["stock_unknown"]
    assert [row["score"] for row in answer["results"]] == sorted((row["score"] for row in answer["results"]), reverse=True)
    assert answer["counts"]["at_retailer"] == 87 + 40
    assert answer["counts"]["open"] == 125


@pytest.mark.usefixtures("no_stock")
def test_stock_is_what_is_answered_with_and_changes_from_one_request_to_the_next(desk: Retrieving, shop: Shop) -> None:
    items = shop.products["item_id"].to_pylist()
    stock = stocked(desk, {"north": items[:20], "new in town": items[20:24]})
    north = asked(retailer_id="north", k=50)
    assert set(ids(answered(desk, north)[0])) == set(items[:20])
    stock.change("north", [items[30]], [items[0], items[1]])
    answer = answered(desk, north)[0]
    assert set(ids(answer)) == {*items[2:20], items[30]}
    assert answer["notes"] == []
    stranger = answered(desk, asked(retailer_id="new in town"))[0]
    assert set(ids(stranger)) == set(items[20:24])
    assert stranger["notes"] == ["retailer_never_seen"]
    stock.replace("north", [])
    empty = answered(desk, north)[0]
    assert empty["results"] == []
    assert (empty["counts"]["at_retailer"], empty["counts"]["beams"]["legal"]) == (0, 0)


@pytest.mark.usefixtures("no_stock")
def test_ten_results_are_ten_results_whatever_is_filtered(desk: Retrieving, shop: Shop) -> None:
    rows = shop.products.to_pylist()
    price = sorted(row["price"] for row in rows if row["price"] is not None)[len(rows) // 3]
    brand = max({row["brand"] for row in rows if row["brand"]}, key=lambda brand: sum(row["brand"] == brand for row in rows))
    cheap = answered(desk, asked(price=(None, price), k=30, fields=("price",)))[0]
    assert len(cheap["results"]) == 30
    assert all(row["price"] <= price for row in cheap["results"])
    branded = answered(desk, asked(attributes=(("brand", brand),), k=200, beams=300, fields=("brand",)))[0]
    wanted = {row["item_id"] for row in rows if row["brand"] == brand}
    assert set(ids(branded)) == wanted
    assert branded["counts"]["passed_filters"] == len(wanted)
    without = answered(desk, asked(attributes=(("brand", brand),), k=200, beams=300, exclude=tuple(sorted(wanted)[:2])))[0]
    assert set(ids(without)) == wanted - set(sorted(wanted)[:2])


@pytest.mark.usefixtures("no_stock")
def test_requests_that_go_together_are_answered_as_if_alone(desk: Retrieving, shop: Shop) -> None:
    items = shop.products["item_id"].to_pylist()
    random = np.random.default_rng(0)
    questions = []
    for number in range(40):
        cart = tuple(random.choice(items, random.integers(0, 12), replace=False))
        questions.append(
            asked(
                parts=[(GENERATOR,), (CR,), (GENERATOR, CR)][number % 3], cart=cart, session=cart,
                history=tuple(random.choice(items, random.integers(0, 60))), retailer_id=[None, "north", 'so"uth', "nowhere"][number % 4],
                k=int(random.integers(1, 30)), beams=int(random.integers(1, 60)), at=1_700_000_000 + 3600 * number,
                diversity=float(number % 2), exclude=tuple(random.choice(items, 3)),
            )
        )  # fmt: skip
    together = answered(desk, *questions)
    for question, answer in zip(questions, together, strict=True):
        alone = answered(desk, question)[0]
        assert ids(alone) == ids(answer)
        assert [row["score"] for row in alone["results"]] == pytest.approx([row["score"] for row in answer["results"]], abs=1e-4)
        assert {**alone, "results": 0} == {**answer, "results": 0}


@pytest.mark.usefixtures("no_stock")
@pytest.mark.parametrize("name", ["generator", "cr"])
def test_answers_are_those_that_are_made_in_bulk(desk: Retrieving, shop: Shop, name: str) -> None:
    items = shop.products["item_id"].to_pylist()
    random = np.random.default_rng(1)
    carts = [random.choice(items, 4, replace=False).tolist() for _ in range(30)]
    histories = [random.choice(items, 9).tolist() for _ in range(30)]
    retailers = [[None, "north", 'so"uth'][number % 3] for number in range(30)]
    retriever = open_retriever(shop.workspace, load_card(shop.workspace, name), torch.device("cpu"))
    table = pa.table({
        "case_id": [str(number) for number in range(30)], "cart": carts, "history": histories, "retailer_id": retailers,
        "surface": ["home"] * 30, "at": list(range(0, 30 * 7200, 7200)),
    })  # fmt: skip
    named = contexts_from_table(table, retriever.assortment.place_of, retriever.retailers, retriever.surfaces)
    lists = retriever.answer(named.contexts, 20, 120)
    online = answered(desk, *(
        asked(
            parts=((f"{name}@v0001", name, 1.0),), cart=tuple(cart), session=tuple(cart), history=tuple(history), retailer_id=retailer,
            at=at, k=20, beams=120,
        )
        for cart, history, retailer, at in zip(carts, histories, retailers, table["at"].to_pylist(), strict=True)
    ))  # fmt: skip
    for row, answer in enumerate(online):
        places = lists.products_RK[row][lists.products_RK[row] >= 0]
        assert ids(answer) == retriever.assortment.item_ids.take(pa.array(places)).to_pylist()


@pytest.mark.usefixtures("no_stock")
def test_a_blend_says_who_proposed_what(desk: Retrieving) -> None:
    both = answered(desk, asked(parts=(GENERATOR, CR), k=30))[0]
    lists = {part[1]: ids(answered(desk, asked(parts=(part,), k=90))[0]) for part in (GENERATOR, CR)}
    for row in both["results"]:
        assert row["proposed_by"].split("+") == [name for name in ("generator", "cr") if row["item_id"] in lists[name]]
    assert {row["proposed_by"] for row in both["results"]} >= {"generator+cr"}
    assert both["counts"]["beams"]["legal"] > 0
    heavy = answered(desk, asked(parts=(("generator@v0001", "generator", 0.001), ("cr@v0001", "cr", 0.999)), k=5))[0]
    assert ids(heavy) == lists["cr"][:5]


@pytest.mark.usefixtures("no_stock")
def test_agreement_with_the_cart_is_counted_in_levels(desk: Retrieving, shop: Shop) -> None:
    index = desk.index.get(RELEASE)
    assert index is not None
    items = shop.products["item_id"].to_pylist()
    cart = (items[5], items[9], "unheard of")
    answer = answered(desk, asked(cart=cart, session=cart, k=50))[0]
    codes = [index.codes.codes_of(index.place(item_id)) for item_id in cart[:2]]
    for row in answer["results"]:
        shared = [
            next((level for level, (a, b) in enumerate(zip(one, parse(row["semantic_id"]), strict=True)) if a != b), 4) for one in codes
        ]
        assert row["cart_level"] == max(shared)
    assert answer["context"]["cart"] == {"sent": 3, "known": 2}
    assert answered(desk, asked())[0]["results"][0]["cart_level"] is None


@pytest.mark.usefixtures("no_stock")
def test_the_beams_are_told_where_they_are_asked_for(desk: Retrieving) -> None:
    assert "beams" not in answered(desk, asked())[0]
    answer = answered(desk, asked(explain=True, k=20, beams=20))[0]
    beams = answer["beams"]
    assert [sum(beam["level"] == level for beam in beams) for level in (1, 2, 3, 4)][-1] == 20
    prefixes = {beam["prefix"]: beam["log_probability"] for beam in beams}
    for beam in beams:
        before = beam["prefix"].rpartition("_")[0]
        assert not before or prefixes[before] >= beam["log_probability"] - 1e-3
    assert {row["semantic_id"] for row in answer["results"]} <= {beam["prefix"] for beam in beams if beam["level"] == 4}
    assert answered(desk, asked(parts=(CR,), explain=True))[0]["beams"] == []


@pytest.mark.usefixtures("no_stock")
def test_temperature_draws_and_diversity_spreads(desk: Retrieving) -> None:
    plain = ids(answered(desk, asked(k=5, beams=5))[0])
    drawn = {tuple(ids(answered(desk, asked(k=5, beams=5, temperature=5.0))[0])) for _ in range(6)}
    assert len(drawn) > 1
    assert ids(answered(desk, asked(k=5, beams=5))[0]) == plain
    rows = answered(desk, asked(k=20))[0]["results"], answered(desk, asked(k=20, diversity=50.0))[0]["results"]
    codes = [np.array([parse(row["semantic_id"]) for row in each]) for each in rows]
    near, far = (np.cumprod(codes_KL[:, None] == codes_KL, axis=2).sum(2).mean() for codes_KL in codes)
    assert far < near


@pytest.mark.usefixtures("no_stock")
def test_only_the_culprit_fails(desk: Retrieving) -> None:
    good, bad, absent = desk.answer([asked(), asked(fields=("cost",)), asked(release="precision@v0009")])
    assert isinstance(good, dict)
    assert isinstance(bad, Problem)
    assert bad.kind == "invalid-request"
    assert isinstance(absent, Problem)
    assert absent.status == 503


def test_questions_of_like_length_share_a_batch_within_the_budget(desk: Retrieving) -> None:
    questions = [asked(beams=beams) for beams in (10, 500, 20, 600, 15, 550, 2000)]
    batches = [[questions[number].beams for number in batch] for batch in desk._batches(questions)]
    assert batches == [[10, 15, 20], [500, 550], [600], [2000]]


def test_of_versions_that_were_replaced_the_last_two_stay(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path))
    desk = Retrieving(shop.workspace, ItemIndex(shop.workspace, ["precision"], {"precision": 3}), torch.device("cpu"), 4096, False)
    manifest = load_manifest(shop.workspace, RELEASE)
    labels = [publish_untrained(shop.workspace, manifest, {"north": []}, name="other").label for _ in range(4)]
    for label in labels:
        desk.load(RELEASE, ["cr@v0001", label])
    assert [label for _, label in desk.loaded] == [*labels[1:3], "cr@v0001", labels[3]]
    assert ids(answered(desk, asked(parts=((labels[3], "other", 1.0),), k=3))[0])
