"""Which layout a workspace has, and whether its store can be trusted with it: asked by every job before it writes.

layout.json says the number of the layout, the hash that row keys are made with, and of a bucket that its store was seen to let only
one writer create an object.

Layout 1 is read: it differs in row keys, which were made with a hash that pandas keeps to itself. Files of such keys do not carry the name
of the hash, and count as missing.
"""

import uuid
from typing import Any

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

LAYOUT = 2
"""The layout that this version of the library writes."""

OLDEST_READ = 1
"""The oldest layout that it goes on with. Workspaces from before layouts were numbered have this one."""

LAYOUT_FILE = "layout.json"

KEYS = "xxh3_64"
"""The hash of row keys (keys.py), by the name that xxHash has for it."""


def check_layout(workspace: Workspace) -> str:
    """Check that this version of the library may write into a workspace, and note in it what was found.

    Returns:
        What to tell the user; mostly nothing.

    Raises:
        ShelfcodeError: the workspace has another layout, or its store lets two writers create one object; the message says how to go on.
    """
    said = read_layout(workspace)
    wanted: dict[str, Any] = {"layout": LAYOUT, "keys": KEYS}
    if not workspace.is_local:
        if said.get("conditional_writes") is not True:
            check_conditional_writes(workspace)
        wanted["conditional_writes"] = True
    if {**said, **wanted} != said:
        workspace.write_json(LAYOUT_FILE, {**said, **wanted})
    before = said.get("layout", OLDEST_READ)
    if before == LAYOUT or not workspace.names("releases"):
        return ""
    return (
        f"{workspace.address(LAYOUT_FILE)} said layout {before}, and says {LAYOUT} now: keys of rows are made by a published hash. "
        "Embeddings and a language model's attributes are made again, under names that say their precision; the first night of each flavor "
        "codes all its products again"
    )


def read_layout(workspace: Workspace) -> dict[str, Any]:
    """What layout.json says; nothing where there is none.

    Raises:
        ShelfcodeError: it is damaged, or says a layout that this version of the library does not know. Nothing was touched.
    """
    if not workspace.exists(LAYOUT_FILE):
        return {}
    address = workspace.address(LAYOUT_FILE)
    try:
        said = workspace.read_json(LAYOUT_FILE)
        layout = said["layout"]
    except (ValueError, KeyError, TypeError):
        said, layout = {}, None
    if not isinstance(layout, int):
        raise ShelfcodeError(f'{address} is damaged: expected {{"layout": {LAYOUT}}}')
    if layout > LAYOUT or (layout == LAYOUT and said.get("keys", KEYS) != KEYS):
        what = f"layout {layout}" if layout > LAYOUT else f"keys {said['keys']}"
        raise ShelfcodeError(
            f"{address} says {what}, and this version of shelfcode knows {LAYOUT if layout > LAYOUT else KEYS}: install a newer one. "
            "Nothing was touched"
        )
    if layout < OLDEST_READ:
        raise ShelfcodeError(
            f"{address} says layout {layout}, older than {OLDEST_READ}. To migrate: make a new workspace and train in it from the same "
            "catalog; embeddings/ and attributes/ may be copied there first, their layout never changed, so that nothing is embedded or "
            "extracted again (docs/workspace.md, Migrating). Nothing was touched"
        )
    return dict(said)


def check_conditional_writes(workspace: Workspace) -> None:
    """Create an object twice; a store has to refuse the second time, or two jobs could hold one lease and publish one version.

    Raises:
        ShelfcodeError: it does not, or does not know such writes.
    """
    probe, ours = f".clock-{uuid.uuid4().hex}", uuid.uuid4().hex.encode()  # a sweep clears such names away
    advice = "Use a store that knows conditional writes (Amazon S3, Cloudflare R2, MinIO, Ceph), or a shared folder"
    try:
        # Where an answer gets lost on its way, the store is asked again and finds what it has just created.
        created = workspace.claim(probe, ours) or workspace.read_bytes(probe) == ours
        again = workspace.claim(probe, b"another's")
    except OSError as error:
        if not is_unknown_to_store(error):
            raise
        raise ShelfcodeError(
            f"the store of {workspace.url} does not know conditional writes (If-None-Match), which keep two jobs from writing one version: "
            f"it answers {error}. {advice}"
        ) from error
    workspace.remove(probe)
    if not created or again:
        raise ShelfcodeError(
            f"the store of {workspace.url} ignores conditional writes (If-None-Match): it let an object be created twice, so two jobs "
            f"could overwrite each other's releases. {advice}"
        )


def is_unknown_to_store(error: OSError) -> bool:
    """Whether a store said that it does not know what it was asked for, rather than that it must not be done now."""
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in (400, 405, 501) or response.get("Error", {}).get("Code") == "NotImplemented"
