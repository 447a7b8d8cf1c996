"""Evaluating a release on a worker of Ray: as a draft before it is published, or again at any time later."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot, load_snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.embedding.pipeline import embed_catalog
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.behaviour.behavioural_alignment import BehaviouralAlignment
from shelfcode.evaluation.quality.evaluate import Evaluation
from shelfcode.evaluation.release_files import (
    CodedCatalog,
    EvaluatedDraft,
    complete_draft,
    evaluate_catalog,
    measure_behavioural_alignment,
    read_coded_catalog,
    write_evaluation,
)
from shelfcode.flavor import Recipe
from shelfcode.hardware import memory_to_reserve
from shelfcode.interactions.relations import Relations
from shelfcode.releases.release import Manifest, release_recipe
from shelfcode.workspace import Workspace, new_run

EVALUATION_BYTES = 2**30
"""Memory of an evaluation's process before it holds a product: mostly libraries."""

BYTES_PER_PRODUCT = 300
"""Of each product an evaluation holds keys, codes, leaf and item_id, several of them twice, for this release and the one before."""


@dataclass(frozen=True)
class EvaluatedRelease:
    """A release that was evaluated again, with its behavioural alignment where relations were given."""

    catalog: CodedCatalog
    evaluation: Evaluation
    behavioural_alignment: BehaviouralAlignment | None


def evaluate_draft(
    workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, recipe: Recipe, draft: str, parent: Manifest | None,
    model_from: str | None = None, group_N: NDArray[np.int64] | None = None,
) -> EvaluatedDraft:  # fmt: skip
    """`complete_draft` in a task: its memory grows with the catalog, and the driver may run on a small head node."""
    task, lean = _remote(_complete_draft, recipe, len(embedded.keys_N)), replace(embedded, extracted=None)
    return ray.get(task.remote(workspace, snapshot, lean, recipe, draft, parent, model_from, group_N))


def evaluation_bytes(products: int) -> int:
    """Memory that an evaluation takes."""
    return EVALUATION_BYTES + products * BYTES_PER_PRODUCT


def _remote(function: Callable[..., Any], recipe: Recipe, products: int) -> Any:
    """An evaluation as a task, on a node with the memory for it."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return ray.remote(num_cpus=recipe.training.cpus_per_worker, memory=memory_to_reserve(evaluation_bytes(products), nodes))(function)


def _complete_draft(
    workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, recipe: Recipe, draft: str, parent: Manifest | None,
    model_from: str | None, group_N: NDArray[np.int64] | None,
) -> EvaluatedDraft:  # fmt: skip
    torch.set_num_threads(recipe.training.cpus_per_worker)
    return complete_draft(workspace, snapshot, embedded, recipe, draft, parent, model_from, group_N)


def evaluate_release(
    workspace: Workspace, manifest: Manifest, seed: int, relations: Relations | None = None, overrides: Sequence[str] = ()
) -> EvaluatedRelease:
    """Evaluate a release on the catalog that it was trained on, and write its report. Missing embeddings are made again.

    Args:
        overrides: `key=value`; they reach how the encoder is run, and nothing else.

    Raises:
        ShelfcodeError: the catalog of the release is no longer in the workspace, or an override would give other codes.
    """
    recipe = release_recipe(manifest, overrides)
    snapshot = load_snapshot(workspace, manifest.catalog.snapshot)
    if snapshot is None:
        raise ShelfcodeError(f"{manifest.name} was trained on {manifest.catalog.snapshot}, which {workspace.url} no longer holds")
    embedded = embed_catalog(snapshot, recipe, workspace, new_run(f"evaluate-{manifest.flavor}"), lambda _: None)
    task, lean = _remote(_evaluate_again, recipe, len(embedded.keys_N)), replace(embedded, extracted=None)
    return ray.get(task.remote(workspace, snapshot, lean, manifest, recipe, seed, relations))


def _evaluate_again(
    workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, manifest: Manifest, recipe: Recipe, seed: int,
    relations: Relations | None,
) -> EvaluatedRelease:  # fmt: skip
    torch.set_num_threads(recipe.training.cpus_per_worker)
    catalog = read_coded_catalog(workspace, snapshot, embedded, manifest.folder)
    evaluation = evaluate_catalog(catalog, recipe, seed)
    behavioural_alignment = measure_behavioural_alignment(catalog, relations, seed) if relations else None
    write_evaluation(catalog, evaluation, recipe, evaluation_folder(manifest), manifest.name, manifest.facts(), behavioural_alignment)
    return EvaluatedRelease(catalog, evaluation, behavioural_alignment)


def evaluation_folder(manifest: Manifest) -> str:
    """Where the evaluation of a published release is kept, within the workspace."""
    return f"evaluations/{manifest.name}"
