"""A workspace of another layout is never touched, an older one goes on, and a store that cannot keep writers apart is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.retries.standard import ExponentialBackoff
from flaky_store import FlakyStore, flaky_store

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace
from shelfcode.workspace_layout import KEYS, LAYOUT, LAYOUT_FILE, OLDEST_READ, check_layout, read_layout


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def store(s3: str) -> Iterator[FlakyStore]:
    """A store that never fails, and can be told to know no conditional writes."""
    with flaky_store() as opened, opened.as_endpoint():
        yield opened


def test_the_layout_is_noted_once(folder: Workspace) -> None:
    assert check_layout(folder) == ""
    assert folder.read_json(LAYOUT_FILE) == {"layout": LAYOUT, "keys": KEYS}
    written = folder.read_bytes(LAYOUT_FILE)
    check_layout(folder)
    assert folder.read_bytes(LAYOUT_FILE) == written


def test_a_workspace_from_before_layouts_were_numbered_gets_the_number_and_keeps_its_files(folder: Workspace) -> None:
    folder.write_bytes("releases/precision/v0001/manifest.json", b"{}")
    assert "the first night of each flavor codes all its products again" in check_layout(folder)
    assert folder.read_json(LAYOUT_FILE) == {"layout": LAYOUT, "keys": KEYS}
    assert [file.path for file in folder.files("")] == [LAYOUT_FILE, "releases/precision/v0001/manifest.json"]


def test_a_note_may_say_more_than_the_number(folder: Workspace) -> None:
    folder.write_json(LAYOUT_FILE, {"layout": LAYOUT, "made": "2026-01-31"})
    check_layout(folder)
    assert folder.read_json(LAYOUT_FILE)["made"] == "2026-01-31"


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (LAYOUT + 1, f"says layout {LAYOUT + 1}, and this version of shelfcode knows {LAYOUT}: install a newer one. Nothing was touched"),
        (OLDEST_READ - 1, f"says layout {OLDEST_READ - 1}, older than {OLDEST_READ}. To migrate: make a new workspace"),
        (str(LAYOUT), "is damaged: expected"),
        (None, "is damaged: expected"),
    ],
)
def test_another_layout_is_refused_and_left_as_it_is(folder: Workspace, layout: object, told: str) -> None:
    folder.write_json(LAYOUT_FILE, {"layout": layout})
    with pytest.raises(ShelfcodeError) as raised:
        check_layout(folder)
    assert f"{folder.address(LAYOUT_FILE)} {told}" in str(raised.value)
    assert folder.read_json(LAYOUT_FILE) == {"layout": layout}


@pytest.mark.parametrize("text", [b"", b'{"layo', b"[1]", b"1"])
def test_a_note_that_is_damaged_is_told_as_such(folder: Workspace, text: bytes) -> None:
    folder.write_bytes(LAYOUT_FILE, text)
    with pytest.raises(ShelfcodeError, match="is damaged"):
        check_layout(folder)
    assert folder.read_bytes(LAYOUT_FILE) == text


def test_keys_by_another_hash_are_refused(folder: Workspace) -> None:
    folder.write_json(LAYOUT_FILE, {"layout": LAYOUT, "keys": "xxh9"})
    with pytest.raises(ShelfcodeError, match=f"says keys xxh9, and this version of shelfcode knows {KEYS}: install a newer one"):
        check_layout(folder)


def test_the_layout_before_goes_on_and_says_once_what_that_costs(folder: Workspace) -> None:
    folder.write_json(LAYOUT_FILE, {"layout": 1, "made": "2026-01-31"})
    folder.write_bytes("releases/precision/v0001/manifest.json", b"{}")
    assert read_layout(folder)["layout"] == 1
    assert "said layout 1, and says 2 now: keys of rows are made by a published hash" in check_layout(folder)
    assert folder.read_json(LAYOUT_FILE) == {"layout": 2, "made": "2026-01-31", "keys": KEYS}
    assert check_layout(folder) == ""


def test_a_store_is_asked_once_whether_it_keeps_writers_apart(store: FlakyStore, s3: str, tmp_path: Path) -> None:
    workspace = Workspace(f"{s3}/{tmp_path.name}")
    check_layout(workspace)
    assert workspace.read_json(LAYOUT_FILE) == {"layout": LAYOUT, "keys": KEYS, "conditional_writes": True}
    assert [file.path for file in workspace.files("")] == [LAYOUT_FILE]
    store.conditional_writes = "ignored"
    check_layout(workspace)


@pytest.mark.parametrize(("how", "told"), [("ignored", "ignores conditional writes"), ("unknown", "does not know conditional writes")])
@pytest.mark.parametrize("layout", [None, {"layout": 1}])
def test_a_store_that_lets_two_write_one_file_is_refused(
    store: FlakyStore, s3: str, tmp_path: Path, how: str, told: str, layout: object
) -> None:
    workspace = Workspace(f"{s3}/{tmp_path.name}")
    if layout:
        workspace.write_json(LAYOUT_FILE, layout)
    before = [file.path for file in workspace.files("")]
    store.conditional_writes = how
    with pytest.raises(ShelfcodeError, match=f"{told} .*Use a store that knows conditional writes"):
        check_layout(workspace)
    assert [file.path for file in workspace.files("")] == before


def test_a_store_that_fails_to_answer_is_not_taken_for_one_that_ignores(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    with flaky_store(["unanswered", "503"], share=1 / 3) as store, store.as_endpoint():
        for number in range(6):
            check_layout(Workspace(f"{s3}/{tmp_path.name}-{number}"))
        assert store.failures.total() > 6
