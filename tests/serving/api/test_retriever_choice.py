"""Which version of a retriever answers with a release: one that speaks its codes, or the release is not served."""

from pathlib import Path

import pytest
from released import Shop, open_shop
from untrained_retriever import publish_untrained

from shelfcode.releases.release import Manifest
from shelfcode.serving.api.retriever_choice import Choice, choose_retrievers, trained_retailers
from shelfcode.versions import move_current


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(str(tmp_path / "ws"), 40, tmp_path / "tiny")


def choose(shop: Shop, release: str, *names: str, translate: bool = False) -> Choice:
    return choose_retrievers(shop.workspace, names, release, translate)


def publish(shop: Shop, manifest: Manifest, name: str = "generator") -> str:
    items = shop.products["item_id"].to_pylist()
    sold = {"north": items[:9], 'so"uth': items[4:20]}
    return publish_untrained(shop.workspace, manifest, sold, "cr" if name == "cr" else "generator", name).label


def test_a_release_moves_only_with_a_retriever_that_speaks_its_codes(shop: Shop) -> None:
    first, second = shop.release("precision", 0), shop.release("precision", 1)
    generator, cr = publish(shop, first), publish(shop, first, "cr")
    assert choose(shop, first.name, "generator", "cr").labels == {"generator": generator, "cr": cr}
    assert choose(shop, second.name, "cr").labels == {"cr": cr}  # which scores products, whatever their codes
    refused = choose(shop, second.name, "cr", "generator")
    assert refused.refusal is not None
    assert "train one on it (jobs/train_retriever.py --name generator --release precision@v0002)" in refused.refusal
    later = publish(shop, second)
    assert choose(shop, second.name, "generator").labels == {"generator": later}
    assert choose(shop, first.name, "generator").labels == {"generator": generator}  # after a rollback, the one that speaks the old codes
    assert choose(shop, first.name, "generator@v0001").labels == {"generator@v0001": generator}
    assert "speaks the codes of precision@v0002" in str(choose(shop, first.name, "generator@v0002").refusal)


def test_the_current_version_comes_first_and_then_the_newest(shop: Shop) -> None:
    first = shop.release("precision", 0)
    labels = [publish(shop, first) for _ in range(3)]
    assert choose(shop, first.name, "generator").labels == {"generator": labels[2]}
    move_current(shop.workspace, "retrievers/generator", "v0001", "rolled back")
    assert choose(shop, first.name, "generator").labels == {"generator": labels[0]}


def test_a_retriever_that_is_not_there_is_told_and_one_of_another_flavor_is_left_to_that(shop: Shop) -> None:
    precision, discovery = shop.release("precision", 0), shop.release("discovery", 0)
    publish(shop, precision)
    missing = choose(shop, precision.name, "generator", "cr", "generator@v0007")
    assert list(missing.labels) == ["generator"]
    assert sorted(missing.without) == ["cr", "generator@v0007"]
    assert "train it with jobs/train_retriever.py --name cr" in missing.without["cr"]
    assert choose(shop, discovery.name, "generator") == Choice()


def test_where_that_is_wanted_a_retriever_goes_on_with_the_codes_that_it_knows(shop: Shop) -> None:
    first, second = shop.release("precision", 0), shop.release("precision", 1)
    generator = publish(shop, first)
    assert choose(shop, second.name, "generator", translate=True).labels == {"generator": generator}  # all products keep their old codes
    assert choose(shop, second.name, "generator").labels == {}


def test_the_retailers_of_some_retrievers_are_told_once_each(shop: Shop) -> None:
    first = shop.release("precision", 0)
    assert trained_retailers(shop.workspace, [publish(shop, first), publish(shop, first, "cr")]) == ["north", 'so"uth']
