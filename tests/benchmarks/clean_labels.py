"""What decided labels change: a release trained with part of the wrong labels put right, beside one trained again without.

python tests/benchmarks/clean_labels.py --workspace WS --catalog FLIPPED.parquet --truth TRUTH.parquet [--share .6] [--set key.sub=value]

WS holds a precision release that was trained on the flipped catalog; two more are trained warm from it and held. Everything is measured
against the true labels, which neither training saw in full. TRUTH: item_id, true_path, flipped_path.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.snapshot import load_snapshot, snapshot_item_keys, snapshot_taxonomy
from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.evaluation.quality.taxonomy_alignment import taxonomy_alignment
from shelfcode.job.training import train_flavor
from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.quantization.semantic_ids import read_codes
from shelfcode.releases.release import Manifest, load_manifest
from shelfcode.workspace import Workspace

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"


@dataclass(frozen=True)
class Truth:
    """The products of a catalog with their true labels.

    Attributes:
        keys_N, taxonomy: item keys, and true labels in the same order.
        flipped_N, corrected_N: bool: whose label is wrong in the catalog, and of these, whose was put right.
    """

    keys_N: Keys
    taxonomy: Taxonomy
    flipped_N: NDArray[np.bool_]
    corrected_N: NDArray[np.bool_]


def main(
    workspace: Annotated[str, typer.Option(help="With a precision release that was trained on the catalog.")],
    catalog: Annotated[str, typer.Option(help="With the wrong labels.")],
    truth: Annotated[str, typer.Option(help="item_id, true_path and flipped_path of the wrong ones.")],
    share: Annotated[float, typer.Option(help="Of the wrong labels, chosen at random, that are put right.")] = 0.6,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for both trainings.")] = None,
) -> None:
    """Train twice and print the table."""
    opened, wrong = Workspace(workspace), pq.read_table(truth)
    corrected_M = np.random.default_rng(0).random(len(wrong)) < share
    labels = f"{workspace}/true_labels.parquet"
    pq.write_table(corrections(wrong.filter(pa.array(corrected_M))), labels)
    before = load_manifest(opened, "precision@current")
    overrides = ["stability=warm", *(set_ or [])]
    again = train_flavor("precision", FLAVORS, catalog, workspace, overrides, hold=True).release
    clean = train_flavor("precision", FLAVORS, catalog, workspace, overrides, hold=True, labels=labels).release
    known = read_truth(opened, before, wrong, corrected_M)
    table = Table("figure", "before", "again without", "with true labels", title=f"{corrected_M.sum():,} of {len(wrong):,} put right")
    columns = [figures(opened, each, before, known) for each in (before, again, clean)]
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.4f}" for column in columns))
    Console(width=140).print(table)


def corrections(wrong: pa.Table) -> pa.Table:
    """Rows of TRUTH as decided labels."""
    columns = {"item_id": wrong["item_id"], "from_path": wrong["flipped_path"], "to_path": wrong["true_path"]}
    return pa.table({**columns, "verdict": ["relabel"] * len(wrong)})


def read_truth(workspace: Workspace, release: Manifest, wrong: pa.Table, corrected_M: NDArray[np.bool_]) -> Truth:
    snapshot = load_snapshot(workspace, release.catalog.snapshot)
    assert snapshot is not None, f"the catalog of {release.name} is no longer in the workspace"
    keys_N, given = snapshot_item_keys(workspace, snapshot), snapshot_taxonomy(workspace, snapshot)
    place_N = index_keys(item_keys(wrong["item_id"])).get(keys_N)
    true = wrong["true_path"].to_pylist()
    paths = [
        true[place] if place >= 0 else (given.paths[leaf] if leaf >= 0 else None)
        for place, leaf in zip(place_N.tolist(), given.leaf_of_N.tolist(), strict=True)
    ]
    flipped_N = place_N >= 0
    return Truth(keys_N, taxonomy_from_paths(paths), flipped_N, flipped_N & corrected_M[place_N])


def figures(workspace: Workspace, release: Manifest, before: Manifest, truth: Truth) -> dict[str, float]:
    """Of one release: how its codes follow the true labels, and how many differ from those before."""
    codes_NL = read_codes(workspace, f"{release.folder}/semantic_ids", truth.keys_N)
    old_NL = read_codes(workspace, f"{before.folder}/semantic_ids", truth.keys_N)
    prefixes = prefix_numbers(codes_NL, release.recipe["quantizer"]["codebook_sizes"])
    alignment = taxonomy_alignment(prefixes, truth.taxonomy)
    assert alignment is not None
    found: dict[str, float] = {}
    for depth, label in ((1, 1), (2, "leaf"), (3, "leaf")):
        cell = alignment.at(depth, label)  # type: ignore[arg-type]
        assert cell is not None
        found |= {f"AMI, L{depth} against {label}": cell.ami or 0, f"purity, L{depth} against {label}": cell.purity or 0}
    groups = {
        "put right": truth.corrected_N, "left wrong": truth.flipped_N & ~truth.corrected_N, "all others": ~truth.flipped_N,
    }  # fmt: skip
    for depth in (1, 2):
        agrees_N = majority_agrees(prefixes[depth - 1], truth.taxonomy.leaf_of_N)
        found |= {f"L{depth}: most others have its true leaf, {name}": float(agrees_N[of_N].mean()) for name, of_N in groups.items()}
    for depth in (1, codes_NL.shape[1]):
        moved_N = (codes_NL[:, :depth] != old_NL[:, :depth]).any(axis=1)
        found |= {f"codes moved down to L{depth}, {name}": float(moved_N[of_N].mean()) for name, of_N in groups.items()}
    return found


def majority_agrees(prefix_N: NDArray[np.integer], leaf_N: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the commonest leaf among the other products of a product's prefix is its own: bool[N]."""
    leaves, leaf_N = np.unique(leaf_N, return_inverse=True)
    pairs, pair_N, count_P = np.unique(prefix_N.astype(np.int64) * len(leaves) + leaf_N, return_inverse=True, return_counts=True)
    agrees_P = np.zeros(len(pairs), bool)
    prefix_P = pairs // len(leaves)
    starts = np.flatnonzero(np.r_[True, prefix_P[1:] != prefix_P[:-1]])
    for first, last in zip(starts, [*starts[1:], len(pairs)], strict=True):
        counts = count_P[first:last]
        for pair in range(first, last):
            others = np.delete(counts, pair - first)
            agrees_P[pair] = count_P[pair] - 1 > (others.max() if len(others) else 0)
    return agrees_P[pair_N]


if __name__ == "__main__":
    typer.run(main)
