"""What was shown and chosen is one log: written whole, and read back as interactions."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.listed_files import list_files
from shelfcode.interactions.account import Tally
from shelfcode.interactions.impressions import FOLDER, IMPRESSIONS, Chosen, Shown, chosen_table, shown_table, write_impressions
from shelfcode.interactions.reading import LogDraft, log_columns, store_pieces, store_sessions
from shelfcode.interactions.session_log import NO_PLACE
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.keys import index_keys, item_keys
from shelfcode.workspace import Workspace

AT = datetime(2026, 1, 31, 23, 59, 59, 250, UTC)
NOW = int(datetime(2026, 2, 2, tzinfo=UTC).timestamp()) * 1_000_000
ITEMS = [f"p{number}" for number in range(10)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def shown(request_id: str, items: tuple[str, ...], user: str | None = "u", **more: object) -> Shown:
    told = {"user_id": user, "retailer_id": "shop", "retriever": "generator@v0003", "release": "precision@v0001", **more}
    scores, proposed_by = tuple(float(-place) for place in range(len(items))), ("both",) * len(items)
    return Shown(request_id, "cart", AT, "generator", 0.9, items, scores, proposed_by, **told)  # type: ignore[arg-type]


def test_a_list_is_a_row_a_product_and_an_empty_one_is_a_row_too() -> None:
    rows = shown_table([shown("r1", ("p3", "p1")), shown("r2", (), user=None, retriever=None)])
    assert rows.schema == IMPRESSIONS
    assert rows["item_id"].to_pylist() == ["p3", "p1", None]
    assert rows["position"].to_pylist() == [1, 2, None]
    assert rows["score"].to_pylist() == [0.0, -1.0, None]
    assert rows.slice(0, 1).drop_columns(["item_id", "position", "score", "at"]).to_pylist() == [{
        "session_id": "r1", "user_id": "u", "retailer_id": "shop", "surface": "cart", "event": "shown", "proposed_by": "both",
        "side": "generator", "propensity": 0.9, "retriever": "generator@v0003", "release": "precision@v0001",
    }]  # fmt: skip
    assert rows["at"][0].as_py() == AT
    assert rows["user_id"].to_pylist() == ["u", "u", None]


def test_a_chosen_product_has_what_its_list_says_where_that_is_known() -> None:
    choices = [Chosen("r1", ("p1", "p9", "p1"), AT, "cart", "order"), Chosen("r2", ("p1",), AT.replace(tzinfo=None), "cart", user_id="v")]
    rows = chosen_table(choices, {"r1": shown("r1", ("p3", "p1"))})
    assert rows["item_id"].to_pylist() == ["p1", "p9", "p1"]
    assert rows["event"].to_pylist() == ["order", "order", "chosen"]
    assert rows["position"].to_pylist() == [2, None, None]
    assert rows["score"].to_pylist() == [-1.0, None, None]
    assert rows["user_id"].to_pylist() == ["u", "u", "v"]
    assert rows["propensity"].to_pylist() == [0.9, 0.9, None]
    assert rows["at"][2].as_py() == AT
    assert chosen_table([]).schema == shown_table([]).schema == IMPRESSIONS


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.01, float("nan")])
def test_what_is_no_share_is_no_propensity(propensity: float) -> None:
    with pytest.raises(ValueError, match="expected a share above 0"):
        Shown("r", "cart", AT, "cr", propensity, (), (), ())


def test_what_does_not_fit_together_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="2 products with 1 scores"):
        Shown("r", "cart", AT, "cr", 1.0, ("a", "b"), (1.0,), ("cr", "cr"))
    for event in ("shown", " ", "shown "):
        with pytest.raises(ValueError, match="cannot be the name of a choice"):
            Chosen("r", ("a",), AT, "cart", event)
    for rows in (IMPRESSIONS.empty_table(), pa.table({"session_id": ["r"]})):
        with pytest.raises(ValueError, match="by IMPRESSIONS"):
            write_impressions(workspace, rows)


def test_a_part_is_of_its_first_day_and_written_again_it_is_the_same(workspace: Workspace) -> None:
    rows = pa.concat_tables([shown_table([shown("r1", ("p1",))]), chosen_table([Chosen("r1", ("p1",), datetime(2026, 2, 1), "cart")])])
    path = write_impressions(workspace, rows)
    assert path.startswith("impressions/2026-01-31/part-")
    assert write_impressions(workspace, pa.concat_tables([rows.slice(0, 1), rows.slice(1)])) == path
    assert write_impressions(workspace, rows.slice(1)).startswith("impressions/2026-02-01/part-")
    assert [file.path.split("/")[1] for file in workspace.files(FOLDER)] == ["2026-01-31", "2026-02-01"]
    assert workspace.read_table(path).equals(rows)


def test_the_chosen_products_are_read_back_as_sessions(workspace: Workspace) -> None:
    lists = {name: shown(name, ("p1", "p2", "p3"), user) for name, user in (("r1", "u"), ("r2", "u"), ("r3", None))}
    chosen = [
        Chosen("r1", ("p2", "p9"), AT, "cart"),
        Chosen("r3", ("p1",), datetime(2026, 2, 1, 8), "cart"),
        Chosen("r2", ("p3",), AT, "cart", "order"),
    ]
    write_impressions(workspace, pa.concat_tables([shown_table([*lists.values(), shown("r4", ())]), chosen_table(chosen[:1], lists)]))
    write_impressions(workspace, chosen_table(chosen[1:], lists))
    write_impressions(workspace, chosen_table(chosen[1:2], lists))  # a day of its own

    settings, files = InteractionSettings(events=["chosen"]), list_files(workspace.address(FOLDER))
    assert {Path(file.url).parent.name for file in files} == {"2026-01-31", "2026-02-01"}
    draft = LogDraft(workspace, settings, log_columns(files, settings), "run", "interactions/x", "runs/run", 1, NOW)
    keys, tally = item_keys(pa.array(ITEMS)), Tally()
    for done in store_pieces(files, 0, draft, index_keys(keys)):
        tally.add(done)
    stored = store_sessions(0, draft, ["shop"], ["cart"], keys)
    assert not workspace.exists("rejected/run")
    assert dict(tally.kinds) == {"shown": 10, "chosen": 4, "order": 1}
    assert stored.part is not None
    read = workspace.read_table(stored.part.path)
    assert sorted(read["products"].to_pylist()) == [[1, 1], [2, 9]]  # what came in two files is one session
    assert (read["retailer"].to_numpy() != NO_PLACE).all()
    assert len(np.unique(read["user"])) == 2
    assert (stored.facts.users, stored.facts.anonymous_sessions) == (1, 1)
