"""Rows of a log become events of the catalog's products; each that does not is rejected with its reason, and all are counted."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.rejected import count_reasons
from shelfcode.catalog.source_file import RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.instants import PER_SECOND
from shelfcode.interactions.session_log import NO_TIME
from shelfcode.interactions.session_rows import (
    NO_ITEM,
    NO_KEY,
    NO_PRODUCT,
    NOBODY,
    UNKNOWN_PRODUCT,
    EventRows,
    anonymous_key,
    event_rows,
    find_columns,
)  # fmt: skip
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.keys import index_keys, item_keys

CATALOG = index_keys(item_keys(pa.array(["p0", "p1", "p2", "007", "4006381333931"])))
NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * PER_SECOND
FILE = SourceFile("log.csv", "csv", "1")


def read(columns: dict[str, Any], **settings: Any) -> EventRows:
    """The events of some rows. What must add up is seen to."""
    table = pa.table(columns)
    batch = RowBatch(table, np.arange(2, 2 + len(table), dtype=np.int64))
    of = InteractionSettings(**settings)
    found = event_rows(batch, FILE, find_columns(table.column_names, of, FILE.url), of, CATALOG, NOW)
    assert found.read == len(found.table) + len(found.rejected) + found.passed_over
    assert found.unknown == count_reasons(found.rejected)[UNKNOWN_PRODUCT]
    return found


def reasons(found: EventRows) -> list[tuple[str | None, str]]:
    return [(row.item_id, row.reason) for row in found.rejected]


def test_a_list_a_row_and_a_row_an_event_say_the_same() -> None:
    lists = read(
        {"session_id": ["s", "t"], "user_id": [17, 17], "retailer_id": ["r", None], "at": [5, 6], "item_ids": [["p2", "p0"], ["p1"]]}
    )
    events = read({"session_id": ["s", "s", "t"], "user_id": [17.0, 17.0, 17.0], "retailer_id": ["r", "r", ""], "at": ["5", "5", "6"],
                   "item_id": ["p2", " p0", "p1"]})  # fmt: skip
    assert lists.table.equals(events.table)
    assert lists.table["product"].to_pylist() == [2, 0, 1]
    assert lists.table["at"].to_pylist() == [5 * PER_SECOND, 5 * PER_SECOND, 6 * PER_SECOND]
    assert lists.table["retailer"].to_pylist()[2] == NO_KEY != lists.table["retailer"].to_pylist()[0]
    assert (lists.retailers, lists.surfaces, lists.joined, lists.unknown) == (("r",), (), 3, 0)


def test_item_ids_are_those_of_the_catalog_however_they_are_stored() -> None:
    found = read({"item_ids": [[4006381333931.0, 4006381333931.5], None, []]})
    assert found.table["product"].to_pylist() == [4]
    assert reasons(found) == [
        (None, "item_id is a number with a fraction: line 2 of log.csv"), (None, f"{NO_PRODUCT}: line 3 of log.csv"),
        (None, f"{NO_PRODUCT}: line 4 of log.csv"),
    ]  # fmt: skip


def test_what_cannot_be_used_is_rejected_alone_with_its_row() -> None:
    at = [datetime(2025, 1, 1), datetime(2093, 1, 1)]
    found = read({"user_id": ["u", "u"], "at": at, "item_ids": [["p0", "nope", "", None, " 007"], ["p1", "p2"]]})
    assert found.table["product"].to_pylist() == [0, 3]
    assert reasons(found) == [
        ("nope", f"{UNKNOWN_PRODUCT}: line 2 of log.csv"), (None, f"{NO_ITEM}: line 2 of log.csv"), (None, f"{NO_ITEM}: line 2 of log.csv"),
        ("p1", "at is in the future: 2093-01-01T00:00:00+00:00, line 3 of log.csv"),
        ("p2", "at is in the future: 2093-01-01T00:00:00+00:00, line 3 of log.csv"),
    ]  # fmt: skip
    assert found.rejected[3].row == {"item_id": "p1", "user_id": "u", "at": at[1]}
    assert (found.joined, found.unknown, found.unknown_items) == (3, 1, ("nope",))


def test_a_time_beyond_all_calendars_is_rejected_too() -> None:
    found = read({"item_id": ["p0", "p1"], "user_id": ["u", "u"], "at": pa.array([2**45, 1_700_000_000], pa.timestamp("s"))})
    assert found.table["product"].to_pylist() == [1]
    ((item_id, said),) = reasons(found)
    assert item_id == "p0"
    assert said.startswith("at is ")


def test_an_event_of_nobody_is_rejected_and_one_without_a_session_is_of_its_users_only_one() -> None:
    found = read({"session_id": ["s", None, None, ""], "user_id": [None, "u", "u", " "], "item_id": ["p0", "p1", "p2", "p0"]})
    assert reasons(found) == [("p0", f"{NOBODY}: line 5 of log.csv")]
    user_E, session_E = (found.table[name].to_numpy() for name in ("user", "session"))
    assert session_E[1] == session_E[2] != session_E[0]
    assert user_E[0] == anonymous_key(session_E[:1])[0]
    assert user_E[1] != anonymous_key(session_E[1:2])[0]
    assert set(found.table["at"].to_pylist()) == {NO_TIME}


def test_lists_without_a_session_are_sessions_by_themselves() -> None:
    found = read({"session_id": ["s", None, None], "user_id": ["u"] * 3, "item_ids": [["p0", "p1"], ["p0"], ["p0"]]})
    assert len(set(found.table["session"].to_pylist())) == 3
    assert len(set(found.table["user"].to_pylist())) == 1


def test_one_session_id_of_two_users_is_two_sessions() -> None:
    found = read({"session_id": ["1", "1"], "user_id": ["u", "v"], "item_id": ["p0", "p0"]})
    assert len(set(found.table["session"].to_pylist())) == 2


def test_kinds_that_are_not_learnt_from_are_passed_over_even_without_a_product() -> None:
    rows = {"session_id": ["s"] * 4, "event": ["page", "view", "cart", None], "item_id": [None, "p0", "p1", "p2"]}
    found = read(rows, events=["cart", "order"])
    assert (found.table["product"].to_pylist(), found.passed_over, found.rejected) == ([1], 3, [])
    assert found.kinds == {"page": 1, "view": 1, "cart": 1, "": 1}
    assert read(rows).passed_over == 0
    lists = read({"event": ["view", "cart"], "item_ids": [["p0", "p1"], ["p2", "nope"]]}, events=["cart"])
    assert (lists.read, lists.passed_over, len(lists.rejected), lists.kinds) == (4, 2, 1, {"view": 2, "cart": 2})


def test_a_session_id_that_lost_its_digits_is_rejected_under_its_own_name() -> None:
    assert reasons(read({"session_id": ["1.5e+20"], "item_ids": [["p0"]]})) == [
        ("p0", "session_id is a rounded number, whose last digits are lost; export it as text: line 2 of log.csv")
    ]


@pytest.mark.parametrize(("columns", "message"), [
    (["basket", "items"], "has neither item_ids .* nor item_id .*. Columns found: 'basket', 'items'"),
    (["item_ids", "item_id", "user_id"], "has both item_ids .* and item_id .*. Columns found: 'item_ids', 'item_id', 'user_id'"),
    (["item_id", "at"], "neither session_id nor user_id. Columns found: 'item_id', 'at'. Name one with --set interactions.columns"),
])  # fmt: skip
def test_columns_that_cannot_be_a_log_are_refused_with_what_to_do(columns: list[str], message: str) -> None:
    with pytest.raises(ShelfcodeError, match=f"log.csv .*{message}"):
        find_columns(columns, InteractionSettings(), "log.csv")


def test_columns_are_found_under_the_names_that_the_settings_give() -> None:
    settings = InteractionSettings(columns={"user_id": "household_id", "item_ids": "basket"})
    found = find_columns(["household_id", "basket", "item_id", "week", "at"], settings, "log.csv")
    assert found == {"user_id": "household_id", "at": "at", "item_ids": "basket"}
    with pytest.raises(ShelfcodeError, match=r"no column 'household_id' for user_id. Columns found: 'basket', 'at'. .*columns.user_id="):
        find_columns(["basket", "at"], settings, "log.csv")
