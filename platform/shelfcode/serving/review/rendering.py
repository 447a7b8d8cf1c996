"""Pages of the review as HTML: their templates, which stand in the frame of all pages, and how they write figures and times."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader

from shelfcode.serving.pages.rendering import environment, page, root_of
from shelfcode.serving.review.card_view import STATE_WORDS, VERDICT_WORDS, issue_words

IMAGES = "data: https: http:"
"""Pictures of products stand wherever the catalog says; the browser tells nobody there which page shows them."""


def review_page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page of the review. Whatever `values` hold is shown as text."""
    return page(request, f"review/{template}", status, images=IMAGES, templates=_templates(), live={}, reviews=True, **values)


def review_part(request: Request, template: str, **values: Any) -> str:
    """A part of a page alone, for the script."""
    return _templates().get_template(f"review/{template}").render(root=root_of(request), **values)


@cache
def _templates() -> Environment:
    base = environment()
    assert base.loader is not None
    templates = base.overlay(loader=ChoiceLoader([base.loader, PrefixLoader({"review": PackageLoader("shelfcode.serving.review")})]))
    templates.filters = base.filters | {
        "percent": percent, "amount": amount, "plain": "{:g}".format, "day": day, "moment": moment, "path_text": path_text,
        "issue_words": issue_words, "verdict_words": lambda verdict: VERDICT_WORDS.get(verdict, verdict),
        "state_words": lambda state: STATE_WORDS.get(state, state),
    }  # fmt: skip
    templates.globals = base.globals | {"query": query}
    return templates


def percent(share: float | None) -> str:
    """A share from 0 to 1 in percent, with a digit more where it is small; never 0% or 100% of what is not quite that."""
    if share is None:
        return "-"
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.995 <= share < 1:
        return ">99%" if share >= 0.9995 else f"{share:.1%}"
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def amount(number: float | None) -> str:
    """A number for people: whole from 10 on, with thousands apart."""
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 10 or round(number, 1) == round(number) else f"{number:.1f}"


def day(at: str) -> str:
    """The day of a time as manifests hold it."""
    return at[:10]


def moment(at: datetime) -> str:
    """A time to the minute, in UTC as the store keeps it."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def path_text(path: tuple[str, ...]) -> str:
    """A path as a form carries it."""
    return json.dumps(list(path), ensure_ascii=False)


def query(fields: Mapping[str, object]) -> str:
    """The fields of an address; those that are empty are left out."""
    return urlencode({name: value for name, value in fields.items() if value not in (None, "", 0)})
