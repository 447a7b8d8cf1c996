"""What stands behind the ingress changes or dies while surfaces go on asking."""

import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest
from released import Shop
from served import Endpoint, asking, replica, wait_for
from untrained_retriever import publish_untrained

from shelfcode.releases.promotion import promote, roll_back

PRODUCTS = [{"title": "Oat Drink Barista 1 l"}, {"title": "Penne Rigate 500 g", "brand": "Pasta Nonna"}, {"title": "Glass cleaner lemon"}]
RELEASES = ("precision@v0001", "precision@v0002")


@pytest.fixture(autouse=True)
def _put_back(endpoint: Endpoint, shop: Shop) -> Iterator[None]:
    """v0002 is current again, and live."""
    yield
    if json.loads(shop.workspace.read_bytes("releases/precision/CURRENT"))["version"] != "v0002":
        promote(shop.workspace, "precision@v0002")
    wait_for(endpoint, "precision@v0002")


def ids(endpoint: Endpoint) -> tuple[set[str], list[str]]:
    """The releases that an answer names, and its semantic IDs."""
    answer = endpoint.ask("/v1/surfaces/search/encode", {"products": PRODUCTS})
    assert answer.status == 200, answer.text
    told = answer.json
    return {told["targets"][0]["release"], *(result["release"] for result in told["results"])}, [
        each["semantic_id"] for each in told["results"]
    ]


def test_ten_promotions_under_load_fail_no_request_and_mix_no_releases(endpoint: Endpoint, shop: Shop) -> None:
    right = {}
    for release in RELEASES:
        promote(shop.workspace, release)
        wait_for(endpoint, release)
        right[release] = ids(endpoint)[1]
    assert right[RELEASES[0]] != right[RELEASES[1]]
    with asking(partial(ids, endpoint), 4) as seen:
        for turn in range(10):
            promote(shop.workspace, RELEASES[turn % 2])
            wait_for(endpoint, RELEASES[turn % 2])
    answered = [(next(iter(releases)), codes) for releases, codes in seen if len(releases) == 1]
    assert len(answered) == len(seen)
    assert all(codes == right[release] for release, codes in answered)
    assert {release for release, _ in answered} == set(RELEASES)


def test_a_roll_back_reaches_the_replicas_and_both_releases_can_be_read_meanwhile(endpoint: Endpoint, shop: Shop) -> None:
    promote(shop.workspace, RELEASES[0])
    wait_for(endpoint, RELEASES[0])
    assert roll_back(shop.workspace, "precision").name == RELEASES[1]
    wait_for(endpoint, RELEASES[1])
    item_id = shop.products["item_id"][20].as_py()
    for release in RELEASES:
        told = endpoint.ask(f"/v1/items/{item_id}?release={release}").json
        assert [each["release"] for each in told["semantic_ids"]] == [release]


@pytest.mark.parametrize("damage", ["model.safetensors", "semantic_ids/part-000000.parquet"])
def test_a_damaged_release_is_refused_and_the_old_one_goes_on(endpoint: Endpoint, shop: Shop, damage: str) -> None:
    broken = shop.release("precision", seed=3, make_current=False)
    publish_untrained(shop.workspace, broken, {})
    path = f"{broken.folder}/{damage}"
    shop.workspace.write_bytes(path, shop.workspace.read_bytes(path)[:-200])
    shop.workspace.write_json("releases/precision/CURRENT", {"version": broken.version, "previous": "v0002"})
    told = endpoint.until("/v1/ready", lambda told: "precision" in told["problems"])
    assert told["ready"] is True
    assert told["live"]["precision"] == RELEASES[1]
    assert broken.name in told["problems"]["precision"]
    assert damage.split("/")[0] in told["problems"]["precision"]
    assert ids(endpoint)[0] == {RELEASES[1]}
    shop.workspace.write_json("releases/precision/CURRENT", {"version": "v0002", "previous": None})
    endpoint.until("/v1/ready", lambda told: not told["problems"])


@pytest.mark.parametrize("part", ["item-index", "surfaces"])
def test_a_killed_replica_is_back_and_the_requests_after_it_are_answered(endpoint: Endpoint, part: str) -> None:
    victim = replica(endpoint, part)
    before = ids(endpoint)
    os.kill(victim.pid, signal.SIGKILL)
    end = time.monotonic() + 300
    while True:  # what was in flight, and what comes before HAProxy knows that its only ingress is gone, may be lost
        answer = endpoint.ask("/v1/surfaces/search/encode", {"products": PRODUCTS})
        found = endpoint.ask("/v1/surfaces/search/similar", {"product": PRODUCTS[0]})
        if answer.status == found.status == 200:
            break
        assert time.monotonic() < end, (answer, found)
        time.sleep(0.1)
    assert ids(endpoint) == before
    assert replica(endpoint, part, besides=victim.pid).is_running()


def test_the_death_of_an_encoder_loses_no_request(endpoint: Endpoint) -> None:
    victim, encoded = replica(endpoint, "flavor-precision"), ids(endpoint)
    with asking(partial(ids, endpoint), 4) as seen:
        while len(seen) < 20:
            time.sleep(0.05)
        os.kill(victim.pid, signal.SIGKILL)
        before = len(seen)
        while len(seen) < before + 40:
            time.sleep(0.05)
    assert ids(endpoint) == encoded
    assert replica(endpoint, "flavor-precision", besides=victim.pid).is_running()
