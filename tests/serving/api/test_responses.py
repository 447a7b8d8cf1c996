"""Answers fit the shapes that the API shows."""

import pytest
from pydantic import ValidationError
from released import Shop

from shelfcode.serving.api.item_index import ItemIndex
from shelfcode.serving.api.paging import item_links, prefix_links
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage
from shelfcode.serving.api.responses import ItemResponse, PrefixResponse, SimilarProduct, SurfacesResponse

RELEASES = ("precision@v0002", "discovery@v0002")


@pytest.fixture(scope="module")
def index(shop: Shop) -> ItemIndex:
    index = ItemIndex(shop.workspace, ["precision", "discovery"], 4)
    for release in RELEASES:
        index.releases[release] = index.load(release)
    return index


@pytest.mark.parametrize("releases", [RELEASES[:1], RELEASES])
def test_neighbours_are_products_as_a_similar_response_shows_them(index: ItemIndex, releases: tuple[str, ...]) -> None:
    parts = tuple((release, 1 / len(releases)) for release in releases)
    for row in index.answer(Neighbours(parts, None, "SKU-0000011", 5, 0, (), None, (), ("title", "price", "dietary_tags"))):
        told = SimilarProduct.model_validate(row)
        assert (told.distance is None, told.score is None) == (len(releases) > 1, len(releases) == 1)
        assert set(told.model_extra or {}) == {"title", "price", "dietary_tags"}


def test_an_item_with_its_links_is_an_item_response(index: ItemIndex) -> None:
    told = item_links(index.answer(ItemPage("SKU-0000011", RELEASES, 0, 2)), "http://h/v1/items/SKU-0000011", 2)
    assert ItemResponse.model_validate({"request_id": "r", **told}).item_id == "SKU-0000011"


@pytest.mark.parametrize("prefix", ["", "0"])
def test_a_prefix_with_its_links_is_a_prefix_response(index: ItemIndex, prefix: str) -> None:
    told = prefix_links(index.answer(PrefixPage(RELEASES[0], prefix, 0, 0, 2)), "http://h/v1/flavors/precision/prefixes", 2)
    read = PrefixResponse.model_validate({"request_id": "r", "flavor": "precision", **told})
    assert (read.children.first, read.products.first) == (0, 0)
    assert read.products.next


def test_a_field_that_the_shape_does_not_have_is_an_error() -> None:
    with pytest.raises(ValidationError, match="colour"):
        SurfacesResponse.model_validate({"surfaces": [], "default": None, "live": {}, "colour": "red"})
