"""The next page is one link away, of the same release, and the last page has none."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from shelfcode.serving.api.paging import item_links, prefix_links

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
