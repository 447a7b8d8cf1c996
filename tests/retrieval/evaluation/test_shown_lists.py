"""Impressions become requests with rewards, each counted once and by its own list."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.impressions import FOLDER, IMPRESSIONS, Chosen, Shown, chosen_table, shown_table, write_impressions
from shelfcode.retrieval.evaluation.shown_lists import ShownLists, read_shown_lists
from shelfcode.workspace import Workspace

AT = datetime(2026, 1, 31, tzinfo=UTC)


def shown(request_id: str, items: tuple[str, ...], at: int = 0, side: str = "cr", user: str | None = "u", surface: str = "cart") -> Shown:
    plain = (1.0,) * len(items), ("cr",) * len(items)
    return Shown(request_id, surface, AT + timedelta(minutes=at), side, 0.5, items, *plain, user_id=user, retriever=f"{side}@v0001")


def chosen(request_id: str, *items: str, event: str = "chosen") -> Chosen:
    return Chosen(request_id, items, AT + timedelta(hours=30), "cart", event)


def read(tmp_path: Path, shown: list[Shown], chosen: list[Chosen]) -> ShownLists:
    workspace = Workspace(str(tmp_path / "workspace"))
    for rows in (shown_table(shown), chosen_table(chosen)):
        if len(rows):
            write_impressions(workspace, rows)
    return read_shown_lists(workspace.address(FOLDER))


def test_rewards_are_of_what_the_list_had(tmp_path: Path) -> None:
    lists = read(
        tmp_path,
        [shown("r1", ("a", "b", "c")), shown("r2", ("a", "b"), 1, user=None), shown("r3", (), 2, user=None), shown("r4", ("a",), 3, "x")],
        [chosen("r1", "c", "b"), chosen("r1", "b", event="order"), chosen("r1", "z"), chosen("r4", "a"), chosen("r9", "a")],
    )
    assert {name: values.tolist() for name, values in lists.rewards.items()} == {
        "hit": [1, 0, 0, 1], "chosen": [2, 0, 0, 1], "reciprocal_rank": [0.5, 0, 0, 1],
    }  # fmt: skip
    assert (lists.repeated, lists.chosen, lists.unshown, lists.elsewhere) == (0, 5, 1, 1)
    assert [lists.sides[place] for place in lists.side_R] == ["cr", "cr", "cr", "x"]
    assert [lists.retrievers[place] for place in lists.retriever_R] == ["cr@v0001"] * 3 + ["x@v0001"]
    assert lists.user_R[0] == lists.user_R[3]
    assert len(set(lists.user_R.tolist())) == 3


def test_a_request_that_is_answered_again_counts_once_with_its_first_list(tmp_path: Path) -> None:
    again = [shown("r1", ("b", "a"), 5, "x"), shown("r1", ("a", "b"), 0), shown("r2", ("a",), 1)]
    lists = read(tmp_path, again, [chosen("r1", "b")])
    assert (len(lists), lists.repeated) == (2, 1)
    assert [lists.sides[place] for place in lists.side_R] == ["cr", "cr"]
    assert lists.rewards["reciprocal_rank"].tolist() == [0.5, 0]
    folder = Path(tmp_path / "workspace" / FOLDER)
    part = next(folder.rglob("*.parquet"))
    (folder / "copy.parquet").write_bytes(part.read_bytes())  # a file that is there twice repeats nothing
    twice = read_shown_lists(f"{folder}/**/*.parquet")
    assert (len(twice), twice.repeated, twice.chosen) == (2, 1, 1)


def test_many_requests_in_many_files_are_the_same_as_in_one(tmp_path: Path) -> None:
    rows = shown_table(
        [shown(f"r{number}", ("a", "b"), number % 50, "x" if number % 3 else "cr", f"u{number % 40}") for number in range(300)]
    )
    rows = pa.concat_tables([rows, chosen_table([chosen(f"r{number}", "b") for number in range(0, 300, 7)])])
    (tmp_path / "parts").mkdir()
    for number in range(5):
        pq.write_table(rows.take(pa.array(range(number, len(rows), 5))), tmp_path / "parts" / f"{number}.parquet")
    pq.write_table(rows, tmp_path / "one.parquet")
    one, parts = read_shown_lists(str(tmp_path / "one.parquet")), read_shown_lists(str(tmp_path / "parts"))
    assert len(one) == len(parts) == 300
    for lists in (one, parts):
        assert lists.rewards["chosen"].sum() == 43
        assert sum(lists.sides[place] == "x" for place in lists.side_R) == 200
        assert len(set(lists.user_R.tolist())) == 40
        assert lists.rewards["reciprocal_rank"].sum() == 21.5


@pytest.mark.parametrize("propensity", [None, float("nan"), 0.0, -0.5, 1.5, float("inf")])
def test_a_propensity_that_is_no_share_is_refused(tmp_path: Path, propensity: float | None) -> None:
    rows = shown_table([shown("r1", ("a",)), shown("r2", ("a",))]).to_pylist()
    rows[1]["propensity"] = propensity
    pq.write_table(pa.Table.from_pylist(rows, IMPRESSIONS), tmp_path / "x.parquet")
    with pytest.raises(ShelfcodeError, match=r"of 1 products shown is missing or no share, such as \S+ of request 'r2'"):
        read_shown_lists(str(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    ("column", "cell", "told"),
    [("session_id", None, "no session_id"), ("side", None, "no side"), ("event", None, "no event"), ("position", 0, "no position"),
     ("position", None, "no position")],
)  # fmt: skip
def test_rows_that_cannot_be_counted_are_refused(tmp_path: Path, column: str, cell: object, told: str) -> None:
    rows = shown_table([shown("r1", ("a",))]).to_pylist()
    rows[0][column] = cell
    pq.write_table(pa.Table.from_pylist(rows, IMPRESSIONS), tmp_path / "x.parquet")
    with pytest.raises(ShelfcodeError, match=told):
        read_shown_lists(str(tmp_path / "x.parquet"))


def test_what_holds_no_impressions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShelfcodeError, match="there is nothing there"):
        read_shown_lists(str(tmp_path / "empty"))
    pq.write_table(chosen_table([chosen("r1", "a")]), tmp_path / "chosen.parquet")
    with pytest.raises(ShelfcodeError, match="no list was shown"):
        read_shown_lists(str(tmp_path / "chosen.parquet"))
    pq.write_table(pa.table({"session_id": ["a"], "item_id": ["b"]}), tmp_path / "log.parquet")
    with pytest.raises(ShelfcodeError, match="has no column 'user_id', 'surface'"):
        read_shown_lists(str(tmp_path / "log.parquet"))
    (tmp_path / "log.csv").write_text("session_id,item_id\na,b\n")
    with pytest.raises(ShelfcodeError, match="is no file of impressions"):
        read_shown_lists(str(tmp_path / "log.csv"))
