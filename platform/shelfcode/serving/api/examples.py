"""Requests that work, over a workspace's own products: what `make serve` prints."""

import json
from shlex import quote

from shelfcode.releases.release import current_name, load_manifest
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.workspace import Workspace


def example_requests(workspace: str, settings: SurfaceSettings, url: str) -> list[str]:
    """Three curl commands: encode a product, find products like one, walk the prefixes. None before there is a release."""
    home = Workspace(workspace)
    surface, route = next(settings.routes())
    release = current_name(home, route.flavors[0])
    if release is None:
        return []
    manifest = load_manifest(home, release)
    item_id = home.read_table(home.parts(f"{manifest.folder}/semantic_ids")[0], columns=["item_id"])["item_id"][0].as_py()
    key = [] if settings.auth == "none" else ["-H", "Authorization: Bearer YOUR_KEY"]

    def curl(path: str, body: object = None) -> str:
        sent = ["-d", json.dumps(body)] if body else []
        return " ".join(["curl", "-s", *map(quote, key), f"{url}{path}", *map(quote, sent)])

    return [
        curl(f"/v1/surfaces/{surface}/encode", {"products": [{"title": "Oat Drink, 1 l"}, {"title": "Penne Rigate 500 g"}]}),
        curl(f"/v1/surfaces/{surface}/similar", {"item_id": item_id, "k": 5}),
        curl(f"/v1/flavors/{route.flavors[0]}/prefixes?limit=5"),
    ]
