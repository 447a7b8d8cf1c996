"""How well an audit finds wrong labels, beside other methods: planted errors, human labels, and the sample catalog's own misfilings.

SHELFCODE_DATA=... python tests/benchmarks/audit_quality.py [--folder FOLDER] [--case instacart-3 ...] [--with discovery]
    [--variant "name: key=value ..."] [--paired] [--no-peers]

A case is a catalog and what is known about its labels:

- instacart-P, instacart-P-seedS: the Instacart catalog with P percent of its labels flipped before the release is trained
- instacart-P-after: the same, flipped after: the codes come from a release that was trained on the true labels
- mwpd_gpc: products of many shops under their own categories, against human GS1 labels
- sample: the sample catalog, whose misfiled products are known; sample-SIZE-seedS: another one, such as sample-1000-seed1

Each lies in FOLDER/CASE as catalog.parquet, truth.parquet and workspace/, and is made where it is missing: by the project's own jobs, from
outside. A case that is there already is used, and its audit is made anew. Peers are in audit_peers.py, figures in audit_protocol.py.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import typer
from audit_peers import Labelled, Peer, peers
from audit_protocol import Figures, Suspicions, Truth, against_gold, figures, flip, paired, paths_of, planted, says_something
from catalogs import catalog_file
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
CASES = ("instacart-3", "instacart-0", "instacart-1", "instacart-10", "mwpd_gpc", "sample")
MUST = {
    "instacart": ("must", ">= .75", ">= .50", "", ">= .85", "", "<= .03", "", ">= .85", "<= 90"),
    "mwpd_gpc": ("must", "1.3 x the best peer", "", "", "", "", "", "", "", ""),
    "sample": ("must", ">= .90", "", "", "", "", "", "", "", ""),
}
COLUMNS = (
    "method", "average precision", "siblings", "any leaf", "recall at 5%", "right of first 100", "calibration error", "expected wrong",
    "first suggestion right", "seconds",
)  # fmt: skip
TEXT_CHARACTERS = 300
"""Of the beginning of a product's text, for peers that read words."""
ALL = "p_min=0"
"""Every labelled product becomes a finding, so that each has a score."""


@dataclass(frozen=True)
class Case:
    """A catalog in its folder."""

    name: str
    folder: Path

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.parquet"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def truth(self) -> Truth:
        catalog, truth = pq.read_table(self.catalog), pq.read_table(self.folder / "truth.parquet")
        return against_gold(catalog, truth) if self.name == "mwpd_gpc" else planted(catalog, truth)


@dataclass(frozen=True)
class Audited:
    """What an audit said; seconds are those of its stages, without the start of Ray."""

    suspicions: Suspicions
    wrong: float
    seconds: float


def main(
    folder: Annotated[Path | None, typer.Option(help="For catalogs and workspaces; it stays. A temporary one when left out.")] = None,
    case: Annotated[list[str] | None, typer.Option(help="instacart-3, mwpd_gpc, ...; a table each.")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="Flavors that are trained and heard beside precision.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="'name: key=value key=value': one more row, with audit settings.")] = None,
    paired_: Annotated[bool, typer.Option("--paired", help="Compare each flipped label with the true one of the same product.")] = False,
    peers_: Annotated[bool, typer.Option("--peers/--no-peers", help="Other methods in the same tables.")] = True,
) -> None:
    """Print the tables."""
    console = Console(width=200)
    with tempfile.TemporaryDirectory() as temporary:
        cases = [Case(name, (folder or Path(temporary)) / name) for name in case or CASES]
        rates: dict[str, float] = {}
        for one in cases:
            prepare(one, with_ or [])
            truth = one.truth()
            rows = {"audit": audit(one, with_ or [], [])}
            for text in variant or []:
                name, _, settings = text.partition(":")
                rows[name.strip()] = audit(one, with_ or [], settings.split())
            eligible = sum(map(says_something, paths_of(pq.read_table(one.catalog))))
            rates[one.name] = rows["audit"].wrong / eligible
            console.print(quality_table(one, truth, rows, peers(labelled(one), say) if peers_ and truth.wrong_N.any() else []))
            if paired_ and truth.true_path_of:
                console.print(paired_line(one, truth, with_ or []))
        if len(rates) > 1:
            console.print(rates_table(rates))


def prepare(case: Case, beside: Sequence[str]) -> None:
    """Make what a case lacks: catalog and truth, and a release of each flavor."""
    case.folder.mkdir(parents=True, exist_ok=True)
    if not case.catalog.exists():
        make_catalog(case)
    for flavor in ("precision", *beside):
        if (case.workspace / "releases" / flavor / "CURRENT").exists():
            continue
        settings = ["training.steps=300"] if case.name.startswith("sample") else []
        if case.name.endswith("-after"):
            prepare(trained_on := true_labels(case), beside)
            subprocess.run(["cp", "-r", str(trained_on.workspace), str(case.workspace)], check=True)
            for each in ("precision", *beside):
                job("reembed_catalog", "--flavor", each, "--catalog", str(case.catalog), "--workspace", str(case.workspace))
            return
        flags = ["--flavor", flavor, "--catalog", str(case.catalog), "--workspace", str(case.workspace)]
        job("train_flavor", *flags, *(word for setting in settings for word in ("--set", setting)))


def true_labels(case: Case) -> Case:
    """The same catalog as it is, in the folder beside."""
    return Case("instacart-0", case.folder.parent / "instacart-0")


def make_catalog(case: Case) -> None:
    """Write catalog.parquet and truth.parquet of a case.

    Raises:
        typer.BadParameter: there is no such case.
    """
    truth_file = case.folder / "truth.parquet"
    if found := re.fullmatch(r"instacart-(?P<percent>[\d.]+)(-seed(?P<seed>\d+))?(-after)?", case.name):
        flipped, truth = flip(pq.read_table(catalog_file()), float(found["percent"]) / 100, int(found["seed"] or 1))
        pq.write_table(flipped, case.catalog)
        pq.write_table(truth if len(truth) else pa.table({"item_id": pa.array([], pa.string())}), truth_file)
    elif case.name == "mwpd_gpc":
        source = catalog_file("mwpd_gpc")
        pq.write_table(pq.read_table(source), case.catalog)
        pq.write_table(pq.read_table(source.with_name("labels.parquet")), truth_file)
    elif found := re.fullmatch(r"sample(-(?P<size>\d+)-seed(?P<seed>\d+))?", case.name):
        flags = ["--size", found["size"], "--seed", found["seed"]] if found["size"] else []
        with tempfile.TemporaryDirectory() as made:
            job("make_sample_catalog", "--out", made, *flags)
            pq.write_table(pq.read_table(f"{made}/catalog"), case.catalog)
            pq.write_table(pq.read_table(f"{made}/facts/misfiled"), truth_file)
    else:
        raise typer.BadParameter(f"no case {case.name}; there are instacart-3, instacart-3-seed2, instacart-3-after, mwpd_gpc and sample")


def audit(case: Case, beside: Sequence[str], settings: Sequence[str]) -> Audited:
    """Run jobs/audit_catalog.py and read its findings."""
    flags = ["--release", "precision@current", "--workspace", str(case.workspace)]
    flags += [word for flavor in beside for word in ("--with", f"{flavor}@current")]
    started = time.perf_counter()
    result = job("audit_catalog", *flags, *(word for setting in settings for word in ("--set", setting)))
    seconds = time.perf_counter() - started
    folder = case.workspace / "audits" / result["audit"]
    rows = ds.dataset(folder / "findings").to_table(columns=["item_id", "score", "p_wrong", "suggested_paths"]).to_pylist()
    wrong = json.loads((folder / "manifest.json").read_text())["wrong"]["estimate"]
    judged = [row for row in rows if row["p_wrong"] is not None]
    return Audited(
        Suspicions(
            {row["item_id"]: row["p_wrong"] if row["score"] is None else row["score"] for row in judged},
            {row["item_id"]: row["p_wrong"] for row in judged},
            {row["item_id"]: tuple(row["suggested_paths"][0]) for row in judged if row["suggested_paths"]},
        ),
        wrong,
        seconds,
    )


def labelled(case: Case, at_least: int = 5) -> Labelled:
    """What peers are given: the products whose label says something and is not rarer than their folds, with the release's embeddings."""
    release = case.workspace / "releases/precision"
    version = json.loads((release / "CURRENT").read_text())["version"]
    manifest = json.loads((release / version / "manifest.json").read_text())
    embeddings = ds.dataset(case.workspace / manifest["embeddings"]).to_table(columns=["item_id", "embedding"])
    row_of = {name: row for row, name in enumerate(embeddings["item_id"].to_pylist())}
    x_ND = np.stack(embeddings["embedding"].to_numpy())
    catalog = pq.read_table(case.catalog)
    ids, paths = catalog["item_id"].to_pylist(), paths_of(catalog)
    size_of = Counter(paths)
    kept = [row for row, path in enumerate(paths) if says_something(path) and ids[row] in row_of and size_of[path] >= at_least]
    number_of = {path: number for number, path in enumerate(sorted({paths[row] for row in kept}))}
    columns = [catalog[name].to_pylist() for name in ("title", "brand", "description") if name in catalog.column_names]
    texts = [". ".join(column[row] for column in columns if column[row])[:TEXT_CHARACTERS] for row in kept]
    class_N = np.array([number_of[paths[row]] for row in kept])
    return Labelled([ids[row] for row in kept], x_ND[[row_of[ids[row]] for row in kept]], texts, class_N)


def quality_table(case: Case, truth: Truth, audits: dict[str, Audited], others: Sequence[Peer]) -> Table:
    """A row per method; the audit's average precision also relative to the best other method's."""
    wrong = int(truth.wrong_N.sum())
    table = Table(*COLUMNS, title=f"{case.name}: {len(truth.item_ids):,} products judged, {wrong:,} labels wrong")
    measured = [(peer.name, figures(truth, peer.suspicions), peer.seconds) for peer in others]
    for name, figures_, seconds in measured:
        table.add_row(name, *cells(figures_), f"{seconds:.0f}")
    best = max((figures_.average_precision for _, figures_, _ in measured), default=None)
    for name, audited in audits.items():
        row = cells(figures(truth, audited.suspicions))
        if best:
            row[0] += f" ({float(row[0]) / best:.2f} x the best peer)"
        table.add_row(f"[bold]{name}", *row, f"{audited.seconds:.0f}")
    for start, must in MUST.items():
        if case.name.startswith(start) and not case.name.startswith("sample-"):
            table.add_row(*must)
    return table


def cells(found: Figures) -> list[str]:
    of_kind = found.average_precision_of
    return [
        f"{found.average_precision:.3f}",
        *(f"{of_kind[kind]:.3f}" if kind in of_kind else "-" for kind in ("sibling", "any")),
        f"{found.recall_at_5_percent:.3f}",
        f"{100 * found.precision_at_100:.0f}",
        *("-" if value is None else f"{value:.3f}" for value in (found.calibration_error,)),
        "-" if found.expected_wrong is None else f"{found.expected_wrong:,.0f}",
        "-" if found.first_right is None else f"{found.first_right:.3f}",
    ]


def paired_line(case: Case, truth: Truth, beside: Sequence[str]) -> str:
    """Errors in the catalog itself cannot spoil this figure: the same product is audited under its true label as well."""
    prepare(clean := true_labels(case), beside)
    both = [audit(one, beside, [ALL]).suspicions for one in (case, clean)]
    names = [name for name, wrong in zip(truth.item_ids, truth.wrong_N, strict=True) if wrong]
    kinds = {kind: [name for name in names if truth.kind_of[name] == kind] for kind in sorted(set(truth.kind_of.values()))}
    shares = {"all": paired(names, *both), **{kind: paired(of_kind, *both) for kind, of_kind in kinds.items()}}
    return f"{case.name}, paired AUROC: " + ", ".join(f"{kind} {share:.4f}" for kind, share in shares.items())


def rates_table(rates: dict[str, float]) -> Table:
    """The estimated noise rate, and what it adds to the next lower one, in points; planted errors add the difference of percents."""
    table = Table(
        "planted",
        "estimated noise rate",
        "increment",
        "planted increment",
        "off by",
        title="Noise rate, Instacart; must: off by 0.5 at most",
    )
    found = sorted((float(match[1]), rate) for name, rate in rates.items() if (match := re.fullmatch(r"instacart-([\d.]+)", name)))
    for place, (percent, rate) in enumerate(found):
        if not place:
            table.add_row(f"{percent:g}%", f"{100 * rate:.2f}%", "-", "-", "-")
            continue
        before = found[place - 1]
        increment, true = 100 * (rate - before[1]), percent - before[0]
        table.add_row(f"{percent:g}%", f"{100 * rate:.2f}%", f"{increment:.2f}", f"{true:.2f}", f"{increment - true:+.2f}")
    return table


def job(name: str, *flags: str) -> dict[str, Any]:
    """Run a job of the project; what it prints on stderr is shown as it comes."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, f"jobs/{name}.py", *flags], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(main)
