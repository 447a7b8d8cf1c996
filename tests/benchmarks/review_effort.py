"""How many decisions a reviewer needs who works off the queue and is always right, until most of the planted errors are found.

python tests/benchmarks/review_effort.py --workspace WS --misfiled FACTS/misfiled [--release precision@current] [--audit AUDIT]

WS holds a release of the sample catalog, and FACTS what is known of it: `make demo` leaves both under demo/. The reviewer takes card after
card from a real desk. Beside it: random order over all products, and the order of a linear classifier's confidence in the given label.
"""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from shelfcode.audit.decisions.answers import ReviewSettings
from shelfcode.audit.decisions.decision import Card, Decision, Verdict
from shelfcode.audit.decisions.desk import open_desk
from shelfcode.audit.published_audit import AuditManifest, audit_folder, load_audit
from shelfcode.catalog.snapshot import load_snapshot, snapshot_batches
from shelfcode.job.auditing import audit_release
from shelfcode.keys import index_keys, item_keys
from shelfcode.releases.release import load_manifest
from shelfcode.workspace import Workspace

CategoryPath = tuple[str, ...]

FEWEST_PRODUCTS = 5
"""A leaf with fewer products is left out of the classifier: it could not be held out. Its products come last."""


def main(
    workspace: Annotated[str, typer.Option(help="With a release of the sample catalog.")],
    misfiled: Annotated[str, typer.Option(help="Folder with item_id and true_path of the planted errors.")],
    release: Annotated[str, typer.Option(help="What is audited.")] = "precision@current",
    audit: Annotated[str | None, typer.Option(help="Take an audit that is there already.")] = None,
    share: Annotated[float, typer.Option(help="Of the planted errors, until which the reviewer goes on.")] = 0.9,
) -> None:
    """Audit, review, and print the table."""
    opened = Workspace(workspace)
    known = Workspace(misfiled)
    facts = pa.concat_tables(known.read_tables(known.parts(""))) if known.parts("") else known.read_table("part-00000.parquet")
    truth = {row["item_id"]: tuple(row["true_path"]) for row in facts.to_pylist()}
    started = time.monotonic()
    manifest = load_audit(opened, audit) if audit else audit_release(release, workspace).manifest
    console = Console(width=140)
    if not audit:
        console.print(f"audit of {manifest.products:,} products: {time.monotonic() - started:.1f} s, starting Ray included")
    ids, paths, x_ND = labelled_products(opened, manifest)
    wrong_N = np.array([item in truth for item in ids])
    suspicion_N, listed_N = suspicions(opened, manifest, ids)
    precision = average_precision_score(wrong_N, suspicion_N)
    console.print(
        f"average precision on {wrong_N.sum()} planted errors: {precision:.3f}; {wrong_N[listed_N].sum()} of them have a finding, "
        f"of {listed_N.sum()} findings"
    )
    wanted = int(np.ceil(share * wrong_N.sum()))
    linear = np.argsort(-(1 - self_confidence(x_ND, paths)), kind="stable")
    table = Table("order", "decisions", "decisions / errors", title=f"until {wanted} of {wrong_N.sum()} planted errors are found")
    rows: list[tuple[str, float]] = []
    for random_share in (0.0, ReviewSettings().random_share):
        with tempfile.TemporaryDirectory() as folder:
            said = list(decisions(f"sqlite:///{folder}/reviews.sqlite", opened, manifest, truth, random_share))
        found_at = np.flatnonzero(np.cumsum([item in truth for item, _ in said]) == wanted)
        rows.append((f"the desk, {random_share:.0%} by chance", float(found_at[0] + 1) if len(found_at) else float("nan")))
    verdicts = Counter(verdict for item, verdict in said if item in truth)
    rows.append(("linear self-confidence", float(np.flatnonzero(np.cumsum(wrong_N[linear]) == wanted)[0] + 1)))
    rows.append(("random order (expected)", wanted * (len(ids) + 1) / (wrong_N.sum() + 1)))
    for name, count in rows:
        table.add_row(name, f"{count:,.0f}", f"{count / wrong_N.sum():.2f}")
    table.add_row("must", "", "<= 1.30")
    console.print(table)
    console.print(f"errors put right by accepting a suggestion: {verdicts['accept']} of {sum(verdicts.values())}")


def labelled_products(workspace: Workspace, audit: AuditManifest) -> tuple[list[str], list[CategoryPath], NDArray[np.float32]]:
    """item_id, label and embedding of the products that have a label."""
    snapshot = load_snapshot(workspace, audit.snapshot)
    assert snapshot is not None, f"the catalog of {audit.audit} is no longer in the workspace"
    products = pa.concat_tables(snapshot_batches(workspace, snapshot, ["item_id", "category_path"]))
    products = products.filter(pa.array([bool(path) for path in products["category_path"].to_pylist()]))
    folder = load_manifest(workspace, audit.release).embeddings
    stored = pa.concat_tables(workspace.read_tables(workspace.parts(folder), ["item_id", "embedding"]))
    place_N = index_keys(item_keys(stored["item_id"])).get(item_keys(products["item_id"]))
    x_ND = stored["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(stored), -1)[place_N]
    return products["item_id"].to_pylist(), [tuple(path) for path in products["category_path"].to_pylist()], x_ND


def suspicions(workspace: Workspace, audit: AuditManifest, ids: list[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Score of each product's finding, below all others where it has none; and whether it has one."""
    parts = workspace.parts(f"{audit_folder(audit.audit)}/findings")
    table = pa.concat_tables(workspace.read_tables(parts, ["item_id", "score"]))
    scores = dict(zip(table["item_id"].to_pylist(), table["score"].to_pylist(), strict=True))
    lowest = min(scores.values(), default=0.0) - 1
    return np.array([scores.get(item, lowest) for item in ids]), np.array([item in scores for item in ids])


def self_confidence(x_ND: NDArray[np.float32], paths: list[CategoryPath]) -> NDArray[np.float64]:
    """Out-of-fold probability that a linear classifier gives to the label that a product has."""
    _, leaf_N = np.unique([" > ".join(path) for path in paths], return_inverse=True)
    judged_M = np.flatnonzero(np.bincount(leaf_N)[leaf_N] >= FEWEST_PRODUCTS)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    p_MC = cross_val_predict(
        LogisticRegression(C=10, max_iter=300), x_ND[judged_M], leaf_N[judged_M], cv=folds, method="predict_proba"
    )  # fmt: skip
    given_N = np.ones(len(paths))
    given_N[judged_M] = p_MC[np.arange(len(judged_M)), np.searchsorted(np.unique(leaf_N[judged_M]), leaf_N[judged_M])]
    return given_N


def decisions(
    store: str, workspace: Workspace, audit: AuditManifest, truth: Mapping[str, CategoryPath], random_share: float
) -> Iterator[tuple[str, Verdict]]:  # fmt: skip
    """The decisions of a reviewer who knows the truth, until the queue is empty."""
    desk = open_desk(store)
    desk.rng = random.Random(0)  # which cards come by chance, the same ones each time
    desk.take_in(workspace, audit.audit)
    desk.set_review_settings(audit.audit, ReviewSettings(random_share=random_share))
    while cards := desk.next(audit.audit, "oracle"):
        card = cards[0]
        verdict, path = right_answer(card, truth)
        decision = Decision(
            card.finding_id, verdict, card.version, card.finding_id, path=path, arm=card.arm, batch=card.batch, new_path=True
        )
        desk.decide(audit.audit, "oracle", decision)
        yield card.finding["item_id"], verdict
    desk.close()


def right_answer(card: Card, truth: Mapping[str, CategoryPath]) -> tuple[Verdict, CategoryPath | None]:
    path = truth.get(card.finding["item_id"])
    if path is None:
        return "keep", None
    return ("accept" if path in map(tuple, card.finding["suggested_paths"] or ()) else "relabel"), path


if __name__ == "__main__":
    typer.run(main)
