"""How well the generator and CR retrieve, beside each other and beside controls, on three public logs.

SHELFCODE_DATA=... python tests/benchmarks/retrieval_quality.py [--data amazon_beauty ...] [--folder FOLDER] [--seeds 1]
    [--variant "name: kind [release=NAME] key=value ..."]

- amazon_beauty: leave one out, full ranking
- completejourney: weeks 1-44 are learnt from, half of each basket of weeks 45-47 is asked for, at the basket's store
- amazon_industrial: the longest valid sequence of each user is learnt from; the test rows are asked for

Everything is made by the project's own jobs, from outside: the release, the retrievers and the evaluation, whose page and table lie in
FOLDER/DATA/workspace/evaluations. What is there already is used. A variant is one more retriever, such as "two epochs: cr
training.epochs=2". Those of another release have an evaluation of their own, of the same cases: "themes: generator release=discovery" for
the codes of that flavor, and "dealt out: generator release=shuffled" for those of precision, dealt out to the products at random: what it
has less is what the codes mean.
"""

import json
import os
import random
import shutil
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
        make_release(name, "precision", workspace)
        retrievers = {"precision": ["generator", "cr"]}
        for kind in ("cr", "generator"):
            train(name, kind, kind, (), log, workspace, seeds)
        for each in variant or ():
            title, _, rest = each.partition(":")
            kind, *fields = rest.split()
            of = [field.removeprefix("release=") for field in fields if field.startswith("release=")]
            release, called = (of or ["precision"])[0], title.strip().replace(" ", "_")
            make_release(name, release, workspace)
            settings = tuple(field for field in fields if not field.startswith("release="))
            train(name, kind, called, settings, log, workspace, seeds, release)
            retrievers.setdefault(release, []).append(called)
        limit = CASES_AT_MOST if name == "completejourney" else 10**6
        given = ("--cases", str(cases)) if cases else ()
        for release, names in retrievers.items():
            asked = [word for each in names for seed in range(seeds) for word in ("--retriever", f"{each}@v{seed + 1:04d}")]
            flags = (*asked, "--interactions", str(log), "--workspace", str(workspace), "--limit", str(limit), *given)
            result = run("evaluate_retriever", *flags)
            print(name, release, json.dumps(result["metrics"], indent=1), result["report"], flush=True)


def make_release(data: str, release: str, workspace: Path) -> None:
    """Train a flavor on a set's catalog, or deal out the codes of precision; what is there stays."""
    if (workspace / f"releases/{release}/CURRENT").exists():
        return
    if release != "shuffled":
        flags = ("--flavor", release, "--catalog", str(catalog_file(data)), "--workspace", str(workspace))
        run("train_flavor", *flags, settings=("hardware=cpu",))
        return
    make_release(data, "precision", workspace)
    shutil.copytree(workspace / "releases/precision", workspace / "releases/shuffled")
    folder = workspace / "releases/shuffled/v0001"
    parts = sorted((folder / "semantic_ids").iterdir())
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    dealt = table["item_id"].take(pa.array(random.Random(0).sample(range(len(table)), len(table))))
    table = table.set_column(table.schema.get_field_index("item_id"), "item_id", dealt).sort_by("item_id")
    for part in parts:
        part.unlink()
    pq.write_table(table, parts[0])
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"flavor": "shuffled", "version": "v0001", "files": {}}))


def train(
    data: str, kind: str, name: str, fields: tuple[str, ...], log: Path, workspace: Path, seeds: int, release: str = "precision"
) -> None:
    """As many versions of a retriever as there are seeds; those that are there stay."""
    for seed in range(seeds):
        if not (workspace / f"retrievers/{name}/v{seed + 1:04d}/manifest.json").exists():
            flags = ("--kind", kind, "--name", name, "--release", f"{release}@current", "--interactions", str(log))
            run("train_retriever", *flags, "--workspace", str(workspace), settings=(*SETTINGS[data], *fields, f"training.seed={seed}"))


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
