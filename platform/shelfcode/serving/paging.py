"""Addresses of the pages that follow. They name the release, so that a promotion in between does not shift what is paged through."""

from typing import Any
from urllib.parse import urlencode, urlsplit


def item_links(told: dict[str, Any], url: str, limit: int) -> dict[str, Any]:
    """An item's answer with the address of the next page of products that share each semantic ID."""
    for each in told["semantic_ids"]:
        page = each["sharing"]
        page["next"] = _next(url, {"release": each["release"], "limit": limit}, "from", page, len(page["products"]))
    return told


def prefix_links(told: dict[str, Any], url: str, limit: int) -> dict[str, Any]:
    """A prefix's answer with the addresses of the next pages of child prefixes and of products."""
    children, products = told["children"], told["products"]
    fixed = {"release": told["release"], "limit": limit}
    children["next"] = _next(url, {**fixed, "from": products["from"]}, "children_from", children, len(children["prefixes"]))
    products["next"] = _next(url, {**fixed, "children_from": children["from"]}, "from", products, len(products["products"]))
    return told


def _next(url: str, fixed: dict[str, Any], name: str, page: dict[str, Any], shown: int) -> str | None:
    """Path and query of the page after one; None after the last. The path alone: what stands before it is the caller's to know."""
    following = page["from"] + shown
    if not shown or following >= page["total"]:
        return None
    return f"{urlsplit(url).path}?{urlencode({**fixed, name: following})}"
