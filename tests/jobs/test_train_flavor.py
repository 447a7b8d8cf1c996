"""jobs/train_flavor.py, run as its user would."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from flaky_store import CUTS, ERRORS, FlakyStore
from running import ROOT, SMALL, Done, Trained, codes_of, kill_in_training, ray_cluster


def test_a_release_is_what_the_contract_says(trained: Trained) -> None:
    files = {str(path.relative_to(trained.release)) for path in trained.release.rglob("*") if path.is_file()}
    assert {"manifest.json", "model.safetensors", "evaluation.json", "report.html"} <= files
    manifest = json.loads((trained.release / "manifest.json").read_text())
    assert (manifest["flavor"], manifest["version"], manifest["parent"]) == ("precision", "v0001", None)
    assert manifest["recipe"]["quantizer"]["codebook_sizes"] == [16, 32, 64, 64]
    assert manifest["metrics"] == trained.job.result["metrics"]
    assert list((trained.workspace / manifest["embeddings"]).glob("part-*.parquet"))
    assert json.loads((trained.workspace / "releases/precision/CURRENT").read_text()) == {"version": "v0001", "previous": None}
    table = ds.dataset(trained.release / "semantic_ids").to_table()
    assert table.schema.field("codes").type == pa.list_(pa.uint16(), 4)
    assert [table.schema.field(name).type for name in ("item_id", "semantic_id")] == [pa.string(), pa.string()]
    for row in table.slice(0, 50).to_pylist():
        assert row["semantic_id"] == "_".join(map(str, row["codes"]))


def test_the_last_line_tells_release_rows_and_figures(trained: Trained) -> None:
    result = trained.job.result
    assert result["release"] == "precision@v0001"
    assert Path(result["path"]) == trained.release
    assert result["rows"] == {"read": 1000, "coded": 1000, "rejected": 0}
    assert result["metrics"]["similarity_depth_spearman"] > 0.5
    assert len(codes_of(trained.release)) == 1000


def test_nothing_of_a_finished_run_is_left_behind(trained: Trained) -> None:
    assert not list((trained.workspace / "runs").glob("*"))
    assert not list(trained.workspace.rglob(".*"))


def test_two_workers_give_codes_as_good_as_one(trained: Trained, warm: Trained) -> None:
    one, two = trained.job.result["metrics"], warm.job.result["metrics"]
    for figure in ("similarity_depth_spearman", "purity_l2_leaf", "distinct_share", "codewords_used_share"):
        assert two[figure] > one[figure] - 0.03, (figure, one[figure], two[figure])


def test_trained_warm_most_products_keep_their_code_and_the_release_says_which_did_not(warm: Trained) -> None:
    assert "training starts from precision@v0001" in warm.job.told
    second = warm.workspace / "releases/precision/v0002"
    old, new = codes_of(warm.release), codes_of(second)
    changed = {depth: sum(old[i].split("_")[:depth] != new[i].split("_")[:depth] for i in old) / len(old) for depth in (1, 4)}
    assert 0 < changed[4] < 0.5, "a free retraining changes nearly all"
    assert changed[1] < 0.1
    manifest = json.loads((second / "manifest.json").read_text())
    assert manifest["churn"]["against"] == "precision@v0001"
    assert [manifest["churn"]["changed"][depth - 1] for depth in (1, 4)] == pytest.approx([changed[1], changed[4]])
    assert warm.job.result["churn"]["changed"] == manifest["churn"]["changed"]
    moved = pq.read_table(second / "migration.parquet").to_pylist()
    assert {row["item_id"]: (row["old"], row["new"]) for row in moved} == {i: (old[i], new[i]) for i in old}
    assert "Stability" in (second / "report.html").read_text()


def test_a_release_is_trained_and_evaluated_with_decided_labels_and_says_which(warm: Trained) -> None:
    second = warm.workspace / "releases/precision/v0002"
    assert warm.job.result["labels"] == {"rows": 3, "changed": 1, "already": 0, "kept": 1, "excluded": 1, "passed_over": 0}
    record = json.loads((second / "manifest.json").read_text())["catalog"]
    assert record["labels"]["source"] == str(warm.workspace / "labels.parquet")
    paths = ds.dataset(warm.workspace / record["snapshot"] / "part-000000-000000.parquet").to_table()["category_path"].to_pylist()
    assert ["Decided", "By hand"] in paths
    assert "Decided labels" in (second / "report.html").read_text()
    leaves = [json.loads((release / "evaluation.json").read_text())["taxonomy_alignment"]["leaves"] for release in (warm.release, second)]
    assert leaves[1] == leaves[0] + 1, "measured against the labels that were decided"
    assert "3 decided labels: 1 changed" in warm.job.told


def test_a_release_says_by_what_engagement_it_was_trained(trained: Trained, warm: Trained) -> None:
    told = "engagement: 2 pairs of 3 products; 1 products are not in the catalog, 1 rows pair a product with itself"
    assert told in warm.job.told
    manifest = json.loads((warm.workspace / "releases/precision/v0002/manifest.json").read_text())
    record = {"source": str(warm.workspace / "bought.parquet"), "pairs": 2, "products": 3, "unknown_products": 1}
    assert manifest["engagement"] == record
    assert json.loads((trained.release / "manifest.json").read_text())["engagement"] is None


def test_a_release_that_is_held_is_published_and_not_current(warm: Trained, run_job: Callable[..., Done]) -> None:
    current = warm.workspace / "releases/precision/CURRENT"
    assert warm.job.result["release"] == "precision@v0002"
    assert json.loads(current.read_text()) == {"version": "v0001", "previous": None}
    assert "precision@v0002 is held: precision@v0001 is current" in warm.job.told
    command = next(line for line in warm.job.told.splitlines() if "jobs/promote_release.py" in line).split()
    assert command == f"python jobs/promote_release.py promote --release precision@v0002 --workspace {warm.workspace}".split()
    promoted = run_job("promote_release", *command[2:])
    assert promoted.code == 0, promoted.told
    assert json.loads(current.read_text()) == {"version": "v0002", "previous": "v0001"}


def test_after_a_full_disk_and_a_kill_in_training_the_codes_are_those_of_an_undisturbed_run(
    trained: Trained, sample: Path, start_job: Callable[..., "subprocess.Popen[str]"], run_job: Callable[..., Done], tmp_path: Path
) -> None:
    """Catches a checkpoint that forgets the optimizer or its place in the order of batches."""
    disk, settings = tmp_path / "disk", (*SMALL, "training.checkpoint_every=10")
    workspace = disk / "workspace"
    flags = ("--flavor", "precision", "--catalog", str(sample), "--workspace", str(workspace))
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(disk)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be made here: {mounted.stderr.strip()}")
    try:
        full = run_job("train_flavor", *flags, settings=settings)
        assert full.code == 2
        assert "the disk is full" in full.told
        assert not (workspace / "releases").exists()
        parts = {path.name: path.stat().st_mtime_ns for path in (workspace / "embeddings").rglob("*.parquet")}
        assert parts

        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        job = start_job("train_flavor", *flags, settings=settings)
        kill_in_training(job, workspace, checkpoints=2)
        assert not (workspace / "releases").exists(), "half a release is visible"
        there = {path.name: path.stat().st_mtime_ns for path in (workspace / "embeddings").rglob("*.parquet")}
        assert parts.items() < there.items(), "what was embedded before the disk was full is embedded again"

        resumed = run_job("train_flavor", *flags, settings=settings)
        assert resumed.code == 0, resumed.told
        assert "going on from its last checkpoint" in resumed.told
        assert "0 products embedded, 1,000 unchanged" in resumed.told
        assert codes_of(Path(resumed.result["path"])) == codes_of(trained.release)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_submitted_to_a_cluster_of_its_own_with_all_in_a_bucket_whose_store_fails_now_and_then(
    s3: str, sample: Path, trained: Trained, run_job: Callable[..., Done]
) -> None:
    """One request in 20 gets 500, 503, or no answer at all, or half of one."""
    import boto3

    client = boto3.client("s3")
    for part in sample.glob("*.parquet"):
        client.upload_file(str(part), "shelf", f"catalogs/sample/{part.name}")
    flags = ["--flavor", "precision", "--catalog", f"{s3}/catalogs/sample", "--workspace", f"{s3}/workspace"]
    words = [word for setting in SMALL for word in ("--set", setting.replace(" ", ""))]
    store = FlakyStore(os.environ["AWS_ENDPOINT_URL"], [*ERRORS, *CUTS], 1 / 20, seed=3)
    try:
        with ray_cluster(AWS_ENDPOINT_URL=store.url) as cluster:  # all processes of the job inherit where the store is
            submit = ["ray", "job", "submit", "--address", cluster.dashboard, "--runtime-env", "jobs/runtime_env.yaml"]
            done = subprocess.run(
                [*submit, "--working-dir", ".", "--", "python", "jobs/train_flavor.py", *flags, *words],
                cwd=ROOT, capture_output=True, text=True, timeout=1100,
            )  # fmt: skip
    finally:
        store.close()
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"release"')))
    assert result["path"] == "s3://shelf/workspace/releases/precision/v0001"
    assert result["metrics"] == trained.job.result["metrics"], "a bucket changes the codes"
    told = re.search(r"the object store failed to answer ([\d,]+) requests", done.stdout)
    assert told, done.stdout
    failures = sum(store.failures.values())
    assert failures > 10
    # Reads that Arrow tries again by itself are not told, and a run has few of them or many.
    assert 0.2 * failures <= int(told[1].replace(",", "")) <= failures, "not counted, or counted twice"
    names = {entry["Key"] for entry in client.list_objects_v2(Bucket="shelf", Prefix="workspace/releases/precision/")["Contents"]}
    for name in ("CURRENT", "v0001/manifest.json", "v0001/model.safetensors", "v0001/evaluation.json", "v0001/report.html"):
        assert f"workspace/releases/precision/{name}" in names
    again = run_job("evaluate_flavor", "--release", "precision@v0001", "--workspace", f"{s3}/workspace")
    assert again.code == 0, again.told
    assert again.result["metrics"] == result["metrics"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("quantizer.codebok_sizes=[16]", "quantizer.codebook_sizes"),
        ("encoder.model=package:no-such-model", "the package no-such-model is not installed"),
        ("quantizer.codebook_sizes=[16, 32, 64, 5000]", "5000 codewords for a catalog of 1000 products"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, told: str, sample: Path, run_job: Callable[..., Done], tmp_path: Path) -> None:
    flags = ("--flavor", "precision", "--catalog", str(sample), "--workspace", str(tmp_path))
    job = run_job("train_flavor", *flags, settings=(*SMALL, setting))
    assert job.code == 2
    assert told in " ".join(job.told.split())
    assert "Traceback" not in job.told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ("training.workers=16",),
            "training asks for 16 CPUs (16 x training worker (training.cpus_per_worker) of 1), and the cluster has 4",
        ),
        (("encoder.actors_min=4", "encoder.actors_max=4"), "embedding asks for 5 CPUs (4 x embedding actor (encoder.cpus_per_actor) of 1"),
    ],
)
def test_a_cluster_that_is_too_small_is_refused_at_once(
    settings: tuple[str, ...], told: str, sample: Path, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    """Ray would wait for ever, without a word."""
    flags = ("--flavor", "precision", "--catalog", str(sample), "--workspace", str(tmp_path / "ws"))
    job = run_job("train_flavor", *flags, settings=(*SMALL, *settings))
    assert job.code == 2
    assert told in " ".join(job.told.split())
    assert not (tmp_path / "ws").exists()
