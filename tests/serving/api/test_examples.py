"""The requests that are printed at the start work as they are."""

import json
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from released import Shop

from shelfcode.serving.api.access import key_hash
from shelfcode.serving.api.examples import example_requests
from shelfcode.serving.api.requests import read_encode_request, read_product, read_similar_request
from shelfcode.serving.api.retrieve_requests import read_retrieve_request
from shelfcode.serving.surface_settings import SurfaceSettings

URL = "http://127.0.0.1:8000"
OPEN = SurfaceSettings.model_validate({"surfaces": {"search": "precision"}, "auth": "none"})
LOCKED = SurfaceSettings.model_validate(
    {"surfaces": {"inspiration": {"blend": {"discovery": 1, "precision": 1}}}, "keys": [{"name": "a", "sha256": key_hash("shelf_a")}]}
)


def test_four_requests_are_read_back_by_a_shell_and_are_what_the_endpoint_takes(shop: Shop) -> None:
    encode, similar, retrieve, prefixes = (shlex.split(line) for line in example_requests(shop.workspace.url, OPEN, URL))
    assert encode[:4] == ["curl", "-s", f"{URL}/v1/surfaces/search/encode", "-d"]
    for product in read_encode_request(encode[4].encode(), OPEN.limits).products:
        assert read_product(product, OPEN.limits)[1] == []
    assert similar[:4] == ["curl", "-s", f"{URL}/v1/surfaces/search/similar", "-d"]
    asked = read_similar_request(similar[4].encode(), OPEN.limits)
    assert asked.item_id in shop.products["item_id"].to_pylist()
    assert retrieve[:4] == ["curl", "-s", f"{URL}/v1/surfaces/search/retrieve", "-d"]
    assert read_retrieve_request(retrieve[4].encode(), OPEN.limits).cart == [asked.item_id]
    assert prefixes == ["curl", "-s", f"{URL}/v1/flavors/precision/prefixes?limit=5"]


def test_where_keys_are_wanted_the_requests_say_where_yours_goes(shop: Shop) -> None:
    lines = [shlex.split(line) for line in example_requests(shop.workspace.url, LOCKED, URL)]
    assert [line[2:4] for line in lines] == [["-H", "Authorization: Bearer YOUR_KEY"]] * 4
    assert [urlsplit(line[4]).path.split("/")[3] for line in lines] == ["inspiration", "inspiration", "inspiration", "discovery"]
    assert json.loads(lines[0][6])["products"]


@pytest.mark.parametrize("settings", [OPEN, LOCKED])
def test_before_there_is_a_release_there_are_none(tmp_path: Path, settings: SurfaceSettings) -> None:
    assert example_requests(str(tmp_path), settings, URL) == []
