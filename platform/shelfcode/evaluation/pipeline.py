"""Evaluating a release that is already published: its products' embeddings are found in the workspace, by Ray Data."""

from shelfcode.catalog.snapshot import load_snapshot
from shelfcode.embedding.pipeline import embed_catalog
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.evaluate import Evaluation
from shelfcode.evaluation.release_files import CodedCatalog, evaluate_catalog, read_coded_catalog
from shelfcode.flavor import Recipe
from shelfcode.release import Manifest, release_recipe
from shelfcode.workspace import Workspace, new_run


def evaluate_release(workspace: Workspace, manifest: Manifest, seed: int) -> tuple[CodedCatalog, Recipe, Evaluation]:
    """Evaluate a release on the catalog that it was trained on; embeddings that are gone are made again.

    Raises:
        ShelfcodeError: the catalog of the release is no longer in the workspace.
    """
    recipe = release_recipe(manifest)
    snapshot = load_snapshot(workspace, manifest.catalog.snapshot)
    if snapshot is None:
        raise ShelfcodeError(f"{manifest.name} was trained on {manifest.catalog.snapshot}, which {workspace.url} no longer holds")
    embedded = embed_catalog(snapshot, recipe, workspace, new_run(f"evaluate-{manifest.flavor}"), lambda _: None)
    catalog = read_coded_catalog(workspace, snapshot, embedded, manifest.folder)
    return catalog, recipe, evaluate_catalog(catalog, recipe, seed)
