"""Errors as HTTP reports them: problem details of RFC 9457, each kind with a name of its own."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"
KINDS: dict[str, tuple[int, str]] = {
    "malformed-json": (400, "The body is not JSON"),
    "malformed-body": (400, "The body cannot be read"),
    "invalid-request": (422, "The request is not as the API describes it"),
    "too-many-products": (422, "Too many products in one request"),
    "body-too-large": (413, "The body is too large"),
    "body-too-slow": (408, "The body did not arrive in time"),
    "unsupported-encoding": (415, "The body is packed in a way that is not read here"),
    "unknown-host": (421, "This server does not go by this name"),
    "no-key": (401, "A key is needed"),
    "key-not-permitted": (403, "The key does not permit this"),
    "too-many-requests": (429, "Too many requests"),
    "unknown-surface": (404, "No such surface"),
    "unknown-flavor": (404, "No such flavor"),
    "unknown-release": (404, "No such release"),
    "unknown-item": (404, "No such item"),
    "unknown-retailer": (404, "Nothing is known of this retailer"),
    "unknown-prefix": (404, "No product has this prefix"),
    "no-review-store": (404, "No review store is configured"),
    "unknown-audit": (404, "No such audit"),
    "no-impressions": (404, "Nothing is written down here"),
    "availability-from-table": (409, "A table says what retailers have"),
    "no-csrf-token": (403, "The page is out of date"),
    "changed": (409, "It has changed since it was shown"),
    "not-found": (404, "Nothing is here"),
    "method-not-allowed": (405, "This address does not take this method"),
    "invalid-product": (422, "The product cannot be encoded"),
    "no-availability": (422, "No table says what is available where"),
    "not-ready": (503, "No release is loaded"),
    "unavailable": (503, "The server cannot answer now"),
    "internal": (500, "The server failed"),
}
"""Kind of problem -> its status and its title; docs/serving.md lists them."""


class Problem(Exception):  # noqa: N818  RFC 9457 calls it so
    """What went wrong with a request, as its caller is told.

    Args:
        kind: one of KINDS.
        detail: what is wrong and what to do, for this request.
        more: further members of the problem, such as `surfaces`.
    """

    def __init__(self, kind: str, detail: str, **more: Any) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail, self.more = kind, detail, more

    def __reduce__(self) -> tuple[Any, ...]:  # exceptions travel between processes by their arguments, which are positional
        return _rebuilt, (self.kind, self.detail, self.more)

    @property
    def status(self) -> int:
        return KINDS[self.kind][0]

    def body(self, request_id: str | None = None, instance: str | None = None) -> dict[str, Any]:
        """The problem's members, as JSON has them."""
        body = {"type": f"urn:shelfcode:problem:{self.kind}", "title": KINDS[self.kind][1], "status": self.status, "detail": self.detail}
        body |= {name: value for name, value in (("instance", instance), ("request_id", request_id)) if value}
        return body | self.more


def _rebuilt(kind: str, detail: str, more: dict[str, Any]) -> Problem:
    return Problem(kind, detail, **more)


class ProblemDetails(BaseModel):
    """The body of every error, in application/problem+json (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="urn:shelfcode:problem:KIND", examples=["urn:shelfcode:problem:unknown-surface"])
    title: str = Field(description="the same for every problem of a kind")
    status: int = Field(description="the HTTP status", examples=[int(HTTPStatus.NOT_FOUND)])
    detail: str = Field(description="what is wrong with this request, and what to do")
    instance: str | None = Field(None, description="the address that was asked for")
    request_id: str | None = Field(None, description="as in the header X-Request-Id")
