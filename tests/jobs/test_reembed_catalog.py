"""jobs/reembed_catalog.py, run as its operator would: only what changed is done, and every night ends with exactly the right rows."""

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from running import SMALL, Done, Trained, codes_of
from tiny_model import make_tiny_model

from shelfcode.embedding.encoder import encoder_name
from shelfcode.flavor import Recipe
from shelfcode.lease import hold_lease
from shelfcode.workspace import Workspace

Job = Callable[..., Done]


def write_catalog(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return str(path)


def reembed(run_job: Job, catalog: str, workspace: Path | str, *more: str, settings: tuple[str, ...] = ()) -> Done:
    flags = ("--flavor", "precision", "--catalog", catalog, "--workspace", str(workspace), *more)
    return run_job("reembed_catalog", *flags, settings=settings)


def embedding_actors() -> list[psutil.Process]:
    """The embedding actors of the tests' own Ray, and of no other on this machine: those below its raylet."""
    import ray

    session = ray.get_runtime_context().get_session_name()

    def is_ours(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return "EmbeddingActor" in " ".join(process.cmdline()) and session in " ".join(psutil.Process(process.ppid()).cmdline())
        return False

    return [process for process in psutil.process_iter() if is_ours(process)]


def first_code(semantic_id: str) -> int:
    return int(semantic_id.split("_")[0])


@pytest.fixture
def nightly(trained: Trained, tmp_path: Path) -> Path:
    """A workspace of the test's own with one release of 1,000 products."""
    shutil.copytree(trained.workspace, tmp_path / "workspace", ignore=shutil.ignore_patterns("leases"))
    for later in (tmp_path / "workspace/releases/precision").glob("v000[2-9]"):  # other tests train further ones
        shutil.rmtree(later)
    (tmp_path / "workspace/releases/precision/CURRENT").write_text('{"version": "v0001", "previous": null}')
    return tmp_path / "workspace"


@pytest.fixture
def products(sample: Path) -> pa.Table:
    return ds.dataset(sample).to_table()


def test_only_what_changed_is_embedded_and_coded_and_removed_products_leave(
    nightly: Path, products: pa.Table, run_job: Job, tmp_path: Path
) -> None:
    old, rows = codes_of(nightly / "releases/precision/v0001"), products.to_pylist()
    gone, changed, twins = rows[:5], rows[10:13], rows[100:104]
    for row in changed:
        row["title"] = f"{row['title']}, another recipe"
    added = [{**row, "item_id": f"new {row['item_id']}"} for row in twins]
    blank = {**rows[50], "item_id": "blank", "title": " "}
    catalog = write_catalog(tmp_path / "night/catalog.parquet", [*rows[5:], *added, blank], products.schema)

    job = reembed(run_job, catalog, nightly)
    assert job.code == 0, job.told
    assert job.result["release"] == "precision@v0002"
    assert job.result["changes"] == {"added": 4, "changed": 3, "removed": 5, "unchanged": 992, "rejected": 1}
    assert job.result["rows"] == {"read": 1000, "coded": 999, "rejected": 1}
    assert job.result["embedded"] == 7
    new = codes_of(nightly / "releases/precision/v0002")
    assert not {row["item_id"] for row in gone} & new.keys()
    assert {row["item_id"]: new[f"new {row['item_id']}"] for row in twins} == {row["item_id"]: old[row["item_id"]] for row in twins}
    same = old.keys() & new.keys() - {row["item_id"] for row in changed}
    assert len(same) == 992
    assert {item_id: new[item_id] for item_id in same} == {item_id: old[item_id] for item_id in same}

    manifest = json.loads((nightly / "releases/precision/v0002/manifest.json").read_text())
    assert (manifest["parent"], manifest["model_from"]) == ("precision@v0001", "precision@v0001")
    assert manifest["churn"]["products"] == 995
    files = {name: (nightly / f"releases/precision/{name}").read_bytes() for name in ("v0001/model.safetensors", "v0002/model.safetensors")}
    assert len(set(files.values())) == 1
    migration = pq.read_table(nightly / "releases/precision/v0002/migration.parquet").to_pylist()
    assert {row["item_id"]: (row["old"], row["new"]) for row in migration} == {
        item_id: (old[item_id], new[item_id]) for item_id in old.keys() & new.keys()
    }

    again = reembed(run_job, catalog, nightly)
    assert again.code == 0, again.told
    assert (again.result["release"], again.result["embedded"]) == ("precision@v0002", 0)
    assert again.result["changes"] == {"added": 0, "changed": 0, "removed": 0, "unchanged": 999, "rejected": 1}
    assert "nothing changed: precision@v0002 stays as it is" in again.told
    assert {path.name for path in (nightly / "releases/precision").glob("v*")} == {"v0001", "v0002"}


def test_a_new_price_alone_reaches_surfaces_and_costs_no_embedding(nightly: Path, products: pa.Table, run_job: Job, tmp_path: Path) -> None:
    rows = products.to_pylist()
    rows[3]["price"] = 123.0
    job = reembed(run_job, write_catalog(tmp_path / "night/catalog.parquet", rows, products.schema), nightly)
    assert job.code == 0, job.told
    assert (job.result["release"], job.result["embedded"]) == ("precision@v0002", 0)
    assert codes_of(nightly / "releases/precision/v0002") == codes_of(nightly / "releases/precision/v0001")
    snapshot = json.loads((nightly / "releases/precision/v0002/manifest.json").read_text())["catalog"]["snapshot"]
    assert 123.0 in ds.dataset(list((nightly / snapshot).glob("part-*.parquet"))).to_table()["price"].to_pylist()


def test_a_catalog_that_lost_most_of_its_products_is_refused_unless_that_is_allowed(
    nightly: Path, products: pa.Table, run_job: Job, tmp_path: Path
) -> None:
    catalog = write_catalog(tmp_path / "night/catalog.parquet", products.to_pylist()[:100], products.schema)
    job = reembed(run_job, catalog, nightly)
    assert job.code == 2
    assert "the catalog lacks 900 of the 1,000 products" in job.told
    assert "--allow-removals" in job.told
    assert not (nightly / "releases/precision/v0002").exists()
    allowed = reembed(run_job, catalog, nightly, "--allow-removals", "--hold")
    assert allowed.code == 0, allowed.told
    assert len(codes_of(nightly / "releases/precision/v0002")) == 100
    assert json.loads((nightly / "releases/precision/CURRENT").read_text())["version"] == "v0001", "it was to be held"


def test_two_runs_at_once_the_second_refuses_or_waits(nightly: Path, sample: Path, run_job: Job) -> None:
    with hold_lease(Workspace(str(nightly)), "precision", "20260131T093000-reembed-precision-first"):
        job = reembed(run_job, str(sample), nightly)
        assert job.code == 2
        assert "20260131T093000-reembed-precision-first holds the lease on precision" in job.told
        assert "--wait" in job.told
        trained = run_job("train_flavor", "--flavor", "precision", "--catalog", str(sample), "--workspace", str(nightly), settings=SMALL)
        assert trained.code == 2
        assert "holds the lease" in trained.told
    assert reembed(run_job, str(sample), nightly).code == 0


def test_without_a_release_or_with_another_layout_it_says_what_to_do(nightly: Path, sample: Path, run_job: Job, tmp_path: Path) -> None:
    empty = reembed(run_job, str(sample), tmp_path / "empty")
    assert empty.code == 2
    assert "train a flavor first" in empty.told
    for layout, told in ((0, "To migrate: make a new workspace"), (99, "install a newer one")):
        (nightly / "layout.json").write_text(json.dumps({"layout": layout}))
        job = reembed(run_job, str(sample), nightly)
        assert job.code == 2
        assert told in job.told


def test_an_encoder_that_is_another_one_now_is_refused_before_anything_is_coded(
    nightly: Path, sample: Path, run_job: Job, tmp_path: Path
) -> None:
    """A model trained anew in its old folder: its vectors would stand beside those of the old one, and mean something else."""
    make_tiny_model(tmp_path / "tiny")
    path = nightly / "releases/precision/v0001/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["recipe"]["encoder"]["model"] = str(tmp_path / "tiny")
    recipe = Recipe.model_validate(manifest["recipe"])
    path.write_text(json.dumps(manifest | {"embeddings": f"embeddings/{encoder_name(recipe.encoder, recipe.text_view)}"}))
    shutil.rmtree(tmp_path / "tiny")
    make_tiny_model(tmp_path / "tiny", dimensions=48)
    job = reembed(run_job, str(sample), nightly)
    assert job.code == 2
    assert "the encoder changed" in job.told
    assert len(list((nightly / "embeddings").iterdir())) == 1


def test_killed_workers_and_a_killed_driver_leave_exactly_the_right_rows(
    nightly: Path, products: pa.Table, start_job: Callable[..., "subprocess.Popen[str]"], run_job: Job, tmp_path: Path
) -> None:
    """An embedding actor dies, then the driver; the next start does the rest. Each new product has an old one's text, and so its code."""
    rows, old = products.to_pylist(), codes_of(nightly / "releases/precision/v0001")
    added = [{**row, "item_id": f"new {row['item_id']}"} for row in rows]
    catalog = write_catalog(tmp_path / "night/catalog.parquet", [*rows, *added], products.schema)
    settings = ("encoder.rows_per_part=64",)
    job = start_job("reembed_catalog", "--flavor", "precision", "--catalog", catalog, "--workspace", str(nightly), settings=settings)
    embeddings = next((nightly / "embeddings").iterdir())
    before = len(list(embeddings.glob("part-*.parquet")))

    def wait_for_parts(count: int) -> None:
        deadline = time.monotonic() + 900
        while len(list(embeddings.glob("part-*.parquet"))) < before + count:
            assert job.poll() is None, f"the job ended before it could be disturbed: {job.communicate()[1]}"
            assert time.monotonic() < deadline
            time.sleep(0.02)

    wait_for_parts(2)
    victims = embedding_actors()
    assert victims
    for actor in victims:
        actor.kill()
    wait_for_parts(5)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    assert not (nightly / "releases/precision/v0002").exists(), "half a release is visible"

    resumed = reembed(run_job, catalog, nightly, settings=settings)
    assert resumed.code == 0, resumed.told
    assert resumed.result["changes"] == {"added": 1000, "changed": 0, "removed": 0, "unchanged": 1000, "rejected": 0}
    assert 0 < resumed.result["embedded"] < 1000, "what was embedded before the driver died is embedded again"
    table = ds.dataset(nightly / "releases/precision/v0002/semantic_ids").to_table()
    assert len(table) == len(set(table["item_id"].to_pylist())) == 2000
    assert codes_of(nightly / "releases/precision/v0002") == old | {f"new {item_id}": code for item_id, code in old.items()}


def test_a_constraint_holds_for_what_is_trained_and_for_every_night_after_it(
    trained: Trained, products: pa.Table, run_job: Job, tmp_path: Path
) -> None:
    """Half of the products say no tier. One whose tier changes is coded again though its text is what it was; a tier of which training
    knew nothing is said, and leaves its product free."""
    shutil.copytree(trained.workspace / "embeddings", tmp_path / "workspace/embeddings")
    tiers = [None if number % 2 else ("value", "premium", "luxury")[number // 2 % 3] for number in range(len(products))]
    first = tmp_path / "catalog.parquet"
    pq.write_table(products.append_column("brand_tier", pa.array(tiers)), first)
    flags = ("--flavor", "precision", "--catalog", str(first), "--workspace", str(tmp_path / "workspace"))

    refused = run_job("train_flavor", *flags, settings=(*SMALL, "quantizer.constraint=brand_teir"))
    assert refused.code == 2
    assert "quantizer.constraint brand_teir: the catalog has no such column (it has item_id, title" in refused.told

    job = run_job("train_flavor", *flags, settings=(*SMALL, "quantizer.constraint=brand_tier", "training.steps=20"))
    assert job.code == 0, job.told
    assert "kept apart by brand_tier: luxury 166, premium 167, value 167, unknown 500 products" in job.told
    assert job.result["metrics"]["constraint_purity"] == 1
    release = Path(job.result["path"])
    of_group = json.loads((release / "constraint.json").read_text())["codewords"]
    assert sorted(code for codes in of_group.values() for code in codes) == list(range(16))
    old = codes_of(release)
    for item_id, tier in zip(products["item_id"].to_pylist(), tiers, strict=True):
        assert first_code(old[item_id]) in of_group[tier or "unknown"]

    tiers[:3] = ["luxury", "antique", None]
    night = tmp_path / "night.parquet"
    pq.write_table(products.append_column("brand_tier", pa.array(tiers)), night)
    job = reembed(run_job, str(night), tmp_path / "workspace")
    assert job.code == 0, job.told
    assert "with a value that no product had in training: 1 products" in job.told
    assert job.result["changes"] == {"added": 0, "changed": 2, "removed": 0, "unchanged": 998, "rejected": 0}
    new = codes_of(Path(job.result["path"]))
    ids = products["item_id"].to_pylist()
    assert first_code(new[ids[0]]) in of_group["luxury"]
    assert first_code(new[ids[2]]) in of_group["unknown"]
    assert all(new[item_id] == old[item_id] for item_id in ids[3:])
    assert (Path(job.result["path"]) / "constraint.json").read_text() == (release / "constraint.json").read_text()
