"""An endpoint of canned answers, for pages: no model, no index, no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from shelfcode.serving.api.access import Gate, key_hash
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage, Question
from shelfcode.serving.api.requests import SimilarRequest, read_product
from shelfcode.serving.api.retrieve_requests import RetrieveRequest
from shelfcode.serving.api.sessions import visitor
from shelfcode.serving.pages.site import Site
from shelfcode.serving.routing import Target, route_of, targets
from shelfcode.serving.surface_settings import KeySettings, SurfaceSettings

NASTY = "<script>window.hit = 1</script>"
NASTY_ID = 'a/b "c"&?#<i>'
GOOD, LIMITED, DISABLED, OF_A_SHOP = "shelf_good", "shelf_limited", "shelf_disabled", "shelf_of_a_shop"
KEYS = [
    {"name": "team", "sha256": key_hash(GOOD)},
    {"name": "search team", "sha256": key_hash(LIMITED), "surfaces": ["search"]},
    {"name": "gone", "sha256": key_hash(DISABLED), "disabled": True},
    {"name": "shop 7", "sha256": key_hash(OF_A_SHOP), "surfaces": ["search"], "retailers": ["7"], "columns": ["brand"]},
]
TITLES = {NASTY_ID: NASTY, "x": "Penne Rigate"}
"""item_id -> title of the products that are known."""
ROUTES = {"search": "precision", "homepage": "discovery", "inspiration": {"blend": {"discovery": 0.7, "precision": 0.3}}}


@dataclass
class Releases:
    """What is live, and what is wrong."""

    live: dict[str, str] = field(default_factory=lambda: {"precision": "precision@v0002", "discovery": "discovery@v0001"})
    problems: dict[str, str] = field(default_factory=dict)
    ready: bool = True


class Canned:
    """An endpoint that knows two products and answers without a model."""

    def __init__(self, auth: str = "none", more: Mapping[str, Any] | None = None, **limits: float) -> None:
        keys = KEYS if auth == "keys" else []
        self.settings = SurfaceSettings.model_validate({"surfaces": ROUTES, "auth": auth, "keys": keys, "limits": limits, **(more or {})})
        self.gate, self.releases, self.asked = Gate.of(self.settings), Releases(), list[Question]()
        self.workspace = "nowhere"
        self.carts = CannedCarts(self)
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
            if question.item_id not in TITLES:
                raise Problem("unknown-item", f"{question.releases[0]} has no item_id {question.item_id!r}")
            ids = [{"semantic_id": "1_2", "codes": [1, 2], "release": release} for release in question.releases]
            product = {"title": TITLES[question.item_id], "brand": None, "category_path": ["<i>Root"]}
            return {"product": {name: value for name, value in product.items() if name in question.columns}, "semantic_ids": ids}
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


@dataclass(frozen=True)
class CannedSide:
    """What answers a cart."""

    name: str
    release: str
    parts: tuple[tuple[str, str, float], ...] = ()
    share: float = 1.0

    @property
    def retrievers(self) -> dict[str, str]:
        return {name: version for version, name, _ in self.parts}


GENERATOR, CR = ("generator@v0002", "generator", 1.0), ("cr@v0001", "cr", 1.0)
SIDES = {"generator": (GENERATOR,), "cr": (CR,), "blend": (GENERATOR, CR), "similar": ()}
AS_SET = {"search": "generator", "homepage": "blend"}
"""Surface -> what it is set to, where that is no retriever's business alone."""
STEPS = {"1": 0.6, "2": 0.3, "1_2": 0.4, "1_3": 0.15, "2_2": 0.2}
"""Prefix that the generator followed -> its probability."""


class CannedCarts:
    """Answers carts by a list for each way of answering.

    Attributes:
        names: what is held side by side.
        failures: way of answering -> what it fails with.
        steps: what the generator followed.
    """

    def __init__(self, canned: Canned) -> None:
        self.canned, self.asked, self.names = canned, list[tuple[str, str, RetrieveRequest, tuple[str, ...], bool]](), list(SIDES)
        self.failures: dict[str, Exception] = {}
        self.steps: dict[str, float] = STEPS

    def compared(self) -> list[str]:
        return self.names

    def side_of(self, surface: str, user_key: str, only: str | None = None) -> CannedSide:
        name = only or AS_SET.get(surface, "similar")
        return CannedSide(name, self.canned.targets(surface, user_key)[0].release, SIDES[name] if name in self.names else ())

    async def retailers(self, caller: KeySettings) -> list[str]:
        if "retailers" in self.failures:
            raise self.failures["retailers"]
        return ["7", NASTY] if caller.retailers is None else list(caller.retailers)

    async def retrieve(
        self, surface: str, side: CannedSide, request: RetrieveRequest, columns: tuple[str, ...], request_id: str, shown: bool = True
    ) -> dict[str, Any]:
        self.asked.append((surface, side.name, request, columns, shown))
        if side.name in self.failures:
            raise self.failures[side.name]
        rows = [row for row in self._rows(side, columns) if row["item_id"] not in request.cart]
        return {
            "surface": surface, "request_id": request_id, "release": side.release, "side": side.name, "retrievers": side.retrievers,
            "fallbacks": [] if side.parts else ["no_retriever", "similar"], "results": rows[: request.k],
            **self._came_about(side, request),
        }  # fmt: skip

    def _rows(self, side: CannedSide, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        known = [_row(title, item_id) for item_id, title in TITLES.items()]
        rows = [*known, _row(f"only {side.name}", side.name)]
        seen = [{name: value for name, value in row.items() if name not in ("title", "brand") or name in columns} for row in rows]
        return [{**row, "score": -0.5, "cart_level": 1, "proposed_by": "+".join(side.retrievers) or "similar"} for row in seen]

    def _came_about(self, side: CannedSide, request: RetrieveRequest) -> dict[str, Any]:
        counts = {"catalog": 1200, "at_retailer": 300, "passed_filters": 290, "open": 288, "beams": None}
        if not side.parts:
            return {"counts": counts}
        beams = {"legal": 3, "products": 40, "not_in_stock": 5, "filtered": 4, "in_cart_or_excluded": 2}
        context = {
            "cart": {"sent": len(request.cart), "known": len(request.cart)}, "session": {"sent": 0, "known": 0},
            "history": {"sent": len(request.history), "used": 0}, "retailer_trained": False, "surface_trained": True,
        }  # fmt: skip
        followed = [
            {"retriever": "generator@v0002", "level": prefix.count("_") + 1, "prefix": prefix, "log_probability": log(probability)}
            for prefix, probability in self.steps.items()
        ]
        generates = "generator" in side.retrievers
        told = {"beams": followed if generates else []} if request.explain else {}
        return {"counts": {**counts, "beams": beams if generates else None}, "context": context, **told}


def application(canned: Canned) -> FastAPI:
    """The pages on their addresses, as the ingress has them."""
    api, pages = FastAPI(title="Shelfcode"), Site(canned, canned.carts, canned.enter, (ConnectionError,))  # type: ignore[arg-type]

    for path, method, answer in (("/explore", "GET", pages.explore), ("/explore", "POST", pages.posted), ("/docs-page", "GET", pages.docs)):
        api.add_api_route(path, answer, methods=[method], include_in_schema=False, response_model=None)
    api.add_api_route("/", pages.root, include_in_schema=False, response_model=None)
    return api


def browser(canned: Canned, **kept: Any) -> TestClient:
    return TestClient(application(canned), follow_redirects=False, **kept)
