"""jobs/encode_catalog.py, run as its user would."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
from running import Done, Trained, codes_of


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.blake2b(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_new_products_get_codes_from_the_frozen_release(
    trained: Trained, sample: Path, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    """A new product with the text of an old one must get the old one's code: the same model, the same encoder."""
    old = ds.dataset(sample).to_table().slice(0, 40)
    new = old.set_column(0, "item_id", [[f"new-{item_id}" for item_id in old["item_id"].to_pylist()]])
    pq.write_table(new, tmp_path / "new.parquet")
    before = fingerprint(trained.release)
    flags = ("--catalog", str(tmp_path / "new.parquet"), "--workspace", str(trained.workspace), "--release", "precision@v0001")
    job = run_job("encode_catalog", "--flavor", "precision", *flags)
    assert job.code == 0, job.told
    assert job.result["release"] == "precision@v0001"
    assert job.result["rows"] == {"read": 40, "coded": 40, "rejected": 0}
    assert fingerprint(trained.release) == before, "encoding touched the release"
    codes, known = codes_of(Path(job.result["path"]).parent), codes_of(trained.release)
    assert {item_id: codes[f"new-{item_id}"] for item_id in old["item_id"].to_pylist()} == {
        item_id: known[item_id] for item_id in old["item_id"].to_pylist()
    }


def test_without_a_release_it_says_what_to_do(sample: Path, run_job: Callable[..., Done], tmp_path: Path) -> None:
    job = run_job("encode_catalog", "--flavor", "precision", "--catalog", str(sample), "--workspace", str(tmp_path))
    assert job.code == 2
    assert "train a flavor first" in job.told


def test_the_model_of_a_release_cannot_be_set(trained: Trained, sample: Path, run_job: Callable[..., Done]) -> None:
    flags = ("--flavor", "precision", "--catalog", str(sample), "--workspace", str(trained.workspace))
    job = run_job("encode_catalog", *flags, settings=("quantizer.latent_size=64",))
    assert job.code == 2
    assert "frozen" in job.told
