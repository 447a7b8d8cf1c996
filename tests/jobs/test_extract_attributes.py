"""jobs/extract_attributes.py by rules, run as its user would, and what becomes of an extractor that cannot be had."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from running import Done

NO_MODEL = ("extractor.engine=vllm", "extractor.model=no/such-model")


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    """Five products, two of which say the same, and a row without a title."""
    titles = [
        "Organic oat milk carton for taco night",
        "Rye bread",
        "Organic oat milk carton for taco night",
        "Bar soap",
        "Apple juice",
        " ",
    ]
    rows = [{"item_id": f"p{number}", "title": title, "description": None, "brand": None} for number, title in enumerate(titles)]
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "shop.parquet")
    return str(tmp_path / "shop.parquet")


def test_every_product_has_its_attributes_and_the_counts_add_up(catalog: str, run_job: Callable[..., Done], tmp_path: Path) -> None:
    flags = ("--flavor", "discovery", "--catalog", catalog, "--workspace", str(tmp_path / "ws"))
    job = run_job("extract_attributes", *flags)
    assert job.code == 0, job.told
    assert job.result["rows"] == {"read": 6, "extracted": 5, "rejected": 1}
    counts = job.result["extraction"]
    assert counts == {
        "extracted": 4, "shared": 1, "reused": 0, "calls": 0, "left_to_rules": 0, "truncated": 0, "unsupported_dropped": 0,
    }  # fmt: skip
    assert job.result["extractor"].startswith("rules-v1-")
    assert Path(job.result["path"]) == tmp_path / "ws/attributes" / job.result["extractor"]
    rows = {row["item_id"]: row for row in ds.dataset(job.result["path"]).to_table().to_pylist()}
    assert sorted(rows) == [f"p{number}" for number in range(5)]
    for item in ("p0", "p2"):
        assert (rows[item]["product_type"], rows[item]["dietary_tags"], rows[item]["occasion"]) == ("oat milk", ["organic"], ["taco night"])
    assert "4 texts extracted by rules, 1 products share another's text, 0 unchanged" in job.told
    assert "dropped" in job.told.split("Some attributes")[1]
    assert "title is blank" in job.told

    again = run_job("extract_attributes", *flags)
    assert again.code == 0, again.told
    assert again.result == {**job.result, "extraction": {**counts, "extracted": 0, "shared": 0, "reused": 5}}
    assert ds.dataset(job.result["path"]).count_rows() == 5


@pytest.mark.parametrize("name", ["extract_attributes", "train_flavor"])
def test_a_model_that_is_nowhere_is_refused_before_a_row_is_read(
    name: str, catalog: str, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    flags = ("--flavor", "discovery", "--catalog", catalog, "--workspace", str(tmp_path / "ws"))
    job = run_job(name, *flags, settings=NO_MODEL)
    assert job.code == 2
    assert "extractor.model 'no/such-model' cannot be loaded" in job.told
    assert "--set extractor.engine=rules" in job.told
    assert "Traceback" not in job.told
    assert not (tmp_path / "ws" / "catalog").exists()
