"""Changes of what retailers have count in one order for all, whoever writes them at the same time, and none is lost."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import Availability
from shelfcode.index.availability_log import (
    CHANGES,
    Change,
    DamagedChangeError,
    append,
    is_behind,
    open_log,
    read_after,
    write_whole,
)
from shelfcode.index.availability_whole import WHOLE
from shelfcode.keys import item_key
from shelfcode.workspace import Workspace


@pytest.fixture
def workspace(workspace_url: str) -> Workspace:
    return Workspace(workspace_url)


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def more(retailer: str, *add: str, remove: tuple[str, ...] = ()) -> Change:
    return Change(retailer_id=retailer, kind="change", add=list(add), remove=list(remove))


def all_of(retailer: str, *items: str) -> Change:
    return Change(retailer_id=retailer, kind="replace", add=list(items))


def having(availability: Availability, items: str = "abcdefgh") -> dict[str, str]:
    """Retailer -> its items, which have one letter."""
    numbers, keys = availability.numbers, {item: item_key(item) for item in items}
    return {
        name: "".join(item for item in items if any(numbers.keys_K[number] == keys[item] for number in has))
        for name, has in availability.retailers.items()
    }


def test_changes_count_in_the_order_of_their_numbers(workspace: Workspace) -> None:
    assert open_log(workspace)[1] == 0
    assert list(read_after(workspace, 0)) == []
    changes = [all_of("north", "a", "b"), more("south", "c", "a"), more("north", "d", remove=("a",)), all_of("south"), more("east")]
    assert [append(workspace, change, number) for number, change in enumerate(changes)] == [1, 2, 3, 4, 5]
    assert list(read_after(workspace, 0)) == list(enumerate(changes, 1))
    assert list(read_after(workspace, 3)) == list(enumerate(changes[3:], 4))
    assert list(read_after(workspace, 5)) == []
    availability, number = open_log(workspace)
    assert (having(availability), number) == ({"north": "bd", "south": "", "east": ""}, 5)
    assert workspace.names(CHANGES)[0] == "000000000001.json"


def test_a_change_says_when_it_was_reported_and_its_ids_as_a_catalog_has_them(folder: Workspace) -> None:
    append(folder, more("7", " a\u200b", "4006381333931.0", "", remove=("\x07", "n\u0303")), 0)
    written = folder.read_json(f"{CHANGES}/000000000001.json")
    assert (written["add"], written["remove"]) == (["a", "4006381333931"], ["ñ"])
    assert abs(written["at"] - folder.written_at(f"{CHANGES}/000000000001.json")) < 60
    assert (written["retailer_id"], written["kind"]) == ("7", "change")


RETAILERS = ['"quoted"', "a/b", "../..", "Ñandú 🥑", "", "a\nb", " north ", "\x00"]


def test_any_text_may_be_a_retailer(folder: Workspace) -> None:
    for number, retailer in enumerate(RETAILERS):
        append(folder, all_of(retailer, "a"), number)
    expected = dict.fromkeys(RETAILERS, "a")
    assert having(open_log(folder)[0]) == expected
    write_whole(folder, len(RETAILERS))
    assert having(open_log(folder)[0]) == expected


def test_what_is_not_unicode_is_refused_and_takes_no_number(folder: Workspace) -> None:
    for change in (all_of("\ud800"), all_of("north", "a\udfff"), more("north", remove=("\ud800",))):
        with pytest.raises(ShelfcodeError, match="not Unicode"):
            append(folder, change, 0)
    assert folder.names(CHANGES) == []


def test_writers_at_the_same_time_leave_no_gap_and_lose_nothing(workspace: Workspace) -> None:
    def write(own: int) -> list[int]:
        number, numbers = 0, []
        for turn in range(4):
            number = append(workspace, more(f"{own}", f"{turn}"), number, whole_every=6)
            numbers.append(number)
        return numbers

    with ThreadPoolExecutor(3) as pool:
        taken = list(pool.map(write, range(3)))
    assert sorted(number for numbers in taken for number in numbers) == list(range(1, 13))
    assert all(numbers == sorted(numbers) for numbers in taken)
    by_number = dict(read_after(workspace, 0))
    assert [[(by_number[number].retailer_id, by_number[number].add[0]) for number in numbers] for numbers in taken] == [
        [(f"{own}", f"{turn}") for turn in range(4)] for own in range(3)
    ]
    availability, number = open_log(workspace)
    assert (number, {name: len(has) for name, has in availability.retailers.items()}) == (12, {"0": 4, "1": 4, "2": 4})


WRITER = """
import os, signal, sys
from shelfcode.index.availability_log import Change, append
from shelfcode.workspace import Workspace
number = 0
for turn in range(12):
    if turn == int(sys.argv[3]):
        os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # when all is written, and nothing has its name
    number = append(Workspace(sys.argv[1]), Change(retailer_id=sys.argv[2], kind="change", add=[f"{turn}"]), number, whole_every=10)
"""


def test_processes_share_the_numbers_and_one_that_is_killed_leaves_nothing_half(folder: Workspace) -> None:
    arguments = [("north", "12"), ("south", "5")]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, folder.url, *each]) for each in arguments]
    assert [writer.wait() for writer in writers] == [0, -9]
    changes = list(read_after(folder, 0))
    assert [number for number, _ in changes] == list(range(1, 18))
    for retailer, turns in (("north", 12), ("south", 5)):
        assert [change.add for _, change in changes if change.retailer_id == retailer] == [[f"{turn}"] for turn in range(turns)]
    assert append(folder, more("east"), 17) == 18
    availability, number = open_log(folder)
    assert (number, {name: len(has) for name, has in availability.retailers.items()}) == (18, {"north": 12, "south": 5, "east": 0})


def fill(workspace: Workspace, last: int, every: int = 4, kept_seconds: float = 0) -> None:
    for number in range(last):
        append(workspace, more(f"r{number % 3}", "abcdefgh"[number % 8]), number, every, kept_seconds)


def expected(last: int) -> dict[str, str]:
    return {
        f"r{own}": "".join(sorted({"abcdefgh"[number % 8] for number in range(last) if number % 3 == own})) for own in range(min(3, last))
    }


def test_all_of_it_is_written_from_time_to_time_and_what_it_replaces_goes(folder: Workspace) -> None:
    fill(folder, 14)
    assert folder.names(WHOLE) == ["000000000008.parquet", "000000000012.parquet"]
    assert folder.names(CHANGES) == [f"{number:012}.json" for number in range(9, 15)]
    availability, number = open_log(folder)
    assert (having(availability), number) == (expected(14), 14)
    assert [is_behind(folder, number) for number in (0, 7, 8, 14)] == [True, True, False, False]


def test_what_was_written_lately_stays(folder: Workspace) -> None:
    fill(folder, 13, kept_seconds=3600)
    assert len(folder.names(CHANGES)) == 13
    assert len(folder.names(WHOLE)) == 3
    availability, number = open_log(folder)
    assert (having(availability), number) == (expected(13), 13)


def test_a_whole_has_every_retailer_once_for_each_item(workspace: Workspace) -> None:
    changes = [all_of("north", "a", "b"), all_of("south"), more("north", "c", remove=("a",)), more("east", "b")]
    for number, change in enumerate(changes):
        append(workspace, change, number, whole_every=4)
    rows = workspace.read_table(f"{WHOLE}/000000000004.parquet").to_pylist()
    assert sorted((row["retailer_id"], row["item_id"] or "") for row in rows) == [
        ("east", "b"), ("north", "b"), ("north", "c"), ("south", ""),
    ]  # fmt: skip
    assert "a" not in str(workspace.read_table(f"{WHOLE}/000000000004.parquet")["item_id"].chunk(0).dictionary.to_pylist())
    assert having(open_log(workspace)[0]) == {"north": "bc", "south": "", "east": "b"}


def test_a_writer_that_knows_only_of_changes_removed_since_writes_after_all_others(folder: Workspace) -> None:
    fill(folder, 14)
    for after in (0, 6, 8):
        change = more("late", "abc"[after % 3])
        number = append(folder, change, after, 0)
        assert dict(read_after(folder, number - 1)) == {number: change}
    assert folder.names(CHANGES)[0] == "000000000009.json"
    assert open_log(folder)[1] == 17


class Paused(Workspace):
    """While it hears that it has created a file, others write on, and all of it."""

    def claim(self, relative: str, data: bytes = b"") -> bool:
        won = super().claim(relative, data)
        for number in range(2, 5):
            append(Workspace(self.url), more("others", "abcdefgh"[number]), number - 1, 4)
        return won


def test_a_change_that_others_have_counted_meanwhile_is_not_written_again(folder: Workspace) -> None:
    assert append(Paused(folder.url), more("own", "a"), 0) == 1
    assert folder.names(WHOLE) == ["000000000004.parquet"]
    availability, number = open_log(folder)
    assert (having(availability), number) == ({"own": "a", "others": "cde"}, 4)


class LostAnswer(Workspace):
    """Creates a file and is asked again, as after an answer that got lost: the file is there already."""

    def claim(self, relative: str, data: bytes = b"") -> bool:
        super().claim(relative, data)
        return False


def test_a_change_is_written_once_when_only_the_answer_got_lost(workspace: Workspace) -> None:
    assert append(LostAnswer(workspace.url), more("own", "a"), 0) == 1
    assert workspace.names(CHANGES) == ["000000000001.json"]


class Overtaken(Workspace):
    """What its reader has found is removed before it is read: a newer whole is there."""

    def read_table(self, relative: str, columns: list[str] | None = None):  # type: ignore[no-untyped-def]
        other = Workspace(self.url)
        if (number := max(int(name[:12]) for name in other.names(CHANGES))) < 20:
            for each in range(number, number + 8):
                append(other, more("new", "abcdefgh"[each % 8]), each, 4, 0)
        return super().read_table(relative, columns)


class OvertakenLater(Workspace):
    """The same between the whole and the changes after it."""

    def read_bytes(self, relative: str) -> bytes:
        other = Workspace(self.url)
        if (number := max(int(name[:12]) for name in other.names(CHANGES))) < 20:
            for each in range(number, number + 12):
                append(other, more("new", "abcdefgh"[each % 8]), each, 4, 0)
        return super().read_bytes(relative)


@pytest.mark.parametrize("kind", [Overtaken, OvertakenLater])
@pytest.mark.parametrize("begun", [5, 13])
def test_a_reader_that_is_starting_goes_on_with_the_newer_whole(folder: Workspace, kind: type[Workspace], begun: int) -> None:
    fill(folder, begun)
    availability, number = open_log(kind(folder.url))
    again, last = open_log(folder)
    assert number == last >= 20
    assert having(availability) == having(again)


DAMAGED = [b"", b'{"retailer_id": "no', b'{"retailer_id": 7, "kind": "change"}', b'{"retailer_id": "x", "kind": "other"}', b"\xff", b"[]"]


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_change_is_told_by_its_address_and_those_after_it_can_be_read(folder: Workspace, data: bytes) -> None:
    append(folder, more("north", "a"), 0)
    assert folder.claim(f"{CHANGES}/000000000002.json", data)
    append(folder, more("north", "c"), 2)
    with pytest.raises(DamagedChangeError, match=f"{folder.url}/{CHANGES}/000000000002.json is damaged") as told:
        list(read_after(folder, 0))
    assert [change.add for _, change in read_after(folder, told.value.number)] == [["c"]]
    availability, number = open_log(folder)
    assert (having(availability), number) == ({"north": "a"}, 1)
    append(folder, more("north", "d"), 3, whole_every=4)
    availability, number = open_log(folder)
    assert (having(availability), number) == ({"north": "acd"}, 4)


def test_a_damaged_change_in_a_bucket_is_told(s3: str, tmp_path: Path) -> None:
    workspace = Workspace(f"{s3}/{tmp_path.name}-damaged")
    workspace.write_bytes(f"{CHANGES}/000000000001.json", b"{")
    with pytest.raises(DamagedChangeError, match=r"s3://.*/000000000001.json"):
        list(read_after(workspace, 0))


def test_a_damaged_whole_is_told_and_once_deleted_the_one_before_it_counts(folder: Workspace) -> None:
    fill(folder, 14)
    folder.write_bytes(f"{WHOLE}/000000000012.parquet", b"PAR1")
    with pytest.raises(ShelfcodeError, match=r"000000000012.parquet is damaged.*Delete it"):
        open_log(folder)
    folder.remove(f"{WHOLE}/000000000012.parquet")
    availability, number = open_log(folder)
    assert (having(availability), number) == (expected(14), 14)


class Full(Workspace):
    """Has no room for tables."""

    def write_bytes(self, relative: str, data: bytes) -> None:
        if relative.endswith(".parquet"):
            raise OSError(28, "No space left on device")
        super().write_bytes(relative, data)


def test_a_change_counts_though_all_of_it_could_not_be_written(folder: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    assert append(Full(folder.url), more("north", "a"), 0, whole_every=1) == 1
    assert "000000000001.parquet was not written" in caplog.text
    assert having(open_log(folder)[0]) == {"north": "a"}


def test_strange_files_hurt_nobody(folder: Workspace) -> None:
    for path in (f"{WHOLE}/README.txt", f"{WHOLE}/000000000900.parquet.tmp", f"{WHOLE}/.000000000900.parquet.0a1b2c3d", f"{CHANGES}/note"):
        folder.write_bytes(path, b"?")
    fill(folder, 14)
    assert having(open_log(folder)[0]) == expected(14)
    assert folder.exists(f"{CHANGES}/note")


def test_a_change_that_somebody_wrote_by_hand_counts(folder: Workspace) -> None:
    folder.write_bytes(f"{CHANGES}/000000000001.json", json.dumps({"retailer_id": "é", "kind": "replace", "add": ["a"]}).encode())
    assert having(open_log(folder)[0]) == {"é": "a"}
