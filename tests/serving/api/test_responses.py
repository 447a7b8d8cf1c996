"""Answers fit the shapes that the API shows, and each page leads to the next, of the same release."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from pydantic import ValidationError
from released import Shop

from shelfcode.serving.api.item_index import ItemIndex
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage, Question
from shelfcode.serving.api.responses import ItemResponse, PrefixResponse, SimilarProduct, SurfacesResponse, item_links, prefix_links

RELEASES = ("precision@v0002", "discovery@v0002")


@pytest.fixture(scope="module")
def index(shop: Shop) -> ItemIndex:
    index = ItemIndex(shop.workspace, ["precision", "discovery"], {"precision": 2, "discovery": 2})
    for release in RELEASES:
        index.keep(index.load(release))
    return index


def answer(index: ItemIndex, question: Question) -> Any:
    return index.answer(question, [index.prepared[release] for release in question.releases])


@pytest.mark.parametrize("releases", [RELEASES[:1], RELEASES])
def test_neighbours_are_products_as_a_similar_response_shows_them(index: ItemIndex, releases: tuple[str, ...]) -> None:
    parts = tuple((release, 1 / len(releases)) for release in releases)
    for row in answer(index, Neighbours(parts, None, "SKU-0000011", 5, 0, (), None, (), ("title", "price", "dietary_tags"))):
        told = SimilarProduct.model_validate(row)
        assert (told.distance is None, told.score is None) == (len(releases) > 1, len(releases) == 1)
        assert set(told.model_extra or {}) == {"title", "price", "dietary_tags"}


def test_an_item_with_its_links_is_an_item_response(index: ItemIndex) -> None:
    told = item_links(answer(index, ItemPage("SKU-0000011", RELEASES, 0, 2)), "http://h/v1/items/SKU-0000011", 2)
    assert ItemResponse.model_validate({"request_id": "r", **told}).item_id == "SKU-0000011"


@pytest.mark.parametrize("prefix", ["", "0"])
def test_a_prefix_with_its_links_is_a_prefix_response(index: ItemIndex, prefix: str) -> None:
    told = prefix_links(answer(index, PrefixPage(RELEASES[0], prefix, 0, 0, 2)), "http://h/v1/flavors/precision/prefixes", 2)
    read = PrefixResponse.model_validate({"request_id": "r", "flavor": "precision", **told})
    assert (read.children.first, read.products.first) == (0, 0)
    assert read.products.next


def test_a_field_that_the_shape_does_not_have_is_an_error() -> None:
    with pytest.raises(ValidationError, match="colour"):
        SurfacesResponse.model_validate({"surfaces": [], "default": None, "live": {}, "colour": "red"})


# Links.


PATH = "/shelf/v1/flavors/precision/prefixes/6_19"


def prefix_page(children: tuple[int, int, int], products: tuple[int, int, int], path: str = PATH) -> dict[str, Any]:
    """A page of (total, from, shown) of each."""
    told = {
        "release": "precision@v0002",
        "children": {"total": children[0], "from": children[1], "prefixes": [{}] * children[2]},
        "products": {"total": products[0], "from": products[1], "products": [{}] * products[2]},
    }
    return prefix_links(told, path, 2)


def query(link: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(link).query))


def test_both_lists_of_a_prefix_lead_on_and_neither_moves_the_other() -> None:
    told = prefix_page((9, 2, 2), (8, 4, 2))
    assert query(told["products"]["next"]) == {"release": "precision@v0002", "limit": "2", "children_from": "2", "from": "6"}
    assert query(told["children"]["next"]) == {"release": "precision@v0002", "limit": "2", "from": "4", "children_from": "4"}


def test_a_link_is_a_path_that_keeps_what_stands_before_the_endpoint() -> None:
    link = prefix_page((9, 2, 2), (8, 4, 2))["products"]["next"]
    assert link.startswith("/shelf/v1/flavors/precision/prefixes/6_19?release=precision%40v0002&")


@pytest.mark.parametrize("products", [(8, 6, 2), (2, 0, 2), (0, 0, 0), (8, 8, 0), (8, 100, 0), (7, 6, 1)])
def test_after_the_last_page_there_is_none(products: tuple[int, int, int]) -> None:
    assert prefix_page((0, 0, 0), products)["products"]["next"] is None
    assert prefix_page(products, (0, 0, 0))["children"]["next"] is None


def test_following_the_links_shows_everything_once() -> None:
    link: str | None = PATH
    seen: list[int] = []
    while link:
        first = int(query(link).get("from", 0))
        seen += range(first, min(7, first + 2))
        link = prefix_page((0, 0, 0), (7, first, min(2, 7 - first)))["products"]["next"]
    assert seen == list(range(7))


@pytest.mark.parametrize("item_id", ["a/b", 'a "c"', "ünï/..", "?x=1&y", "<script>", "100%"])
def test_the_links_of_an_item_keep_its_id_and_each_its_own_release(item_id: str) -> None:
    ids = [
        {"release": f"{flavor}@v0001", "sharing": {"total": total, "from": 0, "products": [{}] * 2}}
        for flavor, total in (("a", 5), ("b", 2))
    ]
    told = item_links({"item_id": item_id, "semantic_ids": ids}, f"/shelf/v1/items/{item_id}", 2)
    first, second = (each["sharing"]["next"] for each in told["semantic_ids"])
    assert second is None
    assert urlsplit(first).path == f"/shelf/v1/items/{quote(item_id, safe='')}"
    assert query(first) == {"release": "a@v0001", "limit": "2", "from": "2"}
