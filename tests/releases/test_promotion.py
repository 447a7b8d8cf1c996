"""CURRENT moves to a release that is whole, and stays where it is when anything is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.releases.promotion import promote, roll_back
from shelfcode.releases.release import Manifest, release_history
from shelfcode.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def three(workspace: Workspace, publish_small: Callable[..., Manifest]) -> list[Manifest]:
    """v0001 and v0002 were current one after the other; v0003 is held."""
    return [publish_small(workspace, make_current) for make_current in (True, True, False)]


def current(workspace: Workspace) -> tuple[str, str | None]:
    written = workspace.read_json("releases/small/CURRENT")
    assert list(written) == ["version", "previous"]
    return written["version"], written["previous"]


def whys(workspace: Workspace) -> list[str]:
    return [f"{move.why} {move.version}" for move in release_history(workspace, "small")]


def test_a_release_is_promoted_and_rolled_back(workspace_url: str, publish_small: Callable[..., Manifest]) -> None:
    workspace = Workspace(workspace_url)
    three = [publish_small(workspace, make_current) for make_current in (True, True, False)]
    assert current(workspace) == ("v0002", "v0001")
    assert promote(workspace, "small@v0003") == three[2]
    assert current(workspace) == ("v0003", "v0002")
    assert roll_back(workspace, "small") == three[1]
    assert current(workspace) == ("v0002", "v0003")
    assert whys(workspace) == ["published v0001", "published v0002", "promoted v0003", "rolled back v0002"]


def test_rolling_back_twice_is_as_if_never(workspace: Workspace, three: list[Manifest]) -> None:
    assert [roll_back(workspace, "small").version for _ in range(2)] == ["v0001", "v0002"]
    assert current(workspace) == ("v0002", "v0001")


def test_any_older_release_can_be_promoted(workspace: Workspace, three: list[Manifest]) -> None:
    promote(workspace, "small@v0003")
    assert promote(workspace, "small@v0001") == three[0]
    assert current(workspace) == ("v0001", "v0003")


def test_what_is_current_stays_so_and_is_no_move(workspace: Workspace, three: list[Manifest]) -> None:
    assert promote(workspace, "small@v0002") == three[1]
    assert current(workspace) == ("v0002", "v0001")
    assert len(whys(workspace)) == 2


def test_the_first_release_that_was_held_is_promoted_by_hand(workspace: Workspace, publish_small: Callable[..., Manifest]) -> None:
    publish_small(workspace, make_current=False)
    with pytest.raises(
        ShelfcodeError, match=r"no release of small is current in .*; there are small@v0001\. CURRENT of small was not moved"
    ):
        roll_back(workspace, "small")
    promote(workspace, "small@v0001")
    assert current(workspace) == ("v0001", None)
    with pytest.raises(ShelfcodeError, match=r"no release was current before small@v0001\. CURRENT of small was not moved"):
        roll_back(workspace, "small")


DAMAGED = {
    "model.safetensors": "cannot be loaded",
    "semantic_ids/part-000000.parquet": "cannot be read",
    "semantic_ids/part-000001.parquet": "cannot be read",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_current_does_not_move_to_a_damaged_release(name: str, workspace: Workspace, three: list[Manifest]) -> None:
    for manifest in (three[0], three[2]):
        workspace.write_bytes(f"{manifest.folder}/{name}", workspace.read_bytes(f"{manifest.folder}/{name}")[:-50])
    for move, version in ((lambda: promote(workspace, "small@v0003"), "v0003"), (lambda: roll_back(workspace, "small"), "v0001")):
        with pytest.raises(ShelfcodeError, match=rf"small/{version}/{name} {DAMAGED[name]}.*CURRENT of small was not moved"):
            move()
    assert current(workspace) == ("v0002", "v0001")
    assert whys(workspace) == ["published v0001", "published v0002"]


def test_from_a_damaged_or_lost_release_one_can_roll_back(workspace: Workspace, three: list[Manifest]) -> None:
    workspace.remove(three[1].folder)
    assert roll_back(workspace, "small") == three[0]
    assert current(workspace) == ("v0001", "v0002")
    with pytest.raises(ShelfcodeError, match=r"no release small@v0002 in .*; there are small@v0001, small@v0003\. CURRENT .* not moved"):
        roll_back(workspace, "small")
    assert current(workspace) == ("v0001", "v0002")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("small", "does not say which release: name its version, such as small@v0001"),
        ("small@current", "does not say which release"),
        ("small@v0009", "no release small@v0009 in .*; there are small@v0001, small@v0002, small@v0003"),
        ("large@v0001", "no release large@v0001 in .*; there are small@v0001"),
    ],
)
def test_a_release_is_named_with_its_version(name: str, told: str, workspace: Workspace, three: list[Manifest]) -> None:
    with pytest.raises(ShelfcodeError, match=f"{told}.*CURRENT of (small|large) was not moved"):
        promote(workspace, name)
    assert current(workspace) == ("v0002", "v0001")
    assert len(whys(workspace)) == 2


def test_rolling_back_reads_no_row_and_a_first_promotion_reads_all(
    workspace: Workspace, three: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_table = Workspace.read_table

    def counted(self: Workspace, relative: str, columns: list[str] | None = None) -> object:
        read.append(relative)
        return read_table(self, relative, columns)

    monkeypatch.setattr(Workspace, "read_table", counted)
    roll_back(workspace, "small")
    assert read == []
    promote(workspace, "small@v0002")
    assert read == []
    promote(workspace, "small@v0003")
    assert len(read) == 2
