"""The version of a workspace's layout, kept in layout.json; docs/workspace.md says what it is."""

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

LAYOUT = 1
"""Of this version of the library. Workspaces from before the layout was numbered have this one too."""

LAYOUT_FILE = "layout.json"


def check_layout(workspace: Workspace) -> None:
    """Note the layout in a workspace that has none noted.

    Raises:
        ShelfcodeError: the workspace has another layout; says how to go on.
    """
    if not workspace.exists(LAYOUT_FILE):
        workspace.write_json(LAYOUT_FILE, {"layout": LAYOUT})
        return
    try:
        found = workspace.read_json(LAYOUT_FILE)["layout"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found == LAYOUT:
        return
    address = workspace.address(LAYOUT_FILE)
    if not isinstance(found, int):
        raise ShelfcodeError(f'{address} is damaged: expected {{"layout": {LAYOUT}}}')
    if found > LAYOUT:
        raise ShelfcodeError(
            f"{address} says layout {found}, and this version of shelfcode knows {LAYOUT}: install a newer one. Nothing was touched"
        )
    raise ShelfcodeError(
        f"{address} says layout {found}, older than {LAYOUT}. To migrate: make a new workspace and train in it from the same catalog; "
        "embeddings/ and attributes/ may be copied there first, their layout never changed, so that nothing is embedded or extracted "
        "again (docs/workspace.md, Migrating). Nothing was touched"
    )
