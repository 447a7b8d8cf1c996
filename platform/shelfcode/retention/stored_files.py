"""The files of a workspace in one listing, their age by the store's own clock, and the deletion of some of them."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import StoredFile, Workspace

FILES_PER_CHECK = 1000
"""Files that are deleted between two looks at the lease; as many as a bucket deletes in one request."""


@dataclass(frozen=True)
class Inventory:
    """Every file of a workspace, sorted by path, and the time when they were listed."""

    files: tuple[StoredFile, ...]
    now: float

    @cached_property
    def _paths(self) -> list[str]:
        return [file.path for file in self.files]

    def below(self, path: str) -> tuple[StoredFile, ...]:
        """The file at this path, or all files in and below this folder."""
        first, last = (bisect_left(self._paths, f"{path}{end}") for end in ("/", "0"))  # "0" comes right after "/"
        alone = bisect_left(self._paths, path)
        itself = self.files[alone : alone + 1] if path in self._paths[alone : alone + 1] else ()
        return (*itself, *self.files[first:last])

    def has(self, path: str) -> bool:
        return any(file.path == path for file in self.below(path)[:1])

    def children(self, folder: str) -> list[str]:
        """Paths of the files and folders directly in a folder, without hidden ones."""
        names = dict.fromkeys(file.path[len(folder) + 1 :].split("/", 1)[0] for file in self.below(folder))
        return [f"{folder}/{name}" for name in names if name and not name.startswith(".")]

    def are_old(self, files: Iterable[StoredFile], seconds: float) -> bool:
        """Whether all of these files were written at least so many seconds ago."""
        return all(file.written <= self.now - seconds for file in files)


def take_inventory(workspace: Workspace) -> Inventory:
    """List a workspace. The clock is read first, so that what is written meanwhile counts as young."""
    now = workspace.clock()
    return Inventory(tuple(workspace.files("")), now)


def remove_files(
    workspace: Workspace, folder: str, paths: Sequence[str], check: Callable[[], None], files_per_check: int = FILES_PER_CHECK
) -> None:
    """Delete files of a folder, manifests first: without a manifest nothing is read, however many files are left.

    Args:
        check: called before so many files are deleted; raises where nothing more may be deleted.

    Raises:
        ShelfcodeError: the store did not delete some of them.
    """
    check()
    for path in paths:
        if path.rsplit("/", 1)[-1] == "manifest.json":
            workspace.fs.rm_file(workspace.path(path))
    for first in range(0, len(paths), files_per_check):
        check()
        _delete(workspace, paths[first : first + files_per_check])
    if workspace.is_local:
        _remove_empty_folders(Path(workspace.path(folder)))
        return
    if left := {file.path for file in workspace.files(folder)} & set(paths):  # a bucket does not say which of many it refused
        raise ShelfcodeError(f"{workspace.address(min(left))} and {len(left) - 1:,} others are still there: may this user delete objects?")


def _delete(workspace: Workspace, paths: Sequence[str]) -> None:
    if workspace.is_local:
        for path in paths:
            Path(workspace.path(path)).unlink(missing_ok=True)
    else:
        workspace.fs.rm([workspace.path(path) for path in paths])


def _remove_empty_folders(folder: Path) -> None:
    """Remove a folder and those below it, as far as they are empty."""
    if not folder.is_dir():
        return
    for path in [*sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True), folder]:
        with suppress(OSError):  # it is not empty
            path.rmdir()
