"""What a generator loses that answers with a later release through translated codes, beside one that is trained on that release.

SHELFCODE_DATA=... python tests/benchmarks/translation_cost.py [--folder FOLDER] [--new-share 0.2] [--cpus 2]

On amazon_beauty: a release and a generator are made without a share of the products, drawn at random, then a release of all of them. It
is answered with by the old generator and its translated codes, and by a generator that is trained again. Asked for is the last product
of each user, after all others (leave one out). A product that the old generator never saw can only be found by its translated code.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import typer
from catalogs import catalog_file
from retrieval_quality import run

K = 10


def main(
    folder: Annotated[Path | None, typer.Option(help="Where everything lies; a temporary folder when left out.")] = None,
    new_share: Annotated[float, typer.Option(help="Share of the products that the first release lacks.")] = 0.2,
    cpus: Annotated[int, typer.Option(help="Threads of a training.")] = 2,
) -> None:
    """Make both releases and both generators, and print recall side by side."""
    base = folder or Path(tempfile.mkdtemp(prefix="shelfcode-translation-"))
    base.mkdir(parents=True, exist_ok=True)
    whole_catalog = catalog_file("amazon_beauty")
    whole_log = whole_catalog.parent / "sequences.parquet"
    new = without_some(whole_catalog, whole_log, base, new_share)
    made(base, "old", "v0001", base / "catalog.parquet", base / "log.parquet", cpus)
    made(base, "again", "v0002", whole_catalog, whole_log, cpus)
    sequences = pq.read_table(whole_log)["item_ids"].to_pylist()
    asked = [(str(row), each[:-1], each[-1]) for row, each in enumerate(sequences) if len(each) > 2 and each[-1] not in each[:-1]]
    pq.write_table(pa.table({"case_id": [case for case, _, _ in asked], "cart": [cart for _, cart, _ in asked]}), base / "contexts.parquet")
    target_of = {case: target for case, _, target in asked}
    translated = recalls(base, "old", ("--release", "precision@v0002", "--translate"), target_of, new)
    again = recalls(base, "again", (), target_of, new)
    ratio = {name: round(translated[name] / again[name], 2) for name in again}
    print(json.dumps({"translated": translated, "trained again": again, "ratio": ratio, "new products": len(new)}, indent=1))


def without_some(catalog: Path, log: Path, base: Path, share: float) -> set[str]:
    """Write catalog and log without a share of the products; those are returned."""
    products, sessions = pq.read_table(catalog), pq.read_table(log)
    names = products["item_id"].to_pylist()
    new = set(random.Random(0).sample(names, round(share * len(names))))
    pq.write_table(products.filter(pc.invert(pc.is_in(products["item_id"], pa.array(sorted(new))))), base / "catalog.parquet")
    sequences = [[item for item in row if item not in new] for row in sessions["item_ids"].to_pylist()]
    rows = [(user, row) for user, row in zip(sessions["user_id"].to_pylist(), sequences, strict=True) if row]
    pq.write_table(pa.table({"user_id": [user for user, _ in rows], "item_ids": [row for _, row in rows]}), base / "log.parquet")
    return new


def made(base: Path, name: str, version: str, catalog: Path, log: Path, cpus: int) -> None:
    """A release and a generator of it; what is there stays."""
    workspace = base / "workspace"
    if not (workspace / f"releases/precision/{version}/manifest.json").exists():
        flags = ("--flavor", "precision", "--catalog", str(catalog), "--workspace", str(workspace))
        run("train_flavor", *flags, settings=("hardware=cpu",))
    if not (workspace / f"retrievers/{name}/CURRENT").exists():
        flags = ("--kind", "generator", "--name", name, "--release", f"precision@{version}", "--interactions", str(log))
        settings = ("split.kind=leave_one_out", f"training.cpus_per_worker={cpus}")
        run("train_retriever", *flags, "--workspace", str(workspace), settings=settings)


def recalls(base: Path, retriever: str, flags: tuple[str, ...], target_of: dict[str, str], new: set[str]) -> dict[str, float]:
    """Recall@K of all targets, of those that the old release had, and of new ones."""
    out = base / f"lists_{retriever}"
    if not (out / "_manifest.json").exists():
        contexts = ("--contexts", str(base / "contexts.parquet"), "--workspace", str(base / "workspace"), "--out", str(out))
        command = [sys.executable, "jobs/retrieve_batch.py", "--retriever", f"{retriever}@current", *contexts, *flags]
        subprocess.run(command, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.PIPE)
    lists = ds.dataset(out, format="parquet").to_table(columns=["case_id", "item_ids"]).to_pylist()
    found = {row["case_id"]: target_of[row["case_id"]] in row["item_ids"][:K] for row in lists}
    slices = {"all": set(found), "known": {case for case in found if target_of[case] not in new}}
    slices["new"] = slices["all"] - slices["known"]
    return {name: round(sum(found[case] for case in cases) / len(cases), 4) for name, cases in slices.items()}


if __name__ == "__main__":
    typer.run(main)
