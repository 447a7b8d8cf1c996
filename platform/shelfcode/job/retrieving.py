"""Training a retriever from end to end: interactions -> sessions -> a trained model -> a published retriever."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfcode.catalog.listed_files import list_files
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.pipeline import take_interactions
from shelfcode.interactions.record import InteractionsRecord
from shelfcode.job.capacity import training_stage
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.lease import Lease
from shelfcode.published_model import check_name
from shelfcode.releases.release import load_manifest
from shelfcode.retrieval.assortment import open_assortment
from shelfcode.retrieval.published_retriever import Kind, RetrieverCard, publish_retriever, write_retriever
from shelfcode.retrieval.recipe import RetrieverRecipe, load_retriever_recipe
from shelfcode.retrieval.retriever import Retriever
from shelfcode.retrieval.train import Trained, TrainingTask, train_retriever
from shelfcode.train import has_checkpoint
from shelfcode.workspace import Workspace, new_run


@dataclass(frozen=True)
class PublishedRetriever:
    """A retriever just published."""

    workspace: Workspace
    card: RetrieverCard

    def result(self) -> dict[str, Any]:
        """The last line of the job."""
        card, counts = self.card, self.card.interactions["events"]
        return {
            "retriever": card.label, "kind": card.retriever, "release": card.release, "path": self.workspace.address(card.folder),
            "rows": {"read": counts["read"], "used": counts["used"], "rejected": counts["rejected"]}, "parameters": card.parameters,
            "metrics": card.figures,
        }  # fmt: skip


def train_and_publish(
    kind: Kind, interactions: str, workspace: str, release: str, recipe: str, recipes: Path, overrides: Sequence[str] = (),
    name: str | None = None,
) -> PublishedRetriever:  # fmt: skip
    """Train a retriever on interactions and publish it. What is wrong with the flags is said before a Ray is started.

    Args:
        release: precision@v0001, or precision@current: whose products are meant and, for a generator, whose codes it learns.
        recipe: name of a YAML file in the folder `recipes`, or the path of one.
        overrides: `key.sub=value` of any recipe field.
        name: of the retriever; its kind when left out.

    Raises:
        ShelfcodeError: whatever the user can mend.
    """
    name = name or kind
    check_name(name)
    settings = load_retriever_recipe(recipe, recipes, overrides)
    load_manifest(Workspace(workspace), release)
    try:
        list_files(interactions)
    except ShelfcodeError as error:
        raise ShelfcodeError(f"--interactions {interactions}: {error}") from error
    start_ray()
    training = settings.training
    settings = fit_to_cluster(settings, [training_stage(training.workers, training.cpus_per_worker, training.use_gpu)])
    run = new_run(f"retriever-{name}")
    with open_workspace(workspace, f"retriever-{name}", run) as (opened, lease):
        return _train(kind, name, interactions, opened, lease, release, settings, run)


def _train(
    kind: Kind, name: str, interactions: str, workspace: Workspace, lease: Lease, release: str, recipe: RetrieverRecipe, run: str
) -> PublishedRetriever:
    manifest = load_manifest(workspace, release)
    assortment = open_assortment(workspace, manifest)
    with stage("reading the interactions", unit="rows") as progress:
        record = take_interactions(interactions, recipe.interactions, assortment.keys_N, workspace, run, progress)
    say("\n".join(record.lines()))
    task = TrainingTask(kind, recipe, workspace, manifest.name, record)
    folder = task.folder(name)
    if has_checkpoint(workspace, folder):
        say("an earlier run of this training was broken off: going on from its last checkpoint")
    started = time.monotonic()
    with stage(f"training the {'generator' if kind == 'generator' else 'scoring model'}"):
        trained = train_retriever(task, folder)
    draft = f"{folder}/draft"
    workspace.remove(draft)
    write_retriever(workspace, draft, trained.retriever)
    lease.check()
    card = publish_retriever(workspace, draft, _card(task, name, record, trained, time.monotonic() - started))
    workspace.remove(folder)
    return PublishedRetriever(workspace, card)


def _card(task: TrainingTask, name: str, record: InteractionsRecord, trained: Trained, seconds: float) -> RetrieverCard:
    return RetrieverCard(
        name=name, retriever=task.kind, release=task.release, recipe=task.recipe.model_dump(mode="json"),
        interactions=record.model_dump(mode="json", exclude={"parts", "retailers", "surfaces"}),
        training={
            "seconds": round(seconds, 1), "steps": trained.steps, "kept_step": trained.kept_step, "evaluations": trained.evaluations,
            "sessions": int(trained.learning.train_S.sum()), "validation_cases": len(trained.learning.validation),
        },
        parameters=count_parameters(trained.retriever), figures=trained.figures,
    )  # fmt: skip


def count_parameters(retriever: Retriever) -> dict[str, int]:
    """Weights in all, and those of tables with a row a product or a codeword."""
    sizes = {name: weight.numel() for name, weight in retriever.model.named_parameters()}
    tables = sum(size for name, size in sizes.items() if name.startswith(("product.", "codeword.", "output.")))
    return {"all": sum(sizes.values()), "embedding": tables}


def show_retriever(published: PublishedRetriever) -> None:
    """What training came to, on stderr."""
    card = published.card
    rows = {name: f"{value:.4f}" for name, value in card.figures.items()}
    show_figures(f"{card.label} on {card.training['validation_cases']:,} validation cases", {card.label: rows})
    say(
        f"{card.label}: {card.parameters['all']:,} parameters, {card.parameters['embedding']:,} of them in tables of "
        f"{'codewords' if card.retriever == 'generator' else 'products'}; {card.training['seconds'] / 60:.1f} minutes"
    )
