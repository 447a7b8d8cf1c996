"""Evaluate a release again, or two side by side.

python jobs/evaluate_flavor.py --release precision@v0001 --workspace WS [--against precision@v0002] [--seed 1]
"""

from typing import Annotated, Any

import typer

from shelfcode.evaluation.comparison import compare, comparison_html
from shelfcode.evaluation.evaluate import Evaluation, headline
from shelfcode.evaluation.pipeline import evaluate_release
from shelfcode.evaluation.release_files import write_evaluation
from shelfcode.job import WorkspaceFlag, run_job, say, show_figures, stage, start_ray
from shelfcode.release import load_manifest
from shelfcode.workspace import Workspace

ReleaseFlag = Annotated[str, typer.Option("--release", help="precision@v0001, or a flavor for its current release.")]
AgainstFlag = Annotated[str | None, typer.Option("--against", help="A second release, to be shown beside the first.")]
SeedFlag = Annotated[int, typer.Option("--seed", help="Of the pairs that are drawn.")]


def main(release: ReleaseFlag, workspace: WorkspaceFlag, against: AgainstFlag = None, seed: SeedFlag = 0) -> dict[str, Any]:
    """Evaluate a published release again, or two side by side; releases are not touched."""
    home = Workspace(workspace)
    manifests = [load_manifest(home, name) for name in (release, against) if name]
    start_ray()
    evaluations: list[Evaluation] = []
    for manifest in manifests:
        with stage(f"evaluating {manifest.name}"):
            catalog, recipe, evaluation = evaluate_release(home, manifest, seed)
            write_evaluation(catalog, evaluation, recipe, f"evaluations/{manifest.name}", manifest.name, manifest.facts())
        evaluations.append(evaluation)
        say(f"report: {home.address(f'evaluations/{manifest.name}/report.html')}")

    first, figures = manifests[0], headline(evaluations[0])
    result = {"release": first.name, "path": home.address(f"evaluations/{first.name}"), "rows": first.rows.model_dump(), "metrics": figures}
    if not against:
        show_figures(first.name, {"published": first.metrics, "now": figures})
        return result
    names = (first.name, manifests[1].name)
    rows = compare(evaluations[0], evaluations[1], names)
    show_figures(
        " against ".join(names),
        {
            names[0]: {row.label: row.a for row in rows},
            names[1]: {row.label: row.b for row in rows},
            "difference": {row.label: row.difference for row in rows},
            "better": {row.label: row.better for row in rows},
        },
    )
    page = f"evaluations/{names[0]}-against-{names[1]}.html"
    home.write_bytes(page, comparison_html(evaluations[0], evaluations[1], names).encode())
    say(f"side by side: {home.address(page)}")
    return {**result, "against": names[1], "metrics_against": headline(evaluations[1]), "comparison": home.address(page)}


if __name__ == "__main__":
    run_job(main)
