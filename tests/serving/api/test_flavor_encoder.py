"""What the endpoint encodes is what was published, a product that cannot be encoded fails alone, and a damaged release changes nothing."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from released import LATENT, Shop, recipe_of

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.semantic_id import Codes, parse
from shelfcode.serving.api.flavor_encoder import FlavorEncoder, product_text
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Encoded, ProductInput
from shelfcode.workspace import Workspace

ROWS = range(0, 400, 13)
OAT = ProductInput("Oat Drink Barista 1 l", None, "Mossy Glen")
GIVEN = {"product_type": "oat drink", "key_ingredients": ["oats"], "dietary_tags": ["vegan"], "format": "carton"}
FOLDER, DIMENSIONS = "releases/precision/v0002", 2 * LATENT


@pytest.fixture(scope="module")
def encoder(shop: Shop) -> FlavorEncoder:
    return FlavorEncoder(shop.workspace, (), 4)


def published(shop: Shop, release: str) -> dict[str, Codes]:
    table = shop.workspace.read_table(f"releases/{release.replace('@', '/')}/semantic_ids/part-000000.parquet")
    return dict(zip(table["item_id"].to_pylist(), map(parse, table["semantic_id"].to_pylist()), strict=True))


def asked(shop: Shop, row: int, **more: Any) -> ProductInput:
    return ProductInput(*(shop.products[name][row].as_py() for name in ("title", "description", "brand")), **more)


def encoded(encoder: FlavorEncoder, release: str, *products: ProductInput) -> list[Encoded]:
    answers = encoder.encode(release, products)
    assert all(isinstance(answer, Encoded) for answer in answers), answers
    return answers  # type: ignore[return-value]


def codes(answers: Sequence[Encoded]) -> list[Codes]:
    return [answer.codes for answer in answers]


# What comes out.


@pytest.mark.parametrize("release", ["precision@v0001", "precision@v0002", "discovery@v0001", "discovery@v0002"])
def test_products_of_the_catalog_get_the_codes_that_were_published(encoder: FlavorEncoder, shop: Shop, release: str) -> None:
    answers = encoded(encoder, release, *(asked(shop, row) for row in ROWS))
    expected = published(shop, release)
    assert codes(answers) == [expected[shop.products["item_id"][row].as_py()] for row in ROWS]
    assert all(len(answer.confidence) == 4 and all(0 <= margin <= 1 for margin in answer.confidence) for answer in answers)
    assert {answer.attributes_from for answer in answers} == {"rules" if release.startswith("discovery") else None}


def test_stored_attributes_give_the_published_codes_whatever_the_text_says(encoder: FlavorEncoder, shop: Shop) -> None:
    folder = shop.workspace.names("attributes")[0]
    rows = shop.workspace.read_table(f"attributes/{folder}/part-0.parquet").to_pylist()
    expected = published(shop, "discovery@v0002")
    stored = [rows[row] for row in ROWS]
    for title in (None, "Something else entirely"):
        answers = encoded(encoder, "discovery@v0002", *(ProductInput(title, None, None, columns, "store") for columns in stored))
        assert codes(answers) == [expected[columns["item_id"]] for columns in stored]
        assert {answer.attributes_from for answer in answers} == {"store"}


@pytest.mark.parametrize("source", ["request", "vllm", "store", None])
def test_attributes_that_come_along_are_taken_and_their_source_is_told(encoder: FlavorEncoder, source: Any) -> None:
    plain, other = encoded(
        encoder, "discovery@v0002", ProductInput("a", None, None, GIVEN, source), ProductInput("b", "c", "d", dict(GIVEN), source)
    )
    assert (plain.codes, plain.confidence) == (other.codes, other.confidence)
    assert plain.attributes_from == (source or "request")


def test_a_raw_view_does_not_look_at_attributes(encoder: FlavorEncoder) -> None:
    plain, other = encoded(encoder, "precision@v0002", OAT, ProductInput(OAT.title, None, OAT.brand, GIVEN, "request"))
    assert plain == other


def test_a_product_gets_the_same_codes_alone_and_among_others(encoder: FlavorEncoder, shop: Shop) -> None:
    products = [asked(shop, row) for row in ROWS]
    together = codes(encoded(encoder, "precision@v0002", *products))
    assert [codes(encoded(encoder, "precision@v0002", product))[0] for product in products[:5]] == together[:5]
    assert codes(encoded(encoder, "precision@v0002", *products[::-1])) == together[::-1]


def test_no_products_are_no_answers(encoder: FlavorEncoder) -> None:
    assert encoder.encode("precision@v0002", []) == []


# Warnings and errors.


@pytest.mark.parametrize(
    ("release", "product", "warnings"),
    [
        ("precision@v0002", OAT, ()),
        ("precision@v0002", ProductInput("Oat", None, None), ("sparse_text",)),
        ("precision@v0002", ProductInput("Oat Drink", None, "Brand"), ()),
        ("precision@v0002", ProductInput("oat drink " * 30, None, None), ("truncated",)),
        ("precision@v0002", ProductInput("x" * 20_000, None, None), ("truncated", "sparse_text")),
        ("discovery@v0002", ProductInput("a", None, None, GIVEN), ()),
        (
            "discovery@v0002",
            ProductInput("a", None, None, {**GIVEN, "key_ingredients": [f"{n} long ingredients " * 3 for n in range(8)]}),
            ("truncated",),
        ),
        (
            "discovery@v0002",
            ProductInput("a", None, None, {"product_type": "oat drink", "key_ingredients": [], "dietary_tags": [], "format": ""}),
            ("no_attributes", "sparse_text"),
        ),
        ("discovery@v0002", ProductInput("Zxqwv", None, None), ("no_attributes", "sparse_text")),
    ],
    ids=repr,
)
def test_what_makes_a_code_doubtful_is_told(encoder: FlavorEncoder, release: str, product: ProductInput, warnings: tuple[str, ...]) -> None:
    assert encoded(encoder, release, product)[0].warnings == warnings


@pytest.mark.parametrize(
    ("release", "product", "told"),
    [
        ("precision@v0002", ProductInput(None, None, None), "title, brand, description are missing or empty"),
        ("precision@v0002", ProductInput("", "", ""), "nothing to encode"),
        ("discovery@v0002", ProductInput(None, "a description", "a brand"), "title is missing"),
        ("discovery@v0002", ProductInput("", None, None), "title is missing"),
        ("discovery@v0002", ProductInput("Oat Drink", None, None, dict.fromkeys(GIVEN)), "nothing to encode"),
    ],
    ids=repr,
)
def test_a_product_that_cannot_be_encoded_fails_alone_in_its_place(
    encoder: FlavorEncoder, release: str, product: ProductInput, told: str
) -> None:
    first, bad, last = encoder.encode(release, [OAT, product, OAT])
    assert isinstance(bad, Problem)
    assert (bad.kind, told in bad.detail) == ("invalid-product", True)
    assert isinstance(first, Encoded)
    assert first == last


class NotFinite:
    """An encoder that fails on some texts."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([np.full(DIMENSIONS, np.nan if "bad" in text else DIMENSIONS**-0.5, np.float32) for text in texts])

    def cuts(self, texts: Sequence[str]) -> list[bool]:
        return [False] * len(texts)


def test_an_embedding_that_is_not_finite_is_an_error_of_its_product(shop: Shop) -> None:
    encoder = FlavorEncoder(shop.workspace, (), 2, load_encoder=lambda *_: NotFinite())
    first, bad, last = encoder.encode("precision@v0002", [OAT, ProductInput("a bad product", None, None), OAT])
    assert isinstance(bad, Problem)
    assert "not finite" in bad.detail
    assert isinstance(first, Encoded)
    assert first == last


def test_every_character_of_a_text_can_be_encoded(encoder: FlavorEncoder) -> None:
    texts = ["\x00", "\u200b\u202e", "🥛" * 50, "a" * 5000, "牛乳 低脂肪", "\U0010ffff x"]
    for release in ("precision@v0002", "discovery@v0002"):
        assert len(encoder.encode(release, [ProductInput(f"Oat {text}", text, text) for text in texts])) == len(texts)


# Views.


def test_a_flavors_own_attributes_come_from_the_request_and_those_it_lacks_are_empty() -> None:
    view = {"kind": "attributes", "attributes": ["product_type", "occasion"]}
    own = {"attributes": {"occasion": {"description": "when", "limit": 2}}}
    recipe = Recipe.model_validate({**recipe_of("discovery").model_dump(), "text_view": view, "extractor": own})
    with_own = product_text(ProductInput("a", None, None, {**GIVEN, "occasion": ["breakfast", "picnic", "dinner"]}), recipe)
    without = product_text(ProductInput("a", None, None, GIVEN), recipe)
    assert not isinstance(with_own, Problem)
    assert not isinstance(without, Problem)
    assert with_own.text == "oat drink. occasion: breakfast, picnic"
    assert without.text == "oat drink"


def test_attributes_beyond_the_limits_are_cut_and_unknown_tags_left_out() -> None:
    given = {
        "product_type": "x",
        "key_ingredients": [f"i{number}" for number in range(50)],
        "dietary_tags": ["Vegan", "tasty"],
        "format": "",
    }
    view = product_text(ProductInput("a", None, None, given), recipe_of("discovery"))
    assert not isinstance(view, Problem)
    assert view.text == f"x. ingredients: {', '.join(f'i{number}' for number in range(8))}. dietary: vegan"


def test_attributes_that_come_with_a_request_are_cleaned_as_extracted_ones_are() -> None:
    odd = {"product_type": " Oat\nDRINK ", "key_ingredients": ["Oats", "oats "], "dietary_tags": ["VEGAN", "vegan"], "format": "Carton"}
    untidy, tidy = (product_text(ProductInput("a", None, None, given), recipe_of("discovery")) for given in (odd, GIVEN))
    assert not isinstance(untidy, Problem)
    assert untidy == tidy


# Releases.


def test_releases_of_the_same_encoder_share_it_and_those_of_another_view_do_not(encoder: FlavorEncoder) -> None:
    first, second, other = (encoder.load(name) for name in ("precision@v0001", "precision@v0002", "discovery@v0002"))
    assert first.encoder is second.encoder
    assert first.quantizer is not second.quantizer
    assert encoder.load("precision@v0001") is first
    assert other.encoder is not first.encoder


def test_those_asked_for_last_stay_and_one_that_went_comes_back(shop: Shop) -> None:
    encoder = FlavorEncoder(shop.workspace, (), 1)
    before = codes(encoded(encoder, "precision@v0001", OAT))
    model = encoder.load("precision@v0001").encoder
    assert encoder.load("precision@v0002").encoder is model  # taken over from the one that has to go
    assert list(encoder.releases) == ["precision@v0002"]
    assert codes(encoded(encoder, "precision@v0001", OAT)) == before
    assert list(encoder.releases) == ["precision@v0001"]


@pytest.mark.parametrize("damage", ["cut off", "nonsense", "gone", "manifest"])
def test_a_damaged_release_is_refused_and_those_that_are_loaded_stay(shop: Shop, tmp_path: Path, damage: str) -> None:
    shutil.copytree(shop.workspace.url, tmp_path / "copy")
    workspace = Workspace(str(tmp_path / "copy"))
    encoder = FlavorEncoder(workspace, (), 4)
    before = encoded(encoder, "precision@v0001", OAT)
    path = f"{FOLDER}/manifest.json" if damage == "manifest" else f"{FOLDER}/model.safetensors"
    whole = workspace.read_bytes(path)
    workspace.remove(path)
    if damage != "gone":
        workspace.write_bytes(path, b"nonsense" if damage == "nonsense" else whole[: len(whole) // 2])
    for use in (encoder.load, lambda release: encoder.encode(release, [OAT])):
        with pytest.raises(ShelfcodeError, match="manifest.json" if damage == "manifest" else "model.safetensors"):
            use("precision@v0002")
    assert encoded(encoder, "precision@v0001", OAT) == before
    assert list(encoder.releases) == ["precision@v0001"]
    workspace.write_bytes(path, whole)
    assert len(encoded(encoder, "precision@v0002", OAT)) == 1


def test_a_release_that_is_not_there_is_refused(encoder: FlavorEncoder) -> None:
    with pytest.raises(ShelfcodeError, match="no release precision@v0099"):
        encoder.load("precision@v0099")


@pytest.mark.parametrize(
    "override", ["encoder.max_tokens=8", "text_view.kind=attributes", "quantizer.latent_size=8", "encoder.dtype=bfloat16"]
)
def test_an_override_that_would_change_what_comes_out_is_refused(shop: Shop, override: str) -> None:
    with pytest.raises(ShelfcodeError, match="frozen"):
        FlavorEncoder(shop.workspace, (override,), 1).load("precision@v0002")


def test_an_override_of_how_the_encoder_is_run_changes_nothing_that_comes_out(encoder: FlavorEncoder, shop: Shop) -> None:
    other = FlavorEncoder(shop.workspace, ("encoder.tokens_per_batch=64", "encoder.cpus_per_actor=1"), 1)
    products = [asked(shop, row) for row in ROWS]
    assert other.load("precision@v0002").recipe.encoder.tokens_per_batch == 64
    assert codes(encoded(other, "precision@v0002", *products)) == codes(encoded(encoder, "precision@v0002", *products))
