"""jobs/compare_releases.py, run as its user would, on small releases that nothing was trained for, and without Ray."""

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray
from rich.console import Console
from running import Done

import compare_releases
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.evaluation.quality.evaluate import evaluate, headline
from shelfcode.evaluation.release_files import read_evaluation
from shelfcode.evaluation.stability.churn import Churn
from shelfcode.index.translation_table import translate
from shelfcode.job import command, screen
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

Compare = Callable[..., Done]

PRODUCTS = 200
PATHS = [["<b>tea</b>" if number < 100 else "bread", f"shelf {number % 20}"] for number in range(PRODUCTS)]
TWO = ("--release", "small@v0002", "--against", "small@v0001")


def codes(moved: int) -> np.ndarray:
    """Codes that follow the embeddings; the first so many products have another first codeword than they would, ten more another second."""
    numbers = np.arange(PRODUCTS)
    codes_NL = np.stack([numbers // 50, numbers // 25], axis=1)
    codes_NL[:moved, 0] = 7
    codes_NL[moved : moved + 10, 1] = 15
    return codes_NL


def embeddings() -> np.ndarray:
    rng = np.random.default_rng(0)
    x_ND = 0.3 * rng.standard_normal((PRODUCTS, 12)) + np.repeat(rng.standard_normal((8, 12)), 25, axis=0)
    return (x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path))


@pytest.fixture
def publish(workspace: Workspace, publish_small: Callable[..., Manifest]) -> Callable[..., Manifest]:
    """Publishes a release with these codes, its evaluation, and products of these names."""

    def publish(codes_NL: np.ndarray, name: str = "item") -> Manifest:
        manifest = publish_small(workspace)
        workspace.remove(f"{manifest.folder}/semantic_ids")
        items = pa.chunked_array([[f"{name} {number}" for number in range(PRODUCTS)]], pa.string())
        workspace.write_table(f"{manifest.folder}/semantic_ids/part-000000.parquet", semantic_ids_table(items, codes_NL))
        evaluation = evaluate(embeddings(), codes_NL, (8, 16), taxonomy_from_paths(PATHS))
        workspace.write_json(f"{manifest.folder}/evaluation.json", evaluation.model_dump(mode="json"))
        return manifest

    return publish


@pytest.fixture
def catalog(workspace: Workspace) -> None:
    """The snapshot that all small releases name."""
    path = "catalog/1/part-0.parquet"
    workspace.write_table(path, pa.table({"item_id": [f"item {number}" for number in range(PRODUCTS)], "category_path": PATHS}))
    snapshot = Snapshot(
        folder="catalog/1", source="shop", fingerprint="f", read=PRODUCTS, rejected=0, rejected_folder="rejected/1", reasons={},
        parts=(SnapshotPart(path=path, rows=PRODUCTS),),
    )  # fmt: skip
    workspace.write_json("catalog/1/manifest.json", snapshot.model_dump(mode="json"))


@pytest.fixture
def two(publish: Callable[..., Manifest], catalog: None) -> tuple[Manifest, Manifest]:
    """A fifth of the products have another first codeword in the second, a twentieth more another second one."""
    return publish(codes(0) % 15), publish(codes(40))


@pytest.fixture
def job(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Runs the job by its command line; a Ray that it asked for would be missed."""
    monkeypatch.setattr(screen, "console", Console(stderr=True, width=200))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "init", None)

    def run(*flags: str) -> Done:
        out, told, code = io.StringIO(), io.StringIO(), 0
        monkeypatch.setattr(sys, "argv", ["compare_releases.py", "--workspace", workspace.url, *flags])
        with redirect_stdout(out), redirect_stderr(told):
            try:
                command.run_job(compare_releases.main)
            except SystemExit as stop:
                code = int(stop.code or 0)
        lines = out.getvalue().splitlines()
        return Done(code, json.loads(lines[-1]) if lines else {}, told.getvalue())

    return run


def test_quality_and_churn_of_two_releases_stand_side_by_side(job: Compare, workspace: Workspace, two: tuple[Manifest, Manifest]) -> None:
    done = job(*TWO)
    assert done.code == 0, done.told
    published = [headline(read_evaluation(workspace, each.folder)) for each in two]
    assert list(done.result) == ["release", "against", "path", "metrics", "metrics_against", "churn", "gates"]
    assert (done.result["release"], done.result["against"]) == ("small@v0002", "small@v0001")
    assert (done.result["metrics_against"], done.result["metrics"]) == tuple(published)
    churn = {"products": PRODUCTS, "added": 0, "removed": 0, "changed": {"l1": pytest.approx(0.2), "l2": pytest.approx(0.25)}}
    assert done.result["churn"] == churn
    assert done.result["gates"] == {}
    rows = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in done.told.splitlines() if line.startswith("│")]
    assert ["all products", "200", "0.2000", "0.2500"] in rows
    assert ["<b>tea</b>", "100", "0.4000", "0.5000"] in rows
    assert [row[0] for row in rows].count("Similarity-depth") == 1


def test_the_folder_has_the_page_and_the_tables(job: Compare, workspace: Workspace, two: tuple[Manifest, Manifest]) -> None:
    folder = Path(job(*TWO).result["path"])
    assert folder == Path(workspace.url) / "evaluations/small@v0002-against-small@v0001"
    assert sorted(each.name for each in folder.iterdir()) == ["churn.json", "migration.parquet", "report.html", "translation.parquet"]
    churn = Churn.model_validate_json((folder / "churn.json").read_text())
    assert (churn.against, churn.changed) == ("small@v0001", (0.2, 0.25))
    relative = "evaluations/small@v0002-against-small@v0001"
    assert workspace.read_table(f"{relative}/migration.parquet")["kept_levels"].value_counts().to_pylist() == [
        {"values": 0, "counts": 40}, {"values": 1, "counts": 10}, {"values": 2, "counts": 150},
    ]  # fmt: skip
    assert translate(workspace.read_table(f"{relative}/translation.parquet"), ["0"]) == {"0": [("7", 0.8), ("0", 0.2)]}
    page = (folder / "report.html").read_text()
    assert "<title>small@v0002 against small@v0001</title>" in page
    assert "Stability" in page
    assert "plot-moves" in page
    assert "&lt;b&gt;tea&lt;/b&gt;" in page
    assert "<b>tea" not in page


def test_gates_that_hold_are_told_and_the_job_succeeds(job: Compare, two: tuple[Manifest, Manifest]) -> None:
    done = job(*TWO, "--max-churn-l1", "0.2", "--max-churn", "0.3", "--max-spearman-loss", "1")
    assert done.code == 0, done.told
    assert done.result["gates"]["max_churn_l1"] == {"limit": 0.2, "value": 0.2, "held": True}
    assert all(gate["held"] for gate in done.result["gates"].values())
    lost = done.result["metrics_against"]["similarity_depth_spearman"] - done.result["metrics"]["similarity_depth_spearman"]
    assert done.result["gates"]["max_spearman_loss"]["value"] == pytest.approx(lost)


def test_one_gate_that_does_not_hold_fails_the_job_after_its_last_line(job: Compare, two: tuple[Manifest, Manifest]) -> None:
    done = job(*TWO, "--max-churn-l1", "0.05", "--max-churn", "0.3")
    assert done.code == 1
    assert {name: gate["held"] for name, gate in done.result["gates"].items()} == {"max_churn_l1": False, "max_churn": True}
    assert "max_churn_l1 does not hold" in done.told
    assert "is 0.2000, 0.15 above the limit of 0.05" in done.told
    assert "max_churn holds" in done.told
    assert Path(done.result["path"], "report.html").exists()


def test_a_loss_of_quality_fails_the_job(job: Compare, publish: Callable[..., Manifest]) -> None:
    publish(codes(0))
    publish(np.random.default_rng(0).permutation(codes(0)))
    done = job(*TWO, "--max-spearman-loss", "0.01")
    assert done.code == 1
    assert done.result["gates"]["max_spearman_loss"]["value"] > 0.1
    assert job("--release", "small@v0001", "--against", "small@v0002", "--max-spearman-loss", "0").code == 0


def test_a_release_against_itself_changed_nothing(job: Compare, two: tuple[Manifest, Manifest]) -> None:
    done = job("--release", "small", "--against", "small@v0002", "--max-churn", "0", "--max-spearman-loss", "0")
    assert done.code == 0, done.told
    assert done.result["churn"]["changed"] == {"l1": 0, "l2": 0}


def test_without_its_catalog_a_release_has_no_departments_and_the_job_says_so(job: Compare, publish: Callable[..., Manifest]) -> None:
    publish(codes(0))
    publish(codes(40))
    done = job(*TWO)
    assert done.code == 0, done.told
    assert "no longer holds catalog/1, which small@v0002 was trained on" in done.told
    assert json.loads(Path(done.result["path"], "churn.json").read_text())["departments"] == []


def test_without_a_common_product_there_is_no_churn_and_its_gates_do_not_hold(job: Compare, publish: Callable[..., Manifest]) -> None:
    publish(codes(0), "old")
    publish(codes(0), "new")
    done = job(*TWO)
    assert done.code == 0, done.told
    assert "no churn: the two releases have no product in common" in done.told
    assert done.result["churn"] == {"products": 0, "added": PRODUCTS, "removed": PRODUCTS, "changed": {}}
    gated = job(*TWO, "--max-churn-l1", "1", "--max-churn", "1", "--max-spearman-loss", "0")
    assert gated.code == 1
    assert {name: gate["value"] for name, gate in gated.result["gates"].items()} == {
        "max_churn_l1": None, "max_churn": None, "max_spearman_loss": 0,
    }  # fmt: skip


def test_releases_of_two_flavors_are_refused_with_the_job_that_compares_them(
    job: Compare, workspace: Workspace, two: tuple[Manifest, Manifest]
) -> None:
    other = two[0].model_copy(update={"flavor": "large"})
    workspace.write_json(f"{other.folder}/manifest.json", other.model_dump(mode="json"))
    done = job("--release", "large@v0001", "--against", "small@v0001")
    assert done.code == 2
    assert done.result == {}
    assert "evaluate_flavor.py --release large@v0001 --against small@v0001" in done.told
    assert not workspace.exists("evaluations")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--release", "small@v0009", "--against", "small@v0001"), "there are small@v0001, small@v0002"),
        ((*TWO, "--max-churn", "5"), "should be less than or equal to 1"),
        (("--release", "small@v0002"), "Missing option '--against'"),
    ],
)
def test_what_is_missing_or_odd_is_named(flags: tuple[str, ...], told: str, job: Compare, two: tuple[Manifest, Manifest]) -> None:
    done = job(*flags)
    assert done.code == 2
    assert told in " ".join(done.told.split())
    assert "Traceback" not in done.told


def test_lost_semantic_ids_are_named(job: Compare, workspace: Workspace, two: tuple[Manifest, Manifest]) -> None:
    workspace.remove(f"{two[0].folder}/semantic_ids")
    done = job(*TWO)
    assert done.code == 2
    assert "releases/small/v0001/semantic_ids holds no semantic IDs" in done.told
