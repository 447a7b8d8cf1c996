"""A workspace of another layout is never touched, and whoever meets it is told how to go on."""

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import LAYOUT, LAYOUT_FILE, Workspace, check_layout


@pytest.fixture
def workspace(workspace_url: str) -> Workspace:
    return Workspace(workspace_url)


def test_the_layout_is_noted_once(workspace: Workspace) -> None:
    check_layout(workspace)
    assert workspace.read_json(LAYOUT_FILE) == {"layout": LAYOUT}
    written = workspace.read_bytes(LAYOUT_FILE)
    check_layout(workspace)
    assert workspace.read_bytes(LAYOUT_FILE) == written


def test_a_workspace_from_before_layouts_were_numbered_gets_the_number_and_keeps_its_files(workspace: Workspace) -> None:
    workspace.write_bytes("releases/precision/v0001/manifest.json", b"{}")
    check_layout(workspace)
    assert workspace.read_json(LAYOUT_FILE) == {"layout": LAYOUT}
    assert [file.path for file in workspace.files("")] == [LAYOUT_FILE, "releases/precision/v0001/manifest.json"]


def test_a_note_may_say_more_than_the_number(workspace: Workspace) -> None:
    workspace.write_json(LAYOUT_FILE, {"layout": LAYOUT, "made": "2026-01-31"})
    check_layout(workspace)
    assert workspace.read_json(LAYOUT_FILE)["made"] == "2026-01-31"


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (LAYOUT + 1, f"says layout {LAYOUT + 1}, and this version of shelfcode knows {LAYOUT}: install a newer one. Nothing was touched"),
        (LAYOUT - 1, f"says layout {LAYOUT - 1}, older than {LAYOUT}. To migrate: make a new workspace"),
        (str(LAYOUT), "is damaged: expected"),
        (None, "is damaged: expected"),
    ],
)
def test_another_layout_is_refused_and_left_as_it_is(workspace: Workspace, layout: object, told: str) -> None:
    workspace.write_json(LAYOUT_FILE, {"layout": layout})
    with pytest.raises(ShelfcodeError) as raised:
        check_layout(workspace)
    assert f"{workspace.address(LAYOUT_FILE)} {told}" in str(raised.value)
    assert workspace.read_json(LAYOUT_FILE) == {"layout": layout}


@pytest.mark.parametrize("text", [b"", b'{"layo', b"[1]", b"1"])
def test_a_note_that_is_damaged_is_told_as_such(workspace: Workspace, text: bytes) -> None:
    workspace.write_bytes(LAYOUT_FILE, text)
    with pytest.raises(ShelfcodeError, match="is damaged"):
        check_layout(workspace)
    assert workspace.read_bytes(LAYOUT_FILE) == text
