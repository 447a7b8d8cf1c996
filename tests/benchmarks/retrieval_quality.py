"""How well the generator and CR retrieve, beside each other and beside controls, on three public logs.

SHELFCODE_DATA=... python tests/benchmarks/retrieval_quality.py [--data amazon_beauty ...] [--folder FOLDER] [--seeds 1]
    [--variant "name: kind key=value ..."]

- amazon_beauty: leave one out, full ranking
- completejourney: weeks 1-44 are learnt from, half of each basket of weeks 45-47 is asked for, at the basket's store
- amazon_industrial: the longest valid sequence of each user is learnt from; the test rows are asked for

Everything is made by the project's own jobs, from outside: the release, the retrievers and the evaluation, whose page and table lie in
FOLDER/DATA/workspace/evaluations. What is there already is used. A variant is one more retriever, such as "random codes: generator
generator.start=random".
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from catalogs import catalog_file

ROOT = Path(__file__).parents[2]
LAST_WEEK, CASES_AT_MOST = 44, 3000
SETTINGS = {
    "amazon_beauty": ("split.kind=leave_one_out",),
    "completejourney": (
        "interactions.columns.session_id=basket_id", "interactions.columns.user_id=household_id",
        "interactions.columns.retailer_id=store_id", "interactions.ordered=false",
    ),
    "amazon_industrial": (),
}  # fmt: skip


def main(
    data: Annotated[list[str] | None, typer.Option(help="Logs; all three when left out.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where workspaces lie; a temporary folder when left out.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each retriever.")] = 1,
    variant: Annotated[list[str] | None, typer.Option(help='"name: kind key=value ...", may be given several times.')] = None,
) -> None:
    """Make what is missing, and print the figures of each log."""
    base = folder or Path(tempfile.mkdtemp(prefix="shelfcode-retrieval-"))
    for name in data or list(SETTINGS):
        workspace = base / name / "workspace"
        log, cases = prepared(name, base / name)
        if not (workspace / "releases/precision/CURRENT").exists():
            flags = ("--flavor", "precision", "--catalog", str(catalog_file(name)), "--workspace", str(workspace))
            run("train_flavor", *flags, settings=("hardware=cpu",))
        for kind in ("cr", "generator"):
            train(name, kind, kind, (), log, workspace, seeds)
        named = ["generator", "cr"]
        for each in variant or ():
            title, _, rest = each.partition(":")
            kind, *fields = rest.split()
            named.append(title.strip().replace(" ", "_"))
            train(name, kind, named[-1], tuple(fields), log, workspace, seeds)
        asked = [word for each in named for seed in range(seeds) for word in ("--retriever", f"{each}@v{seed + 1:04d}")]
        limit = CASES_AT_MOST if name == "completejourney" else 10**6
        given = ("--cases", str(cases)) if cases else ()
        result = run("evaluate_retriever", *asked, "--interactions", str(log), "--workspace", str(workspace), "--limit", str(limit), *given)
        print(name, json.dumps(result["metrics"], indent=1), result["report"], flush=True)


def train(data: str, kind: str, name: str, fields: tuple[str, ...], log: Path, workspace: Path, seeds: int) -> None:
    """As many versions of a retriever as there are seeds; those that are there stay."""
    for seed in range(seeds):
        if not (workspace / f"retrievers/{name}/v{seed + 1:04d}/manifest.json").exists():
            flags = ("--kind", kind, "--name", name, "--interactions", str(log), "--workspace", str(workspace))
            run("train_retriever", *flags, settings=(*SETTINGS[data], *fields, f"training.seed={seed}"))


def prepared(data: str, folder: Path) -> tuple[Path, Path | None]:
    """The log to learn from and, where the protocol gives them, the cases."""
    folder.mkdir(parents=True, exist_ok=True)
    source, log, cases = catalog_file(data).parent, folder / "log.parquet", folder / "cases.parquet"
    if data == "amazon_beauty":
        return source / "sequences.parquet", None
    if data == "amazon_industrial":
        rows = pq.read_table(source / "sequences.parquet")
        pq.write_table(longest_of_users(rows.filter(pc.equal(rows["split"], "valid"))), log)
        tests = rows.filter(pc.equal(rows["split"], "test"))
        columns = {
            "case_id": [str(row) for row in range(len(tests))], "cart": tests["history"],
            "targets": pa.array([[each] for each in tests["target"].to_pylist()], pa.list_(pa.string())),
        }  # fmt: skip
        pq.write_table(pa.table(columns), cases)
        return log, cases
    baskets = pq.read_table(source / "baskets.parquet")
    pq.write_table(baskets.filter(pc.less_equal(baskets["week"], LAST_WEEK)), log)
    pq.write_table(later_halves(baskets), cases)
    return log, cases


def longest_of_users(rows: pa.Table) -> pa.Table:
    """The longest sequence of each user that has two products or more: the others are its beginnings."""
    longest: dict[str, list[str]] = {}
    for row in rows.to_pylist():
        sequence = [*row["history"], row["target"]]
        if len(sequence) > max(1, len(longest.get(row["user_id"], []))):
            longest[row["user_id"]] = sequence
    return pa.table({"user_id": list(longest), "item_ids": list(longest.values())})


def later_halves(baskets: pa.Table) -> pa.Table:
    """Cases of the weeks after the last one that is learnt from: half of each basket of four or more, drawn by its own number."""
    rows = sorted(baskets.to_pylist(), key=lambda row: row["at"])
    past: dict[str, list[str]] = {}
    stores = set()
    for row in rows:
        if row["week"] <= LAST_WEEK:
            past.setdefault(row["household_id"], []).extend(row["item_ids"])
            stores.add(row["store_id"])
    cases = []
    for row in rows:
        if row["week"] <= LAST_WEEK or row["household_id"] not in past or row["store_id"] not in stores or len(row["item_ids"]) < 4:
            continue
        products = sorted(row["item_ids"], key=lambda item: (len(item), item))
        random.Random(int(row["basket_id"])).shuffle(products)
        half = min(20, len(products) // 2)
        cases.append({
            "case_id": row["basket_id"], "retailer_id": row["store_id"], "at": row["at"], "history": past[row["household_id"]][-200:],
            "cart": products[:half], "targets": products[half:],
        })  # fmt: skip
    return pa.Table.from_pylist(cases)


def run(job: str, *flags: str, settings: tuple[str, ...] = ()) -> dict[str, dict[str, object]]:
    """A job in a process of its own; its last line."""
    command = [sys.executable, f"jobs/{job}.py", *flags, *(word for each in settings for word in ("--set", each))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, dict[str, object]] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    typer.run(main)
