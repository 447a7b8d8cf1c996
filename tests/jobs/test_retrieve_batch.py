"""jobs/retrieve_batch.py, run as its user would, by a retriever that nothing was trained for."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from running import Done
from untrained_retriever import publish_untrained

from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

NORTH, EAST = [f"item {number}" for number in range(30)], [f"item {number}" for number in range(3)]
NEW = {f"item {number}" for number in range(30, 40)}  # nobody sold them
CARTS = [["item 0", "item 31"], ["item 1"], [], ["item 2", "gone"], ["item 3"]]


@pytest.fixture
def workspace(tmp_path: Path, publish_small: Callable[..., Manifest]) -> Workspace:
    """A release, a generator and a scoring model of it, and a later release of other codes."""
    opened = Workspace(str(tmp_path / "workspace"))
    manifest = publish_small(opened)
    publish_untrained(opened, manifest, {"north": NORTH, "east": EAST})
    publish_untrained(opened, manifest, {"north": NORTH, "east": EAST}, "cr", "cr")
    publish_small(opened)
    return opened


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    """Five contexts in Parquet, and three rows in JSON Lines, of which one has no name."""
    folder = tmp_path / "contexts"
    folder.mkdir()
    retailers = ["north", "east", None, "east", "west"]
    histories = [["item 4", "item 5"], [], ["item 4"], None, ["lost"]]
    table = {"case_id": list("abcde"), "user_id": list("uvwxy"), "retailer_id": retailers, "history": histories, "cart": CARTS}
    pq.write_table(pa.table(table), folder / "first.parquet")
    rows = [{"case_id": "f", "cart": ["item 7"], "at": "2026-01-31T10:00:00"}, {"cart": ["item 8"]}, {"case_id": "g", "basket": ["item 9"]}]
    (folder / "second.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_every_context_is_answered_or_rejected_and_a_second_start_makes_only_what_is_missing(
    workspace: Workspace, contexts: Path, tmp_path: Path, run_job: Callable[..., Done]
) -> None:
    out = tmp_path / "lists"
    flags = ("--retriever", "generator", "--contexts", str(contexts), "--workspace", workspace.url, "--out", str(out), "--k", "12")
    settings = ("rows_per_part=2", "actors_max=1")
    job = run_job("retrieve_batch", *flags, settings=settings)
    assert job.code == 0, job.told
    assert job.result == {
        "retriever": "generator@v0001", "release": "small@v0001", "path": str(out), "rows": {"read": 8, "answered": 7, "rejected": 1},
        "short": 0, "empty": 0, "unknown_products": 2, "unknown_retailers": 1,
    }  # fmt: skip
    lists = {row["case_id"]: row for row in ds.dataset(out).to_table().to_pylist()}
    assert sorted(lists) == list("abcdefg")
    for row in lists.values():
        assert len(row["item_ids"]) == len(set(row["item_ids"])) == len(row["scores"]) == 12
        assert row["scores"] == sorted(row["scores"], reverse=True)
    for name, cart in zip("abcde", CARTS, strict=True):
        assert not set(cart).intersection(lists[name]["item_ids"])
    assert set(lists["a"]["item_ids"]) <= {*NORTH, *NEW}
    assert set(lists["b"]["item_ids"]) == {"item 0", "item 2", *NEW}
    names = [f"part-{part}.parquet" for part in ("000000-000000", "000000-000001", "000000-000002", "000001-000000", "000001-000001")]
    assert sorted(path.name for path in out.iterdir()) == ["_begun.json", "_manifest.json", *names]
    (rejected,) = ds.dataset(f"{workspace.url}/rejected").to_table().to_pylist()
    assert rejected["reason"] == f"case_id is missing or blank: line 2 of {contexts / 'second.jsonl'}"
    told = " ".join(job.told.split())
    assert "columns of the contexts that nothing is made of" not in told  # the first file has none
    assert "1 contexts of retailers that were not trained on" in told

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in (names[1], "_manifest.json"):
        (out / name).unlink()
    kept = {name: (out / name).stat().st_mtime_ns for name in names if name != names[1]}
    again = run_job("retrieve_batch", *flags, settings=settings)
    assert (again.code, again.result) == (0, job.result)
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before

    other = run_job("retrieve_batch", *flags[:-1], "3", settings=settings)
    assert other.code == 2
    assert "made with k 12, not 3" in " ".join(other.told.split())


def test_a_retailer_of_which_a_table_knows_nothing_has_an_empty_list_and_the_job_says_so(
    workspace: Workspace, contexts: Path, tmp_path: Path, run_job: Callable[..., Done]
) -> None:
    pq.write_table(pa.table({"item_id": EAST, "retailer_id": ["north"] * 3}), tmp_path / "stock.parquet")
    flags = (
        "--retriever", "generator@v0001", "--contexts", str(contexts / "first.parquet"), "--workspace", workspace.url,
        "--out", str(tmp_path / "lists"), "--availability", str(tmp_path / "stock.parquet"), "--release", "small@v0002", "--translate",
    )  # fmt: skip
    job = run_job("retrieve_batch", *flags)
    assert job.code == 0, job.told
    assert (job.result["short"], job.result["empty"]) == (3, 2)
    assert (job.result["release"], job.result["translated"]["kept"]) == ("small@v0002", 40)
    lists = {row["case_id"]: row["item_ids"] for row in ds.dataset(tmp_path / "lists").to_table().to_pylist()}
    assert (sorted(lists["a"]), lists["b"], lists["d"]) == (["item 1", "item 2"], [], [])
    assert len(lists["c"]) == 20
    told = " ".join(job.told.split())
    assert "2 empty lists, because the retailer has no product: east" in told
    assert "small@v0002 in the codes of small@v0001: 40 products have theirs" in told


def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    workspace: Workspace, contexts: Path, tmp_path: Path, run_job: Callable[..., Done]
) -> None:
    def refused(retriever: str, path: Path, *flags: str, settings: tuple[str, ...] = ()) -> str:
        where = ("--contexts", str(path), "--workspace", workspace.url, "--out", str(tmp_path / "lists"))
        job = run_job("retrieve_batch", "--retriever", retriever, *where, *flags, settings=settings)
        assert job.code == 2, job.told
        return " ".join(job.told.split())

    assert "there are retrievers/cr@v0001, retrievers/generator@v0001" in refused("other", contexts)
    assert "--beams: cr@v0001 scores every product" in refused("cr", contexts, "--beams", "30")
    assert "small@v0002 has a quantizer of its own" in refused("generator", contexts, "--release", "small@v0002")
    assert "none.parquet cannot be read" in refused("generator", contexts, "--availability", str(tmp_path / "none.parquet"))
    assert "'actors'" in refused("generator", contexts, settings=("actors=3",))
    assert f"--contexts {tmp_path / 'none'}: there is nothing there" in refused("generator", tmp_path / "none")
    pq.write_table(pa.table({"case": ["a"]}), tmp_path / "nameless.parquet")
    assert "has no column 'case_id'" in refused("generator", tmp_path / "nameless.parquet")
    assert not (tmp_path / "lists").exists()
