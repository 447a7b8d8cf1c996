"""An endpoint of canned answers, for pages: no model, no index, no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from shelfcode.serving.api.access import Gate, key_hash
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage, Question
from shelfcode.serving.api.requests import SimilarRequest, read_product
from shelfcode.serving.api.sessions import visitor
from shelfcode.serving.pages.site import Site
from shelfcode.serving.routing import Target, route_of, targets
from shelfcode.serving.surface_settings import KeySettings, SurfaceSettings

NASTY = "<script>window.hit = 1</script>"
NASTY_ID = 'a/b "c"&?#<i>'
GOOD, LIMITED, DISABLED = "shelf_good", "shelf_limited", "shelf_disabled"
KEYS = [
    {"name": "team", "sha256": key_hash(GOOD)},
    {"name": "search team", "sha256": key_hash(LIMITED), "surfaces": ["search"]},
    {"name": "gone", "sha256": key_hash(DISABLED), "disabled": True},
]
ROUTES = {"search": "precision", "homepage": "discovery", "inspiration": {"blend": {"discovery": 0.7, "precision": 0.3}}}


@dataclass
class Releases:
    """What is live, and what is wrong."""

    live: dict[str, str] = field(default_factory=lambda: {"precision": "precision@v0002", "discovery": "discovery@v0001"})
    problems: dict[str, str] = field(default_factory=dict)
    ready: bool = True


class Canned:
    """An endpoint that knows one product and answers without a model."""

    def __init__(self, auth: str = "none", more: Mapping[str, Any] | None = None, **limits: float) -> None:
        keys = KEYS if auth == "keys" else []
        self.settings = SurfaceSettings.model_validate({"surfaces": ROUTES, "auth": auth, "keys": keys, "limits": limits, **(more or {})})
        self.gate, self.releases, self.asked = Gate.of(self.settings), Releases(), list[Question]()
        self.workspace = "nowhere"
        self.similar: list[SimilarRequest] = []
        self.shown: list[tuple[str, ...]] = []
        self.failure: Exception | None = None

    def enter(self, request: Request) -> KeySettings:
        caller = visitor(self.gate, request)
        self.gate.admit(caller)
        return caller

    def targets(self, surface: str, routing_key: str) -> list[Target]:
        return targets(route_of(self.settings, surface), self.releases.live, frozenset(self.releases.live.values()), routing_key)

    async def encode(self, targets: Sequence[Target], products: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            _, warnings = read_product(products[0], self.settings.limits)
        except Problem as problem:
            return [{"error": problem.body()}]
        return [{
            "flavor": targets[0].flavor, "release": targets[0].release, "semantic_id": "1_2", "codes": [1, 2], "confidence": [0.75, 0.25],
            "warnings": [*warnings, "sparse_text"], "attributes_from": "rules" if targets[0].flavor == "discovery" else None,
        }]  # fmt: skip

    async def neighbours(self, targets: Sequence[Target], request: SimilarRequest, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        self.similar.append(request)
        self.shown.append(columns)
        row = {**_row("of " + "+".join(target.flavor for target in targets)), "level": 1}
        by_flavor = {target.flavor: {"semantic_id": "1_2", "level": place} for place, target in enumerate(targets)}
        return [row if len(targets) == 1 else {**row, "score": 0.5, "by_flavor": by_flavor}]

    async def ask(self, question: Question) -> Any:
        self.asked.append(question)
        if self.failure:
            raise self.failure
        if isinstance(question, ItemPage):
            if question.item_id != NASTY_ID:
                raise Problem("unknown-item", f"{question.releases[0]} has no item_id {question.item_id!r}")
            ids = [{"semantic_id": "1_2", "codes": [1, 2]}]
            return {"product": {"title": NASTY, "brand": None, "category_path": ["<i>Root"]}, "semantic_ids": ids}
        if isinstance(question, Neighbours):
            return [{**_row(NASTY, NASTY_ID), "level": 2}, {**_row(f"only {question.releases[0]}", question.releases[0]), "level": 1}]
        assert isinstance(question, PrefixPage)
        return _branch(question)


def _row(title: str, item_id: str = "x") -> dict[str, Any]:
    return {"item_id": item_id, "semantic_id": "1_2", "title": title, "brand": "<b>Brand"}


def _branch(page: PrefixPage) -> dict[str, Any]:
    if page.prefix.startswith("9"):
        raise Problem("unknown-prefix", f"{page.release} has no product under {page.prefix!r}")
    level = len(page.prefix.split("_")) if page.prefix else 0
    prefixes = [{"prefix": "1", "products": 60, "label": ["<i>oat", "drink"]}] if level == 0 else []
    return {
        "release": page.release, "prefix": page.prefix, "level": level, "levels": 2, "label": ["<i>oat"], "parent": None,
        "children": {"total": 30, "from": page.children_from, "prefixes": prefixes},
        "products": {"total": 60, "from": page.products_from, "products": [_row(NASTY, NASTY_ID)]},
    }  # fmt: skip


def application(canned: Canned) -> FastAPI:
    """The pages on their addresses, as the ingress has them."""
    api, pages = FastAPI(title="Shelfcode"), Site(canned, canned.enter, (ConnectionError,))  # type: ignore[arg-type]

    for path, method, answer in (("/explore", "GET", pages.explore), ("/explore", "POST", pages.posted), ("/docs-page", "GET", pages.docs)):
        api.add_api_route(path, answer, methods=[method], include_in_schema=False, response_model=None)
    api.add_api_route("/", pages.root, include_in_schema=False, response_model=None)
    return api


def browser(canned: Canned, **kept: Any) -> TestClient:
    return TestClient(application(canned), follow_redirects=False, **kept)
