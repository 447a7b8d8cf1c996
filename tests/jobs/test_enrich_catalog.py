"""jobs/enrich_catalog.py, run as its user would."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
from running import Done, Trained


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.blake2b(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_sparse_products_are_found_and_the_catalog_is_enriched_beside_what_is_given(
    trained: Trained, sample: Path, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    before, out = fingerprint(trained.release), tmp_path / "enriched"
    flags = ("--release", "precision@current", "--workspace", str(trained.workspace), "--out", str(out), "--threshold", "0.02")
    job = run_job("enrich_catalog", *flags)
    assert job.code == 0, job.told
    assert fingerprint(trained.release) == before, "the release was touched"
    assert not list(trained.workspace.glob("runs/*enrich*")), "texts that were cut are left behind"

    folder = Path(job.result["sparse_products"])
    figures = json.loads((folder / "sparse.json").read_text())
    table = pq.read_table(folder / "part-000000.parquet")
    rows = job.result["rows"]
    assert (rows["read"], rows["coded"], table.num_rows) == (1000, 1000, 1000)
    assert (
        rows["sparse"] == figures["sparse"] == sum(chance > figures["settings"]["threshold"] for chance in table["p_change_l1"].to_pylist())
    )
    assert figures["chance_l1"]["held_out_products"] >= 15
    assert figures["restoration"]["products"] > 60
    lacking = {row["item_id"] for row in table.to_pylist() if "description" in row["missing"]}

    given = {row["item_id"]: row for row in ds.dataset(sample).to_table().to_pylist()}
    enriched = ds.dataset(out).to_table().to_pylist()
    assert [row["item_id"] for row in enriched] == list(given)
    assert lacking == {item_id for item_id, row in given.items() if not row["description"]}
    for row in enriched:
        assert {name: row[name] for name in given[row["item_id"]]} == given[row["item_id"]], "a given value was replaced"
        assert row["sparse"] or row["inferred_from"] is None
        assert row["enriched_brand"] == (row["brand"] or row["inferred_brand"])
        assert not (row["brand"] and row["inferred_brand"])
    assert sum(row["sparse"] for row in enriched) == rows["sparse"]

    mapped = ("catalog.columns.description=enriched_description", "catalog.columns.brand=enriched_brand")
    flags = ("--flavor", "precision", "--catalog", str(out), "--workspace", str(trained.workspace))
    again = run_job("encode_catalog", *flags, settings=mapped)
    assert again.code == 0, again.told
    assert again.result["rows"]["coded"] == 1000


def test_what_cannot_be_is_said(trained: Trained, run_job: Callable[..., Done], tmp_path: Path) -> None:
    flags = ("--workspace", str(trained.workspace), "--out", str(tmp_path))
    unknown = run_job("enrich_catalog", "--release", "precision@v0042", *flags)
    assert unknown.code == 2
    assert "precision@v0001" in unknown.told
    threshold = run_job("enrich_catalog", "--release", "precision", "--threshold", "1.5", *flags)
    assert threshold.code == 2
    assert "threshold" in threshold.told
