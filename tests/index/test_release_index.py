"""A release in memory says of its products what its files say, and is refused where they are damaged."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cachetools import LRUCache
from released import SIZES, Shop

from shelfcode.errors import ShelfcodeError
from shelfcode.index.item_store import ItemStore
from shelfcode.index.release_index import (
    TITLES_AROUND,
    TITLES_PER_LABEL,
    ReleaseIndex,
    attributes_folder,
    load_release_index,
    open_release_index,
)
from shelfcode.scratch import scratch_folder
from shelfcode.semantic_id import parse
from shelfcode.workspace import Workspace

NAME, FOLDER = "precision@v0002", "releases/precision/v0002"


@pytest.fixture(scope="module")
def index(shop: Shop) -> ReleaseIndex:
    return load_release_index(shop.workspace, NAME, attributes_folder(shop.workspace, NAME, ["precision", "discovery"]))


@pytest.fixture(scope="module")
def ids(shop: Shop) -> dict[str, str]:
    """item_id -> semantic ID, as published."""
    table = shop.workspace.read_table(f"{FOLDER}/semantic_ids/part-000000.parquet")
    return dict(zip(table["item_id"].to_pylist(), table["semantic_id"].to_pylist(), strict=True))


@pytest.fixture
def copied(shop: Shop, tmp_path: Path) -> Workspace:
    """A workspace of one's own to damage."""
    shutil.copytree(shop.workspace.url, tmp_path / "copy")
    return Workspace(str(tmp_path / "copy"))


def test_every_product_has_the_semantic_id_title_and_place_that_it_should(index: ReleaseIndex, ids: dict[str, str], shop: Shop) -> None:
    for row in shop.products.select(["item_id", "title", "brand"]).to_pylist():
        place = index.place(row["item_id"])
        assert index.product(place, ("title", "brand")) == {**row, "semantic_id": ids[row["item_id"]]}
    assert (index.name, index.catalog, index.codes.sizes) == (NAME, shop.snapshot.fingerprint, tuple(SIZES))


def test_places_are_those_of_products_that_the_release_has(index: ReleaseIndex, ids: dict[str, str]) -> None:
    known = list(ids)[:3]
    assert index.places([*known, "nobody", ""]) == {index.place(item_id) for item_id in known}
    assert index.places([]) == index.places(["nobody"]) == frozenset()
    assert index.place("nobody") == -1


def test_children_come_with_the_largest_first_and_their_products_add_up(index: ReleaseIndex, ids: dict[str, str]) -> None:
    for prefix in ((), (0,), parse(next(iter(ids.values())))[:3]):
        total, children = index.child_prefixes(prefix, 0, 1000)
        written = {child["prefix"]: child["products"] for child in children}
        depth = len(prefix) + 1
        below = [codes[:depth] for codes in map(parse, ids.values()) if codes[: depth - 1] == prefix]
        assert written == {"_".join(map(str, codes)): below.count(codes) for codes in set(below)}
        assert total == len(written)
        assert list(written.values()) == sorted(written.values(), reverse=True)


def test_pages_of_children_are_the_whole_in_pieces(index: ReleaseIndex) -> None:
    total, whole = index.child_prefixes((), 0, 1000)
    pages = [index.child_prefixes((), first, 2) for first in range(0, total + 2, 2)]
    assert {count for count, _ in pages} == {total}
    assert [child for _, page in pages for child in page] == whole


def test_labels_are_words_of_the_titles_below_and_the_root_has_none(index: ReleaseIndex) -> None:
    assert index.label(()) == []
    for child in index.child_prefixes((), 0, 10)[1]:
        prefix = parse(child["prefix"])
        titles = " ".join(index.product(place)["title"].lower() for place in range(*index.codes.places(prefix)))
        assert child["label"] == index.label(prefix)
        assert child["label"]
        assert all(word in titles for word in child["label"])


def test_the_titles_around_the_children_of_a_prefix_are_read_once(index: ReleaseIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 500 of them for each of 500 children took a second of the event loop."""
    expected = index.child_prefixes((), 0, 500)[1]
    fresh, read = replace(index, labels=LRUCache(100), surroundings=LRUCache(100)), []
    values = ItemStore.values
    monkeypatch.setattr(ItemStore, "values", lambda items, row, columns: read.append(row) or values(items, row, columns))
    _, children = fresh.child_prefixes((), 0, 500)
    own = sum(min(child["products"], TITLES_PER_LABEL) for child in children)
    assert len(read) == min(len(index.codes), TITLES_AROUND) + own
    assert fresh.child_prefixes((), 0, 500)[1] == children == expected
    assert len(read) == min(len(index.codes), TITLES_AROUND) + own


def test_attributes_are_a_releases_own_or_those_of_another_flavor_of_the_same_catalog(shop: Shop) -> None:
    own = attributes_folder(shop.workspace, "discovery@v0002", ["discovery"])
    assert own is not None
    assert shop.workspace.parts(own)
    assert attributes_folder(shop.workspace, NAME, ["precision", "discovery"]) == own
    assert attributes_folder(shop.workspace, NAME, ["precision"]) is None


def test_attributes_of_another_catalog_are_not_taken(copied: Workspace) -> None:
    path = "releases/discovery/v0002/manifest.json"
    manifest: dict[str, Any] = copied.read_json(path)
    manifest["catalog"]["snapshot"] = "catalog/another"
    copied.write_json(path, manifest)
    assert attributes_folder(copied, NAME, ["precision", "discovery"]) is None


@pytest.mark.parametrize("part", ["model.safetensors", "semantic_ids/part-000000.parquet", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut off", "nonsense", "empty"])
def test_a_damaged_file_is_told_by_its_name(copied: Workspace, part: str, damage: str) -> None:
    path = f"{FOLDER}/{part}"
    whole = copied.read_bytes(path)
    copied.write_bytes(path, {"cut off": whole[: len(whole) // 2], "nonsense": b"nonsense" * 100, "empty": b""}[damage])
    with pytest.raises(ShelfcodeError, match=part.replace(".", r"\.")):
        load_release_index(copied, NAME, None)
    copied.write_bytes(path, whole)
    assert len(load_release_index(copied, NAME, None).codes) == 400


@pytest.mark.parametrize(("part", "told"), [("model.safetensors", "model"), ("semantic_ids", "holds 0 products"), ("", "no release")])
def test_a_file_that_is_gone_is_told(copied: Workspace, part: str, told: str) -> None:
    copied.remove(f"{FOLDER}/{part}".rstrip("/"))
    with pytest.raises(ShelfcodeError, match=told):
        load_release_index(copied, NAME, None)


def test_codebooks_of_another_size_than_the_recipes_are_refused(copied: Workspace) -> None:
    path = f"{FOLDER}/manifest.json"
    manifest: dict[str, Any] = copied.read_json(path)
    manifest["recipe"]["quantizer"]["codebook_sizes"] = [6, 8, 8, 17]
    copied.write_json(path, manifest)
    with pytest.raises(ShelfcodeError, match=r"codebooks of \[6, 8, 8, 16\] codewords, its recipe \[6, 8, 8, 17\]"):
        load_release_index(copied, NAME, None)


def test_products_that_the_catalog_does_not_have_are_refused(copied: Workspace) -> None:
    path = f"{FOLDER}/semantic_ids/part-000000.parquet"
    table = copied.read_table(path)
    item_ids = ["a stranger", *table["item_id"].to_pylist()[1:]]
    copied.write_table(path, table.set_column(0, "item_id", [item_ids]))
    with pytest.raises(ShelfcodeError, match=r"precision@v0002 has 1 products that its catalog, catalog/sample, does not have"):
        load_release_index(copied, NAME, None)


# On disk.


def test_a_release_is_laid_out_once_and_another_process_maps_it(index: ReleaseIndex, monkeypatch: pytest.MonkeyPatch, shop: Shop) -> None:
    monkeypatch.setattr("shelfcode.index.release_index.write_layout", lambda *_: pytest.fail("it is laid out already"))
    again = load_release_index(shop.workspace, NAME, attributes_folder(shop.workspace, NAME, ["precision", "discovery"]))
    mapped = open_release_index(index.folder)
    for place in range(0, 400, 37):
        assert index.product(place) == again.product(place) == mapped.product(place)
    assert (mapped.name, mapped.catalog, mapped.codes.sizes) == (index.name, index.catalog, index.codes.sizes)
    assert list(mapped.filters.places("title", index.product(5)["title"])) == list(index.filters.places("title", index.product(5)["title"]))
    assert not mapped.codes.row_N.flags.owndata


def test_a_layout_that_was_broken_off_is_made_again(copied: Workspace) -> None:
    folder = load_release_index(copied, NAME, None).folder
    folder.rename(folder.with_name(f"{folder.name}.draft"))
    for part in ("told.json", "row_N.npy"):
        (folder.with_name(f"{folder.name}.draft") / part).unlink()
    assert len(load_release_index(copied, NAME, None).codes) == 400


def test_a_release_of_the_same_name_that_is_another_is_not_mixed_up_with_it(copied: Workspace) -> None:
    before = load_release_index(copied, NAME, None)
    for part in ("model.safetensors", "semantic_ids/part-000000.parquet"):
        copied.write_bytes(f"{FOLDER}/{part}", copied.read_bytes(f"releases/precision/v0001/{part}"))
    copied.write_json(f"{FOLDER}/manifest.json", {**copied.read_json(f"{FOLDER}/manifest.json"), "created": "later"})
    after = load_release_index(copied, NAME, None)
    assert any(before.product(before.place(each)) != after.product(after.place(each)) for each in map(before.item_id, range(50)))


def test_no_more_layouts_of_a_flavor_stay_on_disk_than_so_many(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfcode.index.release_index.LAYOUTS_KEPT", 2)
    manifest, folders = copied.read_json(f"{FOLDER}/manifest.json"), []
    for turn in range(4):
        copied.write_json(f"{FOLDER}/manifest.json", {**manifest, "created": f"{turn}"})
        folders.append(load_release_index(copied, NAME, None).folder)
        os.utime(folders[-1], (turn, turn))
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert {folder.parent for folder in folders} == {scratch_folder()}


def test_a_disk_that_is_full_is_told_with_the_folder(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shelfcode.index.layout.np.save", full)
    with pytest.raises(ShelfcodeError, match=r"SHELFCODE_SCRATCH names another folder.*No space left"):
        load_release_index(copied, NAME, None)
