"""A review over HTTP: the application that Ray Serve runs on a port of its own, a real audit and a real store; no Ray behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest
from canned import Canned
from compiled_once import open_compiled
from fastapi import Request
from fronted import fronted, listening
from planted_audit import PlantedAudit, plant_audit

from shelfcode.audit.decisions.answers import ReviewSettings
from shelfcode.audit.decisions.desk import Desk
from shelfcode.serving.api.access import key_hash
from shelfcode.serving.review.csrf import new_token
from shelfcode.serving.surface_settings import SessionSettings
from shelfcode.workspace import Workspace

ROLES = {"ann": "reviewer", "bob": "reviewer", "lea": "lead", "surfaces only": "none"}
KEYS = [{"name": name, "sha256": key_hash(name), "review": role} for name, role in ROLES.items()]
KEYS.append({"name": "gone", "sha256": key_hash("gone"), "review": "lead", "disabled": True})
SECRET = "s" * 32


@dataclass(frozen=True)
class Review:
    """A server and what is reviewed there. Keys are called after their owners."""

    url: str
    workspace: Workspace
    planted: PlantedAudit
    store: str

    @property
    def audit(self) -> str:
        return self.planted.manifest.audit

    @property
    def base(self) -> str:
        return f"/v1/audits/{self.audit}"

    def client(self, name: str | None = None, **headers: str) -> httpx2.Client:
        """A tool with somebody's key, or without any."""
        key = {"Authorization": f"Bearer {name}"} if name else {}
        return httpx2.Client(base_url=self.url, headers={**key, **headers}, timeout=120, trust_env=False, verify=False)

    def signed_in(self, name: str) -> httpx2.Client:
        """A browser in which somebody has signed in; it sends no token by itself."""
        client = self.client(Origin=self.url)
        assert client.post("/explore", data={"key": name}).status_code == 303
        return client

    def desk(self) -> Desk:
        """The same store, opened beside the server."""
        return open_compiled(self.store)

    def certain(self) -> "Review":
        """The same, with its audit in the store: no card is drawn by chance, and one opinion is enough."""
        desk = self.desk()
        desk.take_in(self.workspace, self.audit)
        desk.set_review_settings(self.audit, ReviewSettings(second_review_share=0.0, random_share=0.0))
        desk.close()
        return self

    def next(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Findings that somebody is handed."""
        answer = self.client(name).post(f"{self.base}/queue/next", json={"count": count})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["cards"])


@contextmanager
def reviewing(folder: Path, findings: int = 60, **more: Any) -> Iterator[Review]:
    """The review of a planted audit, with `more` settings of the endpoint."""
    workspace, store = Workspace(str(folder / "workspace")), f"sqlite:///{folder / 'review.sqlite'}"
    planted = plant_audit(workspace, findings)
    canned = Canned(
        "keys", {"keys": KEYS, "sessions": {"secret": SECRET}, "review": {"store": store}, **more}, requests_per_second=1_000_000
    )
    canned.workspace = workspace.url
    with pytest.MonkeyPatch.context() as monkeypatch, listening(fronted(canned, monkeypatch)) as port:
        monkeypatch.setattr("shelfcode.serving.review.room.open_desk", open_compiled)
        yield Review(f"http://127.0.0.1:{port}", workspace, planted, store)


def decision(card: dict[str, Any], verdict: str = "keep", **more: Any) -> dict[str, Any]:
    """What is sent to decide a card."""
    shown = {name: card[name] for name in ("finding_id", "version", "arm", "batch")}
    return {**shown, "verdict": verdict, "idempotency_key": uuid4().hex, **more}


def named(name: str) -> dict[str, str]:
    """The header in which somebody says who they are where no keys are asked for."""
    return {"X-Reviewer": quote(name)}


def token_of(browser: httpx2.Client) -> str:
    """The token that a page shows in a browser."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return new_token(SessionSettings(secret=SECRET), Request({"type": "http", "headers": [(b"cookie", cookies.encode())]}))
