"""Requests that work, as `curl` commands: what `make serve` prints, and what the API page offers to try."""

import json
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any
from urllib.parse import quote as url_quote

from shelfcode.releases.release import current_name, load_manifest
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.workspace import Workspace

ENCODE, SIMILAR, PREFIXES = "/v1/surfaces/{surface}/encode", "/v1/surfaces/{surface}/similar", "/v1/flavors/{flavor}/prefixes"
RETRIEVE, CHOSEN = "/v1/surfaces/{surface}/retrieve", "/v1/surfaces/{surface}/chosen"
AVAILABILITY = "/v1/retailers/{retailer_id}/availability"
AUDIT = "/v1/audits/{audit}"
BODIES: Mapping[str, Any] = {
    ENCODE: {"products": [{"title": "Oat Drink, 1 l"}, {"title": "Penne Rigate 500 g"}]},
    SIMILAR: {"product": {"title": "Oat Drink, 1 l"}, "k": 5},
    RETRIEVE: {"cart": ["ITEM_ID"], "retailer_id": "RETAILER_ID", "k": 5},
    CHOSEN: {"request_id": "REQUEST_ID", "item_ids": ["ITEM_ID"], "event": "cart"},
    AVAILABILITY: {"add": ["ITEM_ID"], "remove": []},
    f"{AUDIT}/queue/next": {"count": 1},
    f"{AUDIT}/queue/skip": {"finding_id": "FINDING_ID"},
    f"{AUDIT}/decisions": {"finding_id": "FINDING_ID", "verdict": "keep", "version": 0, "idempotency_key": "MADE_UP"},
    f"{AUDIT}/decisions/bulk": {"pattern_id": "PATTERN_ID", "verdict": "accept", "idempotency_key": "MADE_UP"},
    f"{AUDIT}/adjudications": {"finding_id": "FINDING_ID", "verdict": "keep", "version": 2, "idempotency_key": "MADE_UP"},
    f"{AUDIT}/marks": {"kind": "applied", "finding_ids": ["FINDING_ID"]},
    f"{AUDIT}/settings": {"second_review_share": 0.1},
}
PLACEHOLDERS = {
    "item_id": "ITEM_ID",
    "retailer_id": "RETAILER_ID",
    "prefix": "0",
    "audit": "latest",
    "finding_id": "FINDING_ID",
    "pattern_id": "PATTERN_ID",
}


def example_requests(workspace_url: str, settings: SurfaceSettings, url: str) -> list[str]:
    """Commands over a workspace's own products: encode, what is similar, what goes with one, the prefixes. None without a release."""
    workspace = Workspace(workspace_url)
    surface, route = next(settings.routes())
    release = current_name(workspace, route.flavors[0])
    if release is None:
        return []
    manifest = load_manifest(workspace, release)
    part = workspace.parts(f"{manifest.folder}/semantic_ids")[0]
    item_id = workspace.read_table(part, columns=["item_id"])["item_id"][0].as_py()
    names, with_key = {"surface": surface, "flavor": route.flavors[0]}, settings.auth != "none"
    return [
        curl(url + filled(ENCODE, names), with_key, BODIES[ENCODE]),
        curl(url + filled(SIMILAR, names), with_key, {"item_id": item_id, "k": 5}),
        curl(url + filled(RETRIEVE, names), with_key, {"cart": [item_id], "k": 5}),
        curl(f"{url}{filled(PREFIXES, names)}?limit=5", with_key),
    ]


def filled(path: str, names: Mapping[str, str]) -> str:
    """A path of the API with its parameters filled in, such as a surface that there is."""
    for name, value in {**PLACEHOLDERS, **names}.items():
        path = path.replace(f"{{{name}}}", url_quote(value, safe=""))
    return path


def curl(url: str, with_key: bool, body: Any = None, method: str | None = None) -> str:
    """A command that a shell takes as it stands, but for the key."""
    verb = ["-X", method] if method else []
    key = ["-H", "Authorization: Bearer YOUR_KEY"] if with_key else []
    words: Sequence[str] = [*verb, *key, url, *(["-d", json.dumps(body)] if body else [])]
    return " ".join(["curl", "-s", *map(quote, words)])
