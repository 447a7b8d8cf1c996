"""Addresses of the pages that follow. They name the release, so that a promotion in between does not shift what is paged through.

Paths are given as they are meant, without %: an item_id may hold any character.
"""

from typing import Any
from urllib.parse import quote, urlencode


def item_links(told: dict[str, Any], path: str, limit: int) -> dict[str, Any]:
    """An item's answer with the address of the next page of products that share each semantic ID."""
    # A slash of the id is no slash of the path: clients would resolve "..".
    address = quote(path.removesuffix(told["item_id"])) + quote(told["item_id"], safe="")
    for each in told["semantic_ids"]:
        page = each["sharing"]
        page["next"] = _next(address, {"release": each["release"], "limit": limit}, "from", page, len(page["products"]))
    return told


def prefix_links(told: dict[str, Any], path: str, limit: int) -> dict[str, Any]:
    """A prefix's answer with the addresses of the next pages of child prefixes and of products."""
    children, products = told["children"], told["products"]
    fixed = {"release": told["release"], "limit": limit}
    children["next"] = _next(quote(path), {**fixed, "from": products["from"]}, "children_from", children, len(children["prefixes"]))
    products["next"] = _next(quote(path), {**fixed, "children_from": children["from"]}, "from", products, len(products["products"]))
    return told


def _next(address: str, fixed: dict[str, Any], name: str, page: dict[str, Any], shown: int) -> str | None:
    """Path and query of the page after one; None after the last. The path alone: what stands before it is the caller's to know."""
    following = page["from"] + shown
    if not shown or following >= page["total"]:
        return None
    return f"{address}?{urlencode({**fixed, name: following})}"
