"""Versions are numbered one after another, whatever was broken off, and are there whole or not at all."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.versions import (
    LIBRARIES,
    Move,
    current_of,
    library_versions,
    move_current,
    previous_of,
    publish_version,
    published_versions,
    read_history,
)
from shelfcode.workspace import Workspace

FOLDER = "encoders/shop"
FILES = {"model/config.json": b"{}", "model/1_Pooling/config.json": b"[]", "notes.txt": b"x"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder. What differs in a bucket, which cannot rename, is tested in both."""
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def any_workspace(workspace_url: str) -> Workspace:
    return Workspace(workspace_url)


def a_draft(workspace: Workspace, run: str) -> str:
    for name, data in FILES.items():
        workspace.write_bytes(f"runs/{run}/draft/{name}", data + run.encode())
    return f"runs/{run}/draft"


def publish(workspace: Workspace, run: str, folder: str = FOLDER, make_current: bool = True) -> str:
    return publish_version(workspace, folder, a_draft(workspace, run), lambda version: {"version": version, "run": run}, make_current)


def moves(workspace: Workspace) -> list[tuple[str, str | None, str]]:
    return [(move.version, move.previous, move.why) for move in read_history(workspace, FOLDER)]


def assert_whole(workspace: Workspace, version: str, run: str) -> None:
    assert workspace.read_json(f"{FOLDER}/{version}/manifest.json") == {"version": version, "run": run}
    for name, data in FILES.items():
        assert workspace.read_bytes(f"{FOLDER}/{version}/{name}") == data + run.encode()


def test_versions_are_numbered_and_current_names_the_last_and_the_one_before(any_workspace: Workspace) -> None:
    assert published_versions(any_workspace, FOLDER) == []
    assert current_of(any_workspace, FOLDER) is None
    previous = None
    for version, run in (("v0001", "a"), ("v0002", "b"), ("v0003", "c")):
        assert publish(any_workspace, run) == version
        assert_whole(any_workspace, version, run)
        assert not any_workspace.exists(f"runs/{run}/draft")
        assert any_workspace.read_json(f"{FOLDER}/CURRENT") == {"version": version, "previous": previous}
        previous = version
    assert published_versions(any_workspace, FOLDER) == ["v0001", "v0002", "v0003"]
    assert current_of(any_workspace, FOLDER) == "v0003"


def test_each_move_of_current_is_kept(workspace: Workspace) -> None:
    assert read_history(workspace, FOLDER) == []
    assert previous_of(workspace, FOLDER) is None
    for run in ("a", "b", "c"):
        publish(workspace, run)
    move_current(workspace, FOLDER, "v0001", "promoted")
    assert workspace.read_json(f"{FOLDER}/CURRENT") == {"version": "v0001", "previous": "v0003"}
    move_current(workspace, FOLDER, "v0003", "rolled back")
    assert (current_of(workspace, FOLDER), previous_of(workspace, FOLDER)) == ("v0003", "v0001")
    assert moves(workspace) == [
        ("v0001", None, "published"), ("v0002", "v0001", "published"), ("v0003", "v0002", "published"),
        ("v0001", "v0003", "promoted"), ("v0003", "v0001", "rolled back"),
    ]  # fmt: skip
    assert published_versions(workspace, FOLDER) == ["v0001", "v0002", "v0003"]


def test_the_record_of_a_move_is_named_for_its_time_and_version(workspace: Workspace) -> None:
    before = datetime.now(UTC)
    publish(workspace, "a")
    after = datetime.now(UTC)
    (name,) = workspace.names(f"{FOLDER}/history")
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}-v0001\.json", name)
    (move,) = read_history(workspace, FOLDER)
    assert workspace.read_json(f"{FOLDER}/history/{name}") == {"version": "v0001", "previous": None, "at": move.at, "why": "published"}
    assert before <= datetime.fromisoformat(move.at) <= after
    assert f"{datetime.fromisoformat(move.at):%Y%m%dT%H%M%S.%f}-v0001.json" == name


def test_the_history_is_read_in_the_order_of_time(workspace: Workspace) -> None:
    written = [Move("v0002", "v0001", "b", "published"), Move("v0010", "v0002", "c", "promoted"), Move("v0001", None, "a", "published")]
    for move, time in zip(written, ("20260131T093000.000002", "20261231T000000.000000", "20260131T093000.000001"), strict=True):
        workspace.write_json(f"{FOLDER}/history/{time}-{move.version}.json", asdict(move))
    assert [move.at for move in read_history(workspace, FOLDER)] == ["a", "b", "c"]
    assert read_history(workspace, FOLDER)[2] == written[1]


def test_what_is_current_already_does_not_move(workspace: Workspace) -> None:
    publish(workspace, "a")
    publish(workspace, "b")
    move_current(workspace, FOLDER, "v0002", "promoted")
    assert workspace.read_json(f"{FOLDER}/CURRENT") == {"version": "v0002", "previous": "v0001"}
    assert len(moves(workspace)) == 2


def test_current_never_moves_to_what_is_not_published(workspace: Workspace) -> None:
    publish(workspace, "a")
    workspace.write_bytes(f"{FOLDER}/v0002/model/config.json", b"broken off")
    for version in ("v0002", "v0003", "history"):
        with pytest.raises(ShelfcodeError, match=f"{FOLDER} has no version {version}"):
            move_current(workspace, FOLDER, version, "promoted")
    assert current_of(workspace, FOLDER) == "v0001"
    assert len(moves(workspace)) == 1


def test_a_held_version_leaves_current_as_it_is_even_when_there_is_none(workspace: Workspace) -> None:
    assert publish(workspace, "a", make_current=False) == "v0001"
    assert_whole(workspace, "v0001", "a")
    assert not workspace.exists(f"{FOLDER}/CURRENT")
    assert current_of(workspace, FOLDER) is None
    assert moves(workspace) == []
    move_current(workspace, FOLDER, "v0001", "promoted")
    assert publish(workspace, "b", make_current=False) == "v0002"
    assert workspace.read_json(f"{FOLDER}/CURRENT") == {"version": "v0001", "previous": None}
    assert publish(workspace, "c") == "v0003"
    assert moves(workspace) == [("v0001", None, "promoted"), ("v0003", "v0001", "published")]


class Full(Workspace):
    """A workspace that takes no CURRENT any more."""

    def write_json(self, relative: str, value: object) -> None:
        if relative.endswith("/CURRENT"):
            raise OSError("no space left")
        super().write_json(relative, value)


def test_a_move_is_kept_before_it_is_made(workspace: Workspace) -> None:
    publish(workspace, "a")
    publish(workspace, "b", make_current=False)
    with pytest.raises(OSError, match="no space left"):
        move_current(Full(workspace.url), FOLDER, "v0002", "promoted")
    assert current_of(workspace, FOLDER) == "v0001"
    assert moves(workspace)[-1] == ("v0002", "v0001", "promoted")


def test_folders_are_numbered_apart(workspace: Workspace) -> None:
    assert [publish(workspace, run, folder) for run, folder in (("a", FOLDER), ("b", "encoders/shop-2"), ("c", FOLDER))] == [
        "v0001", "v0001", "v0002",
    ]  # fmt: skip


def test_a_folder_without_a_manifest_is_no_version_and_gives_up_its_number(any_workspace: Workspace) -> None:
    publish(any_workspace, "a")
    any_workspace.write_bytes(f"{FOLDER}/v0002/model/config.json", b"broken off")
    assert published_versions(any_workspace, FOLDER) == ["v0001"]
    assert publish(any_workspace, "b") == "v0003"
    assert published_versions(any_workspace, FOLDER) == ["v0001", "v0003"]
    assert any_workspace.read_json(f"{FOLDER}/CURRENT") == {"version": "v0003", "previous": "v0001"}
    assert any_workspace.read_bytes(f"{FOLDER}/v0002/model/config.json") == b"broken off"


def test_a_number_that_was_only_claimed_is_passed_over(any_workspace: Workspace) -> None:
    """As a publisher leaves it that was killed before its first file arrived."""
    assert any_workspace.claim(f"{FOLDER}/v0001/.claim")
    assert published_versions(any_workspace, FOLDER) == []
    assert publish(any_workspace, "a") == "v0002"


def test_numbering_goes_on_after_gaps_past_four_digits_and_past_strange_names(workspace: Workspace) -> None:
    for name in ("v0007", "v9999", "v12", "vx", "v00010-old", "backup"):
        workspace.write_json(f"{FOLDER}/{name}/manifest.json", {})
    assert published_versions(workspace, FOLDER) == ["v0007", "v9999"]
    assert [publish(workspace, run) for run in ("a", "b")] == ["v10000", "v10001"]
    assert published_versions(workspace, FOLDER) == ["v0007", "v9999", "v10000", "v10001"]


def test_publishers_at_once_get_a_version_each_and_lose_no_file(any_workspace: Workspace) -> None:
    runs = ["a", "b", "c", "d"]
    for run in runs:
        a_draft(any_workspace, run)
    start = threading.Barrier(len(runs))

    def go(run: str) -> str:
        start.wait()
        return publish_version(any_workspace, FOLDER, f"runs/{run}/draft", lambda version: {"version": version, "run": run})

    with ThreadPoolExecutor(len(runs)) as pool:
        published = dict(zip(pool.map(go, runs), runs, strict=True))
    assert sorted(published) == published_versions(any_workspace, FOLDER)
    assert len(published) == len(runs)
    for version, run in published.items():
        assert_whole(any_workspace, version, run)
    assert current_of(any_workspace, FOLDER) in published


def test_every_library_is_named_with_its_version_and_one_that_is_not_installed_as_unknown() -> None:
    found = library_versions((*LIBRARIES, "no-such-library"))
    assert list(found) == [*LIBRARIES, "no-such-library"]
    assert found["torch"] == metadata.version("torch")
    assert [name for name, version in found.items() if version == "unknown"] == ["no-such-library"]
