"""A process that follows the log knows what those know that open it anew."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from shelfcode.index.availability_log import CHANGES, Change, DamagedChangeError, append
from shelfcode.index.live_stock import LiveStock
from shelfcode.keys import index_keys, item_keys
from shelfcode.workspace import Workspace

PLACE_OF = index_keys(item_keys(pa.array(list("abcdefgh"))))


@pytest.fixture
def workspace(workspace_url: str) -> Workspace:
    return Workspace(workspace_url)


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def add(workspace: Workspace, number: int, item: str, retailer: str = "north", **how: float) -> int:
    return append(workspace, Change(retailer_id=retailer, kind="change", add=[item]), number, **how)  # type: ignore[arg-type]


def has(live: LiveStock, retailer: str = "north") -> str:
    return "".join("abcdefgh"[place] for place in live.stock.places(retailer, "one", PLACE_OF))


def test_a_reader_that_starts_midway_and_one_that_was_there_know_the_same(workspace: Workspace) -> None:
    first = LiveStock(workspace)
    first.stock.add("one", PLACE_OF)
    assert (first.number, first.catch_up(), first.stock.retailers) == (0, 0, [])
    for number, item in enumerate("abc"):
        add(workspace, number, item)
    assert (first.catch_up(), first.catch_up(), has(first)) == (3, 0, "abc")
    second = LiveStock(workspace)
    append(workspace, Change(retailer_id="north", kind="replace"), 3)
    add(workspace, 4, "h", "south")
    assert (second.number, second.catch_up(), first.catch_up()) == (3, 2, 2)
    for live in (first, second):
        assert (has(live), has(live, "south"), live.number) == ("", "h", 5)


def test_threads_that_catch_up_at_once_apply_each_change_once(folder: Workspace) -> None:
    live = LiveStock(folder)
    for number in range(60):
        add(folder, number, "abcdefgh"[number % 8])
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: live.catch_up(), range(8))) == 60
    assert (live.number, has(live)) == (60, "abcdefgh")


def test_a_damaged_change_is_told_once_and_those_around_it_count(folder: Workspace) -> None:
    live = LiveStock(folder)
    add(folder, 0, "a")
    folder.write_bytes(f"{CHANGES}/000000000002.json", b'{"retailer_id"')
    add(folder, 2, "c")
    started = LiveStock(folder)
    for each in (live, started):
        with pytest.raises(DamagedChangeError, match=r"000000000002.json"):
            each.catch_up()
        assert (each.catch_up(), each.catch_up(), has(each), each.number) == (1, 0, "ac", 3)


def test_a_reader_that_was_away_while_changes_were_removed_opens_the_log_again(folder: Workspace) -> None:
    live, patient = LiveStock(folder, look_seconds=0), LiveStock(folder)
    live.stock.add("one", PLACE_OF)
    for number in range(14):
        add(folder, number, "abcdefgh"[number % 8], whole_every=4, kept_seconds=0)
    assert (live.catch_up(), has(live), live.number) == (14, "abcdefgh", 14)
    assert patient.catch_up() == 0
    add(folder, 14, "a", "south")
    assert (live.catch_up(), has(live, "south")) == (1, "a")


class Counting(Workspace):
    """Counts what its reader asks for."""

    asked: list[str] = []  # noqa: RUF012

    def read_bytes(self, relative: str) -> bytes:
        self.asked.append(relative)
        return super().read_bytes(relative)

    def files(self, folder: str):  # type: ignore[no-untyped-def]
        self.asked.append(folder)
        return super().files(folder)


def test_to_find_nothing_new_costs_one_request(folder: Workspace) -> None:
    add(folder, 0, "a")
    live = LiveStock(Counting(folder.url))
    Counting.asked.clear()
    assert live.catch_up() == 0
    assert Counting.asked == [f"{CHANGES}/000000000002.json"]
