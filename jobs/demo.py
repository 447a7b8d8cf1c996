"""The whole way on one machine: make the sample catalog, train both flavors on it, hold them against what is known, look for wrong labels.

python jobs/demo.py [--out demo] [--size 5000] [--steps 300] [--extractor vllm|rules] [--verbose]
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import evaluate_flavor
import make_sample_catalog
from shelfcode.evaluation.behaviour.behavioural_alignment import LiftRatio
from shelfcode.evaluation.behaviour.behavioural_report import lift_contrasts
from shelfcode.job.auditing import audit_release, show_audit
from shelfcode.job.command import run_job
from shelfcode.job.screen import hushed, rows_sentence, say, show_judged, show_lines, show_prefixes
from shelfcode.job.training import train_flavor

FLAVORS = Path(__file__).parent / "flavors"
SMALL_EXTRACTOR = [
    "extractor.engine=vllm",
    "extractor.model=package:shelfcode.attributes.small_extractor",
    "extractor.max_input_tokens=256",
]


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder for the sample catalog and the workspace.")] = Path("demo"),
    size: Annotated[int, typer.Option("--size", min=2000, help="Products of the sample catalog.")] = 5000,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Training steps per flavor; the recipes' own number suits larger catalogs.")
    ] = 300,
    extractor: Annotated[
        Literal["vllm", "rules"],
        typer.Option("--extractor", help="vllm: the small language model that comes with the package. rules: faster, and worse codes."),
    ] = "vllm",
) -> dict[str, Any]:
    """Make the sample catalog, train precision and discovery on it, show both side by side, and audit the labels."""
    say(f"A sample shop of {size:,} products and both flavors for it: a few minutes.")
    workspace, settings = str(out / "workspace"), ["hardware=cpu", f"training.steps={steps}"]
    settings_of = {"precision": settings, "discovery": [*settings, *(SMALL_EXTRACTOR if extractor == "vllm" else [])]}
    with hushed():
        sample = make_sample_catalog.main(out / "sample", size)
        trained = [train_flavor(flavor, FLAVORS, sample["catalog"], workspace, flags) for flavor, flags in settings_of.items()]
        compared = evaluate_flavor.main("discovery", workspace, against="precision", pairs=sample["facts"])
        audit = audit_release("precision@current", workspace, ["discovery@current"])

    releases = [each.release for each in trained]
    for release in releases:
        say(f"{release.name}: {rows_sentence(release)}")
    show_prefixes(trained[-1].prefixes)
    show_judged(releases)
    names = (compared["release"], compared["against"])
    contrasts = lift_contrasts([LiftRatio.model_validate(ratio) for ratio in compared["lift_ratio"]], names)
    rows = [(each.name, *each.lifts, each.text, each.verdict or "not told apart") for each in contrasts]
    show_lines(
        "how much likelier than chance two products share a first codeword when they are",
        [("", *names, "ratio [95% interval]", "more"), *rows],
    )
    # A path is a line of its own, however long: in a table it would be broken in two.
    for name, report in [*((each.release.name, each.report) for each in trained), ("both, side by side", compared["comparison"])]:
        say(f"report of {name}: {report}")
    show_audit(audit)
    serve = f"python jobs/serve_surfaces.py --workspace {workspace} --review-store {out}/review.sqlite"
    say("next: make review" if out == Path("demo") else f"next: {serve}")
    results = [each.result() for each in trained]
    return {"sample": sample, "releases": results, "comparison": compared["comparison"], "audit": audit.result()}


if __name__ == "__main__":
    run_job(main)
