"""Compare two releases of a flavor: what they are worth, which products changed their semantic ID, and whether that is within limits.

python jobs/compare_releases.py --release precision@v0002 --against precision@v0001 --workspace WS
    [--max-churn-l1 0.05] [--max-churn 0.25] [--max-spearman-loss 0.01]
"""

from typing import Annotated, Any

import typer

from shelfcode.catalog.snapshot import load_snapshot
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.comparison import compare, comparison_columns, comparison_html
from shelfcode.evaluation.quality.evaluate import headline
from shelfcode.evaluation.release_files import read_evaluation
from shelfcode.evaluation.release_gates import release_gates
from shelfcode.evaluation.stability.churn_report import churn_columns, fate_columns
from shelfcode.evaluation.stability.migration import read_migration, release_churn, write_migration
from shelfcode.index.translation_table import comparison_folder
from shelfcode.job.command import run_job
from shelfcode.job.flags import WorkspaceFlag
from shelfcode.job.screen import say, show_figures
from shelfcode.releases.release import load_manifest
from shelfcode.workspace import Workspace

ReleaseFlag = Annotated[str, typer.Option("--release", help="precision@v0002, or a flavor for its current release.")]
AgainstFlag = Annotated[str, typer.Option("--against", help="The release of the same flavor that consumers have now.")]
ChurnL1Flag = Annotated[
    float | None, typer.Option("--max-churn-l1", min=0, max=1, help="Gate: share of products with another first codeword.")
]
ChurnFlag = Annotated[float | None, typer.Option("--max-churn", min=0, max=1, help="Gate: share of products with another semantic ID.")]
LossFlag = Annotated[float | None, typer.Option("--max-spearman-loss", min=0, help="Gate: fall of similarity_depth_spearman.")]


def main(
    release: ReleaseFlag, against: AgainstFlag, workspace: WorkspaceFlag,
    max_churn_l1: ChurnL1Flag = None, max_churn: ChurnFlag = None, max_spearman_loss: LossFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Compare two releases of a flavor as they were published; exit code 1 when a gate that was given does not hold."""
    opened = Workspace(workspace)
    new, old = load_manifest(opened, release), load_manifest(opened, against)
    if new.flavor != old.flavor:
        raise ShelfcodeError(
            f"{new.name} and {old.name} are of two flavors, whose codewords have nothing to do with each other; "
            f"evaluate_flavor.py --release {new.name} --against {old.name} compares what they are worth"
        )
    names = (new.name, old.name)
    title, of_new, of_old = " against ".join(names), read_evaluation(opened, new.folder), read_evaluation(opened, old.folder)
    migration = read_migration(opened, old.folder, new.folder)
    churn = release_churn(opened, migration, old, new)
    limits = {"max_churn_l1": max_churn_l1, "max_churn": max_churn, "max_spearman_loss": max_spearman_loss}
    gates = release_gates(limits, churn, of_new, of_old)

    show_figures(title, comparison_columns(compare(of_new, of_old, names), names))
    show_figures(f"churn: {title}", churn_columns(churn), row="department")
    show_figures("what became of prefixes", fate_columns(churn), row="level")
    say(f"{churn.products:,} products are of both, {churn.added:,} are new, {churn.removed:,} are gone")
    if load_snapshot(opened, new.catalog.snapshot) is None:
        say(f"no churn by department: {opened.url} no longer holds {new.catalog.snapshot}, which {new.name} was trained on")
    for reason in churn.undefined.values():
        say(f"no churn: {reason}")

    folder = comparison_folder(new, old)
    write_migration(opened, folder, migration)
    opened.write_json(f"{folder}/churn.json", churn.model_dump(mode="json"))
    opened.write_bytes(f"{folder}/report.html", comparison_html(of_new, of_old, names, title, churn=churn).encode())
    say(f"side by side: {opened.address(f'{folder}/report.html')}")
    for gate in gates:
        say(gate.sentence())

    changed = {f"l{level}": share for level, share in enumerate(churn.changed, start=1)}
    return {
        "release": new.name, "against": old.name, "path": opened.address(folder),
        "metrics": headline(of_new), "metrics_against": headline(of_old),
        "churn": {"products": churn.products, "added": churn.added, "removed": churn.removed, "changed": changed},
        "gates": {gate.name: {"limit": gate.limit, "value": gate.value, "held": gate.held} for gate in gates},
    }  # fmt: skip


if __name__ == "__main__":
    run_job(main)
