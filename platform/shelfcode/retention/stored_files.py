"""The files of a workspace as one listing, how old they are by the store's own clock, and taking some of them away."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import StoredFile, Workspace

AT_A_TIME = 1000
"""Objects that a bucket deletes in one request."""


@dataclass(frozen=True)
class Inventory:
    """Every file of a workspace, sorted by path, and what time it was when they were listed."""

    files: tuple[StoredFile, ...]
    now: float

    @cached_property
    def _paths(self) -> list[str]:
        return [file.path for file in self.files]

    def below(self, path: str) -> tuple[StoredFile, ...]:
        """The file of this path, or all files of this folder."""
        first, last = (bisect_left(self._paths, f"{path}{end}") for end in ("/", "0"))  # "0" comes right after "/"
        alone = bisect_left(self._paths, path)
        itself = self.files[alone : alone + 1] if path in self._paths[alone : alone + 1] else ()
        return (*itself, *self.files[first:last])

    def has(self, path: str) -> bool:
        return any(file.path == path for file in self.below(path)[:1])

    def children(self, folder: str) -> list[str]:
        """Paths of what lies directly in a folder, files and folders, but those whose names begin with a dot."""
        names = dict.fromkeys(file.path[len(folder) + 1 :].split("/", 1)[0] for file in self.below(folder))
        return [f"{folder}/{name}" for name in names if name and not name.startswith(".")]

    def are_old(self, files: Iterable[StoredFile], seconds: float) -> bool:
        """Whether all of some files were written that long ago."""
        return all(file.written <= self.now - seconds for file in files)


def take_inventory(workspace: Workspace) -> Inventory:
    """List a workspace. The clock is read first: what is written meanwhile is young."""
    now = workspace.clock()
    return Inventory(tuple(workspace.files("")), now)


def remove_files(workspace: Workspace, folder: str, paths: Sequence[str], check: Callable[[], None]) -> None:
    """Delete files of a folder, manifests first: what has none is not there, however many of its files are left.

    Args:
        check: called now and then; raises where nothing more may be deleted.

    Raises:
        ShelfcodeError: the store kept some of them.
    """
    check()
    for path in paths:
        if path.rsplit("/", 1)[-1] == "manifest.json":
            workspace.fs.rm_file(workspace.path(path))
    for first in range(0, len(paths), AT_A_TIME):
        check()
        _delete(workspace, paths[first : first + AT_A_TIME])
    if workspace.is_local:
        _remove_empty_folders(Path(workspace.path(folder)))
        return
    if left := {file.path for file in workspace.files(folder)} & set(paths):  # a bucket does not tell which of many it refused
        raise ShelfcodeError(f"{workspace.address(min(left))} and {len(left) - 1:,} others are still there: may this user delete objects?")


def _delete(workspace: Workspace, paths: Sequence[str]) -> None:
    if workspace.is_local:
        for path in paths:
            Path(workspace.path(path)).unlink(missing_ok=True)
    else:
        workspace.fs.rm([workspace.path(path) for path in paths])


def _remove_empty_folders(folder: Path) -> None:
    """A folder and those below it, as far as nothing is in them."""
    if not folder.is_dir():
        return
    for path in [*sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True), folder]:
        with suppress(OSError):  # something is in it
            path.rmdir()
