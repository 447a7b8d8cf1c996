"""After a compaction every row that a release refers to is found exactly once; killed on the way, nothing is lost."""

import numpy as np
import pytest
from shelf import ATTRIBUTES, DAY, EMBEDDINGS, PRODUCTS, Shelf, found_once

from shelfcode.attributes.pipeline import snapshot_texts
from shelfcode.catalog.snapshot import load_snapshot
from shelfcode.keys import Keys, stored_rows
from shelfcode.releases.release import published_releases
from shelfcode.retention.compaction import SIZES, PartSizes, TablePlan
from shelfcode.retention.pipeline import compact, compaction_summary, plan_compaction
from shelfcode.retention.references import KeepRules, choose_kept, table_uses
from shelfcode.retention.stored_files import take_inventory

pytestmark = pytest.mark.usefixtures("local_ray")


def plan(shelf: Shelf, newest: int = 2, older_than: float = 0, sizes: PartSizes = SIZES) -> list[TablePlan]:
    inventory = take_inventory(shelf.workspace)
    kept = choose_kept(shelf.workspace, KeepRules(newest, older_than), inventory)
    uses = table_uses(kept.releases.values(), inventory)
    return plan_compaction(shelf.workspace, inventory, uses, older_than, lambda _: None, sizes)


def run(shelf: Shelf, plans: list[TablePlan]) -> None:
    compact(shelf.workspace, plans, lambda: None, lambda _: None)


def run_killed(shelf: Shelf, plans: list[TablePlan]) -> None:
    """Until the new parts are written; nothing is deleted."""

    def killed() -> None:
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        compact(shelf.workspace, plans, killed, lambda _: None)


def all_found(shelf: Shelf, newest: int = 2) -> bool:
    kept = published_releases(shelf.workspace)[-newest:]
    return all(found_once(shelf.workspace, EMBEDDINGS, shelf.referred[manifest.name]) for manifest in kept)


def test_what_releases_refer_to_stays_and_small_parts_become_one(shelf: Shelf) -> None:
    assert_small_parts_become_one(shelf)


def test_the_same_in_a_bucket(shelf_in_bucket: Shelf) -> None:
    assert_small_parts_become_one(shelf_in_bucket)


def assert_small_parts_become_one(shelf: Shelf) -> None:
    for _ in range(4):
        shelf.night(changed=range(10), view="attributes")
    assert shelf.rows() == PRODUCTS + 30
    summary = compaction_summary(plan(shelf))
    assert (summary.tables, summary.parts_after, summary.rows_dropped) == (
        2,
        2,
        40,
    )  # of each table those of ten products in the first two nights
    before = shelf.files()
    plan(shelf)
    assert shelf.files() == before

    run(shelf, plan(shelf))
    assert [len(shelf.workspace.parts(folder)) for folder in (EMBEDDINGS, ATTRIBUTES)] == [1, 1]
    assert shelf.rows() == shelf.rows(ATTRIBUTES) == PRODUCTS + 10
    assert all_found(shelf)
    extracted = stored_rows(shelf.workspace, shelf.workspace.parts(ATTRIBUTES))
    for manifest in published_releases(shelf.workspace)[-2:]:
        snapshot = load_snapshot(shelf.workspace, manifest.catalog.snapshot)
        assert snapshot is not None
        assert (extracted.get(snapshot_texts(snapshot, shelf.workspace).rows_N) >= 0).all()
    assert plan(shelf) == []


def test_rows_are_what_they_were(shelf: Shelf) -> None:
    shelf.night(view="attributes", rows_per_part=3)
    before = {row["item_id"]: row for part in shelf.workspace.parts(ATTRIBUTES)
              for row in shelf.workspace.read_table(part).to_pylist()}  # fmt: skip
    schema = shelf.workspace.read_schema(shelf.workspace.parts(EMBEDDINGS)[0])
    run(shelf, plan(shelf))
    (part,) = shelf.workspace.parts(ATTRIBUTES)
    assert {row["item_id"]: row for row in shelf.workspace.read_table(part).to_pylist()} == before
    (part,) = shelf.workspace.parts(EMBEDDINGS)
    assert shelf.workspace.read_schema(part).equals(schema)


def test_killed_between_writing_and_deleting_nothing_is_lost_and_the_next_sweep_clears_it(shelf: Shelf) -> None:
    for _ in range(3):
        shelf.night(changed=range(10))
    plans, parts = plan(shelf), set(shelf.workspace.parts(EMBEDDINGS))
    run_killed(shelf, plans)
    assert set(shelf.workspace.parts(EMBEDDINGS)) > parts
    assert all_found(shelf)
    run(shelf, plan(shelf))
    assert len(shelf.workspace.parts(EMBEDDINGS)) == 1
    assert shelf.rows() == PRODUCTS + 10
    assert all_found(shelf)
    assert plan(shelf) == []


def test_after_that_the_next_night_need_not_wait_until_the_new_part_is_old(shelf: Shelf) -> None:
    shelf.night(rows_per_part=4)
    shelf.age(8)
    run_killed(shelf, plan(shelf, older_than=7 * DAY))
    assert len(shelf.workspace.parts(EMBEDDINGS)) == 11
    run(shelf, plan(shelf, older_than=7 * DAY))
    assert len(shelf.workspace.parts(EMBEDDINGS)) == 1
    assert all_found(shelf)


@pytest.mark.parametrize("name_of_new", ["first", "last"])
def test_a_new_part_that_has_the_name_of_an_old_one_is_not_deleted(name_of_new: str, shelf: Shelf) -> None:
    """A part that holds all that other parts hold, in the order in which they would be gathered."""
    shelf.night(rows_per_part=20)
    workspace = shelf.workspace
    run_killed(shelf, plan(shelf))
    assert len(workspace.parts(EMBEDDINGS)) == 3
    new = next(part for part in workspace.parts(EMBEDDINGS) if len(workspace.read_table(part)) == PRODUCTS)
    others = [part for part in workspace.parts(EMBEDDINGS) if part != new]
    for number, part in enumerate(sorted(others, key=lambda part: workspace.read_table(part)["item_id"][0].as_py())):
        moved = f"{EMBEDDINGS}/part-{'z' if name_of_new == 'first' else '0'}{number}.parquet"
        workspace.move_folder(part, moved)
    run(shelf, plan(shelf, sizes=PartSizes(dead_share=-1)))  # every part is rewritten, whatever is in it
    assert len(workspace.parts(EMBEDDINGS)) == 1
    assert all_found(shelf)


def test_young_parts_stay_as_they_are(shelf: Shelf) -> None:
    shelf.night(rows_per_part=10)
    shelf.age(8)
    old = set(shelf.workspace.parts(EMBEDDINGS))
    shelf.night(changed=[3, 4], rows_per_part=1)
    young = set(shelf.workspace.parts(EMBEDDINGS)) - old
    (table,) = plan(shelf, older_than=7 * DAY)
    assert {part.path for part in table.replaced} == old
    run(shelf, [table])
    assert len(shelf.workspace.parts(EMBEDDINGS)) == 3
    assert young < set(shelf.workspace.parts(EMBEDDINGS))
    assert all_found(shelf)
    assert plan(shelf, older_than=7 * DAY) == []


def test_two_hundred_nightly_parts_end_as_few(shelf: Shelf) -> None:
    shelf.night(rows_per_part=1)
    for _ in range(4):
        shelf.night(changed=range(PRODUCTS), rows_per_part=1)
    assert len(shelf.workspace.parts(EMBEDDINGS)) == 5 * PRODUCTS
    run(shelf, plan(shelf, newest=5, sizes=PartSizes(largest=100)))
    assert len(shelf.workspace.parts(EMBEDDINGS)) == 2
    assert shelf.rows() == 5 * PRODUCTS
    assert all_found(shelf, newest=5)


@pytest.mark.parametrize("lost", ["coded_texts.npy", "snapshot"])
def test_where_a_release_does_not_say_what_it_refers_to_no_row_of_its_table_is_dropped(lost: str, shelf: Shelf) -> None:
    releases = [shelf.night(changed=range(20), view="attributes") for _ in range(4)]
    stored: dict[str, Keys] = {folder: stored_rows(shelf.workspace, shelf.workspace.parts(folder)).keys_K
                               for folder in (EMBEDDINGS, ATTRIBUTES)}  # fmt: skip
    shelf.workspace.remove(releases[-1].catalog.snapshot if lost == "snapshot" else f"{releases[-1].folder}/{lost}")
    whole, swept = (ATTRIBUTES, EMBEDDINGS) if lost == "snapshot" else (EMBEDDINGS, ATTRIBUTES)
    run(shelf, plan(shelf))
    (part,) = shelf.workspace.parts(whole)
    np.testing.assert_array_equal(stored_rows(shelf.workspace, [part]).keys_K, stored[whole])
    assert shelf.rows(swept) == PRODUCTS + 20


def test_nothing_is_deleted_when_fewer_rows_were_gathered_than_should_have_been(shelf: Shelf) -> None:
    shelf.night(rows_per_part=20)
    plans = plan(shelf)
    lost = shelf.workspace.parts(EMBEDDINGS)[0]
    shelf.workspace.write_table(lost, shelf.workspace.read_table(lost).slice(1))
    with pytest.raises(RuntimeError, match=r"39 rows of embeddings/x were gathered, and 40 should have been; nothing of it was deleted"):
        run(shelf, plans)
    assert len(shelf.workspace.parts(EMBEDDINGS)) == 3
