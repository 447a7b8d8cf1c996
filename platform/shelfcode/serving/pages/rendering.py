"""Pages as HTML: the templates, and the headers that let a page load nothing but itself.

A page is one answer: its style and script are in it, and it asks for nothing else, so that it looks the same without internet.
"""

import secrets
from collections.abc import Mapping
from functools import cache, partial
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from shelfcode.serving.api.http_wire import problem_headers, request_id
from shelfcode.text import cut

TITLE_CHARACTERS = 110
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src {images}; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def page(
    request: Request, template: str, status: int = 200, images: str = "data:", templates: Environment | None = None, **values: object
) -> Response:
    """A template as an answer. Whatever `values` hold is shown as text.

    Args:
        images: where pictures may come from, as Content-Security-Policy writes it.
        templates: of another room; those of this one where it is None.
    """
    nonce, root = secrets.token_urlsafe(16), root_of(request)
    html = (templates or environment()).get_template(template).render(nonce=nonce, root=root, link=partial(address, root), **values)
    headers = {
        "Content-Security-Policy": POLICY.format(nonce=nonce, images=images),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "X-Request-Id": request_id(request),
        **problem_headers(status),
    }
    return HTMLResponse(html, status, headers)


def root_of(request: Request) -> str:
    """What stands before the application's own paths: nothing, or a prefix such as `/shelfcode`."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def address(root: str, **fields: object) -> str:
    """The address of a view of /explore; fields that are empty or 0 are left out, and a list is a field for each of its values."""
    given: Mapping[str, object] = {name: value for name, value in fields.items() if value}
    return f"{root}/explore" + (f"?{urlencode(given, doseq=True)}" if given else "")


@cache
def environment() -> Environment:
    """The templates of this room, among them the frame around all pages."""
    environment = Environment(
        loader=PackageLoader("shelfcode.serving.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
    environment.filters["count"] = "{:,}".format
    return environment


def _short(text: str | None, characters: int = TITLE_CHARACTERS) -> str:
    """A text cut so that it does not break the layout; a product without a title is shown as such."""
    if not text:
        return "(no title)"
    return text if len(text) <= characters else cut(text, characters) + " …"
