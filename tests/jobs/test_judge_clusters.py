"""The judge as its user runs it: a real vLLM engine in Ray Data over a real release, twice, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from running import Done, Trained

SMALL_JUDGE = "package:shelfcode.attributes.small_extractor"
FEW = ("instruments=[pmi]", "clusters=12", "controls=10", "products=6", "title_characters=40", "draws=1")


@pytest.fixture(scope="module")
def workspace(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    for name in ("catalog", "releases"):
        shutil.copytree(trained.workspace / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def baskets(trained: Trained, workspace: Path) -> str:
    """Baskets of seven products each."""
    ids = ds.dataset(trained.workspace / "releases/precision/v0001/semantic_ids").to_table(columns=["item_id"])["item_id"].to_pylist()
    rows = [{"order_id": f"o{number // 7}", "item_id": item_id} for number, item_id in enumerate(ids[:210])]
    pq.write_table(pa.Table.from_pylist(rows), workspace / "baskets.parquet")
    return str(workspace / "baskets.parquet")


@pytest.fixture(scope="module")
def first(run_job: Callable[..., Done], workspace: Path, baskets: str) -> Done:
    flags = ("--release", "precision", "--workspace", str(workspace), "--model", SMALL_JUDGE, "--interactions", baskets)
    return run_job("judge_clusters", *flags, settings=FEW)


def test_a_release_is_judged_and_the_gate_is_told_first(first: Done, workspace: Path) -> None:
    assert first.code == 0, first.told
    told = first.result
    assert told["verdict"] in ("usable", "weak", "cannot_tell")
    assert first.told.index("verdict:") < first.told.index("gates of")
    folder = Path(told["path"])
    assert folder.parent == workspace / "evaluations" / "precision@v0001"
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert [gate["name"] for gate in evaluation["gates"]] == ["pmi.functional", "pmi.purchase", "pmi.journey"]
    assert evaluation["gates"][0]["valid"] == 1.0
    assert evaluation["gates"][1]["positive"]["above"] == "basket"
    table = ds.dataset(workspace / "judgments" / "precision@v0001" / folder.name).to_table()
    assert table.filter(ds.field("control") == "leaf").num_rows == 30
    assert pa.compute.max(table["raw"]).as_py() < 1  # no title is more than foretold
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_the_same_run_again_asks_nothing_and_says_the_same(
    first: Done, run_job: Callable[..., Done], workspace: Path, baskets: str
) -> None:
    flags = ("--release", "precision", "--workspace", str(workspace), "--model", SMALL_JUDGE, "--interactions", baskets)
    again = run_job("judge_clusters", *flags, settings=FEW)
    assert again.code == 0, again.told
    assert again.result["cost"]["asked"] == 0
    for name in ("verdict", "scores", "chosen", "judge"):
        assert again.result[name] == first.result[name]


@pytest.mark.parametrize(
    ("flags", "settings", "said"),
    [
        (("--release", "precision", "--against", "precision@v0001"), (), "--release and --against are both precision@v0001"),
        (("--release", "precision"), ("clustres=3",), "nearest known one is 'clusters'"),
        (
            ("--release", "precision"),
            (*FEW, "title_characters=60", "engine_arguments.max_model_len=16"),
            "has a context of 16 tokens, and the longest",
        ),
        (("--release", "precision"), (*FEW, "products=12"), "leaves of the catalog have 12 products that differ"),
        (("--release", "precision", "--interactions", "/no/such"), FEW, "/no/such"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_its_reason(
    run_job: Callable[..., Done], workspace: Path, flags: tuple[str, ...], settings: tuple[str, ...], said: str
) -> None:
    done = run_job("judge_clusters", *flags, "--workspace", str(workspace), "--model", SMALL_JUDGE, settings=settings)
    assert done.code == 2
    assert said in " ".join(done.told.split())
