"""Moving a flavor's CURRENT to a release that is there already, forward or back; the release is checked before.

All rows of a release that was never current are read. One that was current before is as it was if its files have their sizes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from shelfcode.errors import ShelfcodeError
from shelfcode.releases.check import check_files, check_release
from shelfcode.releases.release import Manifest, current_version, known_releases, load_manifest, previous_version, release_history
from shelfcode.versions import Why, move_current
from shelfcode.workspace import Workspace


def promote(workspace: Workspace, name: str) -> Manifest:
    """Make a release current, such as `precision@v0003`; one that is current already stays so, and nothing moves.

    Raises:
        ShelfcodeError: no version is named, there is no such release, or its files are damaged. CURRENT was not moved.
    """
    flavor, _, version = name.partition("@")
    with _unmoved(flavor):
        if version in ("", "current"):
            raise ShelfcodeError(f"{name} does not say which release: name its version, such as {flavor}@v0001")
        return _make_current(workspace, name, "promoted")


def roll_back(workspace: Workspace, flavor: str) -> Manifest:
    """Make the release current that was so before; rolling back once more undoes it.

    Raises:
        ShelfcodeError: there was none before, it is gone, or its files are damaged. CURRENT was not moved.
    """
    with _unmoved(flavor):
        current, previous = current_version(workspace, flavor), previous_version(workspace, flavor)
        if current is None:
            raise ShelfcodeError(f"no release of {flavor} is current in {workspace.url}; {known_releases(workspace)}")
        if previous is None:
            raise ShelfcodeError(f"no release was current before {flavor}@{current}")
        return _make_current(workspace, f"{flavor}@{previous}", "rolled back")


def _make_current(workspace: Workspace, name: str, why: Why) -> Manifest:
    manifest = load_manifest(workspace, name)
    was_current = any(move.version == manifest.version for move in release_history(workspace, manifest.flavor))
    (check_files if was_current else check_release)(workspace, manifest)
    move_current(workspace, f"releases/{manifest.flavor}", manifest.version, why)
    return manifest


@contextmanager
def _unmoved(flavor: str) -> Iterator[None]:
    """An error says also what did not happen."""
    try:
        yield
    except ShelfcodeError as error:
        raise ShelfcodeError(f"{error}. CURRENT of {flavor} was not moved") from error
