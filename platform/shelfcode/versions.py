"""Versions v0001, v0002, ... of a release or an encoder: published whole or not at all, never changed.

A version is drafted under runs/ and moved to <folder>/<version> when it is complete. Its manifest is the last thing to
appear there: no manifest, no version. Then <folder>/CURRENT points to it.
"""

import re
from collections.abc import Callable
from typing import Any

from shelfcode.workspace import Workspace

VERSION = re.compile(r"v(\d{4,})")


def published_versions(workspace: Workspace, folder: str) -> list[str]:
    """Published versions under a folder, oldest first."""
    names = [name for name in workspace.names(folder) if VERSION.fullmatch(name)]
    published = [name for name in names if workspace.exists(f"{folder}/{name}/manifest.json")]
    return sorted(published, key=lambda name: int(name[1:]))


def current_of(workspace: Workspace, folder: str) -> str | None:
    """The version that a folder's CURRENT points to; None before the first."""
    path = f"{folder}/CURRENT"
    return str(workspace.read_json(path)["version"]) if workspace.exists(path) else None


def publish_version(workspace: Workspace, folder: str, draft: str, manifest_of: Callable[[str], dict[str, Any]]) -> str:
    """Move a complete draft to the next free version of a folder and make it current; the version.

    Args:
        draft: folder within the workspace that holds all files of the version but the manifest.
        manifest_of: version -> the manifest, as JSON will have it.
    """
    if not workspace.exists(draft):
        raise RuntimeError(f"no draft in {workspace.address(draft)}: another job published it")
    number = max((int(name[1:]) for name in workspace.names(folder) if VERSION.fullmatch(name)), default=0) + 1
    while not _place(workspace, draft, f"{folder}/v{number:04d}", manifest_of(f"v{number:04d}")):
        number += 1
    version = f"v{number:04d}"
    workspace.write_json(f"{folder}/CURRENT", {"version": version, "previous": current_of(workspace, folder)})
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
