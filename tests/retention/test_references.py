"""Which releases stay and why, and what they refer to."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shelf import ATTRIBUTES, DAY, EMBEDDINGS, Shelf

from shelfcode.errors import ShelfcodeError
from shelfcode.quantization.semantic_ids import write_coded_texts
from shelfcode.releases.promotion import promote
from shelfcode.releases.release import Manifest
from shelfcode.retention.references import KeepRules, Kept, check_workspace, choose_kept, coded_texts, table_uses
from shelfcode.retention.stored_files import take_inventory
from shelfcode.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def choose(workspace: Workspace, newest: int = 1, older_than: float = 0, **named: tuple[str, ...]) -> Kept:
    return choose_kept(workspace, KeepRules(newest, older_than, **named), take_inventory(workspace))


def test_the_newest_the_current_and_the_one_before_stay(workspace: Workspace, publish_small: Callable[..., Manifest]) -> None:
    for make_current in (True, True, True, True, False, False):
        publish_small(workspace, make_current)
    promote(workspace, "small@v0001")
    kept = choose(workspace, newest=1)
    assert kept.why == {"small@v0001": "current", "small@v0004": "current before", "small@v0006": "of the newest 1"}
    assert [manifest.name for manifest in kept.going] == ["small@v0002", "small@v0003", "small@v0005"]
    assert list(choose(workspace, newest=2).why) == ["small@v0001", "small@v0004", "small@v0005", "small@v0006"]
    assert choose(workspace, newest=6).going == []


def test_what_is_named_or_pinned_stays_and_an_unknown_name_is_an_error(
    workspace: Workspace, publish_small: Callable[..., Manifest]
) -> None:
    for _ in range(5):
        publish_small(workspace)
    kept = choose(workspace, named=("small@v0001",), pinned=("small@v0002",))
    assert [manifest.name for manifest in kept.going] == ["small@v0003"]
    assert (kept.why["small@v0001"], kept.why["small@v0002"]) == ("--keep", "--surfaces")
    with pytest.raises(ShelfcodeError, match=r"--keep: no release small@v0009 in .*; there are small@v0001, small@v0002, small@v0003"):
        choose(workspace, named=("small@v0001", "small@v0009"))
    with pytest.raises(ShelfcodeError, match=r"--surfaces: no release large@v0001 in .*; there are small@v0001"):
        choose(workspace, pinned=("large@v0001",))


def test_a_release_that_is_too_young_to_go_stays_with_all_that_it_refers_to(tmp_path: Path, publish_small: Callable[..., Manifest]) -> None:
    shelf = Shelf(Workspace(str(tmp_path)), publish_small)
    releases = [shelf.night() for _ in range(4)]
    shelf.age(8)
    Path(shelf.workspace.path(f"{releases[1].folder}/report.html")).write_text("written again")
    kept = choose(shelf.workspace, older_than=7 * DAY)
    assert kept.why["small@v0002"] == "too young to go"
    assert [manifest.name for manifest in kept.going] == ["small@v0001"]


def test_a_release_that_a_retriever_was_trained_on_stays(workspace: Workspace, publish_small: Callable[..., Manifest]) -> None:
    for _ in range(4):
        publish_small(workspace)
    for version, release in (("v0001", "small@v0001"), ("v0002", "small@v0004"), ("v0003", "gone@v0009")):
        card = {"name": "mine", "version": version, "release": release, "figures": {"recall@20": 0.2}}
        workspace.write_json(f"retrievers/mine/{version}/manifest.json", card)
    workspace.write_bytes("retrievers/mine/v0004/model.safetensors", b"of a publication that was killed")
    kept = choose(workspace)
    assert kept.why == {"small@v0001": "mine@v0001 was trained on it", "small@v0003": "current before", "small@v0004": "current"}
    assert [manifest.name for manifest in kept.going] == ["small@v0002"]
    assert [each.version for each in kept.retrievers] == ["v0001", "v0002", "v0003"]
    workspace.write_json("retrievers/mine/v0002/manifest.json", {"name": "mine", "version": "v0002"})
    with pytest.raises(ShelfcodeError, match=r"retrievers/mine/v0002/manifest\.json is damaged"):
        choose(workspace)


def test_each_flavor_has_its_own_newest(shelf: Shelf, publish_small: Callable[..., Manifest]) -> None:
    first, _, third = (shelf.night() for _ in range(3))
    other = first.model_copy(update={"flavor": "other"})
    shelf.workspace.write_json("releases/other/v0001/manifest.json", other.model_dump(mode="json"))
    kept = choose(shelf.workspace)
    assert kept.why["other@v0001"] == "of the newest 1"
    assert [manifest.name for manifest in kept.going] == [first.name]
    assert kept.why[third.name] == "current"


def test_tables_are_used_by_those_that_embed_and_those_that_extract(shelf: Shelf) -> None:
    raw, extracted = shelf.night(), shelf.night(view="attributes")
    uses = table_uses([raw, extracted], take_inventory(shelf.workspace))
    assert uses.users == {EMBEDDINGS: [raw, extracted], ATTRIBUTES: [extracted]}
    assert uses.unnamed == []


@pytest.mark.parametrize("extractor", [{"engine": "vllm", "model": "here/not"}, {"engine": "vllm", "model": "package:not-installed"}])
def test_an_extractor_that_has_no_table_here_is_told(extractor: dict[str, str], shelf: Shelf) -> None:
    manifest = shelf.night(view="attributes")
    manifest = manifest.model_copy(update={"recipe": manifest.recipe | {"extractor": {**manifest.recipe["extractor"], **extractor}}})
    uses = table_uses([manifest], take_inventory(shelf.workspace))
    assert uses.unnamed == [manifest.name]
    assert list(uses.users) == [EMBEDDINGS]


def test_coded_texts_are_those_of_all_releases_or_of_none(shelf: Shelf) -> None:
    first, second = shelf.night(), shelf.night(changed=[0, 1])
    keys = coded_texts(shelf.workspace, [first, second])
    assert keys is not None
    np.testing.assert_array_equal(keys, np.union1d(*shelf.referred.values()))
    assert len(keys) == 42
    write_coded_texts(shelf.workspace, first.folder, shelf.referred[first.name][:-1])  # not what its manifest counts
    assert coded_texts(shelf.workspace, [first, second]) is None
    by_another_hash = io.BytesIO()
    np.save(by_another_hash, shelf.referred[first.name])
    shelf.workspace.write_bytes(f"{first.folder}/coded_texts.npy", by_another_hash.getvalue())
    assert coded_texts(shelf.workspace, [first, second]) is None, "keys of another hash would make every row look dead"
    shelf.workspace.remove(f"{first.folder}/coded_texts.npy")
    assert coded_texts(shelf.workspace, [first, second]) is None


def test_a_folder_that_is_no_workspace_is_refused(workspace: Workspace, publish_small: Callable[..., Manifest]) -> None:
    workspace.write_bytes("catalog/of-somebody-else/photo.jpeg", b"")
    with pytest.raises(ShelfcodeError, match=r"is no workspace: it has neither layout\.json nor a release"):
        check_workspace(workspace)
    assert [file.path for file in workspace.files("")] == ["catalog/of-somebody-else/photo.jpeg"]
    publish_small(workspace)
    check_workspace(workspace)
    assert not workspace.exists("layout.json")
    workspace.write_json("layout.json", {"layout": 99})
    with pytest.raises(ShelfcodeError, match="says layout 99"):
        check_workspace(workspace)
