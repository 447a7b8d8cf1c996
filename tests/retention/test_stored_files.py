"""The listing of a workspace, and what is left when files of it were deleted."""

import os
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem

from shelfcode.errors import ShelfcodeError
from shelfcode.retention.stored_files import Inventory, remove_files, take_inventory
from shelfcode.workspace import StoredFile, Workspace


def listed(*paths: str) -> Inventory:
    return Inventory(tuple(StoredFile(path, 1, float(number)) for number, path in enumerate(sorted(paths))), 100.0)


def test_a_folder_is_not_taken_for_another_whose_name_begins_alike() -> None:
    inventory = listed("runs/a", "runs/a-b/1", "runs/a.txt", "runs/a/1", "runs/a/2/3", "runs/a0/1")
    assert [file.path for file in inventory.below("runs/a")] == ["runs/a", "runs/a/1", "runs/a/2/3"]
    assert [file.path for file in inventory.below("runs/a-b")] == ["runs/a-b/1"]
    assert inventory.below("run") == ()
    assert inventory.has("runs/a.txt")
    assert not inventory.has("runs/a-b")


def test_children_are_files_and_folders_without_those_that_begin_with_a_dot() -> None:
    inventory = listed("runs/.hidden", "runs/a/1", "runs/b", "runs/c/.claim", "other/d")
    assert inventory.children("runs") == ["runs/a", "runs/b", "runs/c"]


def test_files_are_old_together() -> None:
    inventory = listed("a", "b", "c")  # written at 0, 1 and 2; it is 100 now
    assert inventory.are_old(inventory.files, 98)
    assert not inventory.are_old(inventory.files, 98.5)


def test_a_clock_of_this_machine_means_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are differences between times of the store; here a file was written a week before another."""
    workspace = Workspace(str(tmp_path))
    workspace.write_bytes("a", b"")
    os.utime(tmp_path / "a", (0, (tmp_path / "a").stat().st_mtime - 7 * 86_400))
    monkeypatch.setattr("time.time", lambda: 0.0)
    inventory = take_inventory(workspace)
    assert [file.path for file in inventory.files] == ["a"]
    assert inventory.are_old(inventory.files, 7 * 86_400)
    assert not inventory.are_old(inventory.files, 7 * 86_400 + 60)


def test_files_go_and_folders_that_are_empty_then(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    for path in ("runs/a/1", "runs/a/manifest.json", "runs/a/deep/er/2", "runs/a/stays/3", "runs/b/1"):
        workspace.write_bytes(path, b"x")
    checks: list[None] = []
    remove_files(workspace, "runs/a", ["runs/a/1", "runs/a/manifest.json", "runs/a/deep/er/2"], lambda: checks.append(None))
    assert [file.path for file in workspace.files("")] == ["runs/a/stays/3", "runs/b/1"]
    assert workspace.names("runs/a") == ["stays"]
    assert checks


def test_the_manifest_goes_first_and_nothing_once_the_check_says_no(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    for path in ("r/1", "r/manifest.json"):
        workspace.write_bytes(path, b"x")
    answers = iter([None, ShelfcodeError("the lease is lost")])

    def check() -> None:
        if answer := next(answers):
            raise answer

    with pytest.raises(ShelfcodeError, match="lost"):
        remove_files(workspace, "r", ["r/1", "r/manifest.json"], check)
    assert [file.path for file in workspace.files("")] == ["r/1"]


def test_more_files_than_are_deleted_at_once(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    for number in range(8):
        workspace.write_bytes(f"r/{number}", b"")
    remove_files(workspace, "r", [f"r/{number}" for number in range(8)], lambda: None, files_per_check=3)
    assert workspace.files("") == []


class Keeping:
    """A store that agrees to delete files and does not."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs

    def rm(self, paths: list[str]) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)


class KeepingWorkspace(Workspace):
    @property
    def fs(self) -> Keeping:
        return Keeping(super().fs)


def test_a_bucket_that_keeps_what_it_was_to_delete_is_told_of(s3: str, tmp_path: Path) -> None:
    workspace = KeepingWorkspace(f"{s3}/{tmp_path.name}-refusing")
    workspace.write_bytes("r/1", b"")
    with pytest.raises(ShelfcodeError, match=r"r/1 and 0 others are still there: may this user delete objects\?"):
        remove_files(workspace, "r", ["r/1"], lambda: None)
