"""Evaluating a release that is already published: its products' embeddings are found in the workspace, by Ray Data."""

from dataclasses import dataclass

from shelfcode.catalog.snapshot import load_snapshot
from shelfcode.embedding.pipeline import embed_catalog
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.behavioural_alignment import BehaviouralAlignment
from shelfcode.evaluation.evaluate import Evaluation
from shelfcode.evaluation.relations import Relations
from shelfcode.evaluation.release_files import CodedCatalog, align_catalog, evaluate_catalog, read_coded_catalog, write_evaluation
from shelfcode.release import Manifest, release_recipe
from shelfcode.workspace import Workspace, new_run


@dataclass(frozen=True)
class EvaluatedRelease:
    """A release evaluated again; `alignment` where relations were given."""

    catalog: CodedCatalog
    evaluation: Evaluation
    alignment: BehaviouralAlignment | None


def evaluate_release(workspace: Workspace, manifest: Manifest, seed: int, relations: Relations | None = None) -> EvaluatedRelease:
    """Evaluate a release on the catalog that it was trained on, and write its report; embeddings that are gone are made again.

    Raises:
        ShelfcodeError: the catalog of the release is no longer in the workspace.
    """
    recipe = release_recipe(manifest)
    snapshot = load_snapshot(workspace, manifest.catalog.snapshot)
    if snapshot is None:
        raise ShelfcodeError(f"{manifest.name} was trained on {manifest.catalog.snapshot}, which {workspace.url} no longer holds")
    embedded = embed_catalog(snapshot, recipe, workspace, new_run(f"evaluate-{manifest.flavor}"), lambda _: None)
    catalog = read_coded_catalog(workspace, snapshot, embedded, manifest.folder)
    evaluation = evaluate_catalog(catalog, recipe, seed)
    alignment = align_catalog(catalog, relations, seed) if relations else None
    write_evaluation(catalog, evaluation, recipe, evaluation_folder(manifest), manifest.name, manifest.facts(), alignment)
    return EvaluatedRelease(catalog, evaluation, alignment)


def evaluation_folder(manifest: Manifest) -> str:
    """Where the evaluation of a published release is kept, within the workspace."""
    return f"evaluations/{manifest.name}"
