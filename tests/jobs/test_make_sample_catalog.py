"""jobs/make_sample_catalog.py and jobs/demo.py, run as their user would."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
from running import ROOT, Done


def test_the_sample_lies_where_the_last_line_says(run_job: Callable[..., Done], tmp_path: Path) -> None:
    job = run_job("make_sample_catalog", "--out", str(tmp_path), "--size", "300", "--seed", "4")
    assert job.code == 0, job.told
    assert ds.dataset(job.result["catalog"]).count_rows() == 300
    for fact, rows in job.result["rows"].items():
        if fact != "products":
            assert ds.dataset(Path(job.result["facts"]) / fact).count_rows() == rows, fact


def test_the_demo_trains_both_flavors_on_one_snapshot_and_shows_them(
    start_job: Callable[..., "subprocess.Popen[str]"], run_job: Callable[..., Done], tmp_path: Path
) -> None:
    """In a process of its own, for what libraries print there must not reach the screen.

    With a relative folder, as `make demo` has it: workers run elsewhere and must find it all the same.
    """
    demo = os.path.relpath(tmp_path / "demo", ROOT)
    process = start_job("demo", "--out", demo, "--size", "2000", "--steps", "20", "--retriever-steps", "40", "--extractor", "rules")
    out, told = process.communicate()
    assert process.returncode == 0, told
    job = Done(0, json.loads(out.splitlines()[-1]), told)
    precision, discovery = job.result["releases"]
    assert (precision["release"], discovery["release"]) == ("precision@v0001", "discovery@v0001")
    assert "extraction" not in precision
    assert discovery["extraction"]["extracted"] + discovery["extraction"]["shared"] == 2000
    for release in job.result["releases"]:
        assert release["rows"] == {"read": 2000, "coded": 2000, "rejected": 0}
        assert (Path(release["path"]) / "report.html").exists()
        assert f"{release['path']}/report.html" in job.told.replace("\n", "")
    workspace = tmp_path / "demo" / "workspace"
    assert json.loads((workspace / "releases/discovery/CURRENT").read_text())["version"] == "v0001"
    (extractor,) = (workspace / "attributes").iterdir()
    assert extractor.name.startswith("rules-v1-")
    attributes = ds.dataset(extractor).to_table()
    assert attributes.schema.names == [
        "item_id", "text_hash", "product_type", "key_ingredients", "dietary_tags", "format", "occasion", "extractor", "failure",
        "truncated", "unsupported",
    ]  # fmt: skip
    assert len(attributes) == 2000
    flags = ("--flavor", "discovery", "--catalog", str(tmp_path / "demo/sample/catalog"), "--workspace", str(workspace))
    again = run_job("extract_attributes", *flags)
    assert again.code == 0, again.told
    counts = discovery["extraction"]
    assert again.result["extraction"] == {**counts, "extracted": 0, "shared": 0, "reused": 2000, "unsupported_dropped": 0}
    page = Path(job.result["comparison"])
    assert page.name == "discovery@v0001-against-precision@v0001.html"
    assert "substitute</td>" in page.read_text()
    assert job.told.replace("\n", "").count(str(page)) == 1
    assert len(job.told.splitlines()) < 70, job.told
    assert "2,000 rows read, 2,000 coded, 0 rejected" in job.told
    for shown in ("some prefixes", "Similarity-depth", "Products of one basket", "may belong under", "serve_surfaces.py --workspace"):
        assert shown in job.told
    manifests = [json.loads((workspace / f"releases/{flavor}/v0001/manifest.json").read_text()) for flavor in ("precision", "discovery")]
    assert manifests[0]["catalog"] == manifests[1]["catalog"]
    assert manifests[0]["embeddings"] != manifests[1]["embeddings"]
