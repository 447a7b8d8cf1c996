"""Versions are numbered one after another, whatever was broken off, and are there whole or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shelfcode.versions import current_of, publish_version, published_versions
from shelfcode.workspace import Workspace

FOLDER = "encoders/shop"
FILES = {"model/config.json": b"{}", "model/1_Pooling/config.json": b"[]", "notes.txt": b"x"}


@pytest.fixture
def workspace(workspace_url: str) -> Workspace:
    return Workspace(workspace_url)


def a_draft(workspace: Workspace, run: str) -> str:
    for name, data in FILES.items():
        workspace.write_bytes(f"runs/{run}/draft/{name}", data + run.encode())
    return f"runs/{run}/draft"


def publish(workspace: Workspace, run: str, folder: str = FOLDER) -> str:
    return publish_version(workspace, folder, a_draft(workspace, run), lambda version: {"version": version, "run": run})


def assert_whole(workspace: Workspace, version: str, run: str) -> None:
    assert workspace.read_json(f"{FOLDER}/{version}/manifest.json") == {"version": version, "run": run}
    for name, data in FILES.items():
        assert workspace.read_bytes(f"{FOLDER}/{version}/{name}") == data + run.encode()


def test_versions_are_numbered_and_current_names_the_last_and_the_one_before(workspace: Workspace) -> None:
    assert published_versions(workspace, FOLDER) == []
    assert current_of(workspace, FOLDER) is None
    previous = None
    for version, run in (("v0001", "a"), ("v0002", "b"), ("v0003", "c")):
        assert publish(workspace, run) == version
        assert_whole(workspace, version, run)
        assert not workspace.exists(f"runs/{run}/draft")
        assert workspace.read_json(f"{FOLDER}/CURRENT") == {"version": version, "previous": previous}
        previous = version
    assert published_versions(workspace, FOLDER) == ["v0001", "v0002", "v0003"]
    assert current_of(workspace, FOLDER) == "v0003"


def test_folders_are_numbered_apart(workspace: Workspace) -> None:
    assert [publish(workspace, run, folder) for run, folder in (("a", FOLDER), ("b", "encoders/shop-2"), ("c", FOLDER))] == [
        "v0001", "v0001", "v0002",
    ]  # fmt: skip


def test_a_folder_without_a_manifest_is_no_version_and_gives_up_its_number(workspace: Workspace) -> None:
    publish(workspace, "a")
    workspace.write_bytes(f"{FOLDER}/v0002/model/config.json", b"broken off")
    assert published_versions(workspace, FOLDER) == ["v0001"]
    assert publish(workspace, "b") == "v0003"
    assert published_versions(workspace, FOLDER) == ["v0001", "v0003"]
    assert workspace.read_json(f"{FOLDER}/CURRENT") == {"version": "v0003", "previous": "v0001"}
    assert workspace.read_bytes(f"{FOLDER}/v0002/model/config.json") == b"broken off"


def test_a_number_that_was_only_claimed_is_passed_over(workspace: Workspace) -> None:
    """As a publisher leaves it that was killed before its first file arrived."""
    assert workspace.claim(f"{FOLDER}/v0001/.claim")
    assert published_versions(workspace, FOLDER) == []
    assert publish(workspace, "a") == "v0002"


def test_numbering_goes_on_after_gaps_past_four_digits_and_past_strange_names(workspace: Workspace) -> None:
    for name in ("v0007", "v9999", "v12", "vx", "v00010-old", "backup"):
        workspace.write_json(f"{FOLDER}/{name}/manifest.json", {})
    assert published_versions(workspace, FOLDER) == ["v0007", "v9999"]
    assert [publish(workspace, run) for run in ("a", "b")] == ["v10000", "v10001"]
    assert published_versions(workspace, FOLDER) == ["v0007", "v9999", "v10000", "v10001"]


def test_publishers_at_once_get_a_version_each_and_lose_no_file(workspace: Workspace) -> None:
    runs = ["a", "b", "c", "d"]
    for run in runs:
        a_draft(workspace, run)
    start = threading.Barrier(len(runs))

    def go(run: str) -> str:
        start.wait()
        return publish_version(workspace, FOLDER, f"runs/{run}/draft", lambda version: {"version": version, "run": run})

    with ThreadPoolExecutor(len(runs)) as pool:
        published = dict(zip(pool.map(go, runs), runs, strict=True))
    assert sorted(published) == published_versions(workspace, FOLDER)
    assert len(published) == len(runs)
    for version, run in published.items():
        assert_whole(workspace, version, run)
    assert current_of(workspace, FOLDER) in published
