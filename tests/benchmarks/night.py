"""A workspace with a small release over a cheap encoder, and a night's catalog, for measurements in which neither should cost anything."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/jobs"))

from tiny_model import make_tiny_model  # noqa: E402

BASE_PRODUCTS = 2000
WORDS = ("milk", "oat", "rye", "bread", "apple", "juice", "soap")
SMALL = (
    "quantizer.codebook_sizes=[16,32,64,64]", "quantizer.hidden_sizes=[64]", "quantizer.latent_size=16", "training.steps=50",
    "training.batch_size=256", "training.cpus_per_worker=1", "encoder.max_tokens=16", "encoder.cpus_per_actor=1",
    "encoder.backend=torch", "encoder.actors_max=2",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a job ended: exit code, the object of its last line, and what it said on stderr."""

    code: int
    result: dict[str, Any]
    told: str


def write_products(path: Path, products: int) -> Path:
    """A catalog of short titles made of few words and a number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("item_id", pa.string()), ("title", pa.string()), ("category_path", pa.list_(pa.string()))])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, products, 50_000):
            rows = list(_rows(first, min(first + 50_000, products)))
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return path


def _rows(first: int, end: int) -> Iterator[dict[str, Any]]:
    for number in range(first, end):
        digits = [WORDS[(number // 7**place) % 7] for place in range(4)]
        path = [f"department {number % 7}", f"aisle {number % 49}"]
        yield {"item_id": f"p{number}", "title": f"{' '.join(digits)} {number % 10} {number // 10 % 10}", "category_path": path}


def publish_base(folder: Path, **environment: str) -> Path:
    """A workspace with one release of the first products."""
    model = make_tiny_model(folder / "tiny")
    catalog, workspace = write_products(folder / "base.parquet", BASE_PRODUCTS), folder / "workspace"
    flags = ["--flavor", "precision", "--catalog", str(catalog), "--workspace", str(workspace)]
    ended = finish(start("train_flavor", flags, (*SMALL, f"encoder.model={model}"), **environment))
    assert ended.code == 0, ended.told
    return workspace


def start(job: str, flags: list[str], settings: tuple[str, ...] = (), **environment: str) -> "subprocess.Popen[str]":
    """Start a job in a process of its own."""
    words = [word for setting in settings for word in ("--set", setting)]
    everything = {**os.environ, "HF_HUB_OFFLINE": "1", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **environment}
    return subprocess.Popen(
        [sys.executable, f"jobs/{job}.py", *flags, *words],
        cwd=ROOT,
        env=everything,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(job: "subprocess.Popen[str]", seconds: float = 900) -> Ended:
    """Wait for a job's end."""
    out, told = job.communicate(timeout=seconds)
    return Ended(job.returncode, json.loads(out.splitlines()[-1]) if job.returncode == 0 else {}, told)


def wrong_rows(workspace: Path, catalog: Path, codes: dict[str, str] | None) -> list[str]:
    """What is wrong with the current release's semantic IDs: products twice, lost or strange, and codes other than those given."""
    version = json.loads((workspace / "releases/precision/CURRENT").read_text())["version"]
    table = ds.dataset(workspace / f"releases/precision/{version}/semantic_ids").to_table(columns=["item_id", "semantic_id"])
    wanted, found = set(pq.read_table(catalog, columns=["item_id"])["item_id"].to_pylist()), table["item_id"].to_pylist()
    wrong = {"twice": len(found) - len(set(found)), "lost": len(wanted - set(found)), "strange": len(set(found) - wanted)}
    if codes is not None:
        wrong["stale"] = sum(codes[item_id] != code for item_id, code in zip(found, table["semantic_id"].to_pylist(), strict=True))
    return [f"{count} {name}" for name, count in wrong.items() if count]


def codes_of(workspace: Path) -> dict[str, str]:
    """item_id -> semantic ID of the current release."""
    version = json.loads((workspace / "releases/precision/CURRENT").read_text())["version"]
    table = ds.dataset(workspace / f"releases/precision/{version}/semantic_ids").to_table(columns=["item_id", "semantic_id"])
    return dict(zip(table["item_id"].to_pylist(), table["semantic_id"].to_pylist(), strict=True))
