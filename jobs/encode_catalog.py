"""Code products with the frozen current release: the cold start of products that were not there at training time.

python jobs/encode_catalog.py --flavor precision --catalog NEW.parquet --workspace WS [--release precision@v0001]
"""

from typing import Annotated, Any

import typer

from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.embedding.pipeline import embed_catalog, pin_models
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.release_files import example_prefixes, read_coded_catalog
from shelfcode.flavor import Recipe
from shelfcode.job.capacity import coding_stages
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.constraining import check_constraint, constrain_as
from shelfcode.job.flags import CatalogFlag, SetFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, say_embedded, say_language, show_prefixes, show_rejected, stage
from shelfcode.quantization.pipeline import encode_embeddings
from shelfcode.releases.release import Manifest, RowCounts, load_manifest, release_recipe
from shelfcode.workspace import Workspace, new_run

FlavorFlag = Annotated[str, typer.Option("--flavor", help="Name of a flavor with a release in the workspace.")]
ReleaseFlag = Annotated[str | None, typer.Option("--release", help="precision@v0001; the flavor's current release when left out.")]


def main(
    flavor: FlavorFlag, catalog: CatalogFlag, workspace: WorkspaceFlag, release: ReleaseFlag = None, set_: SetFlag = None
) -> dict[str, Any]:
    """Code a catalog with a frozen release; the model is not touched. --set reaches catalog.* and how the encoder runs."""
    opened = Workspace(workspace)
    manifest = load_manifest(opened, release or flavor)
    if manifest.flavor != flavor:
        raise ShelfcodeError(f"--release {release} is of flavor {manifest.flavor}, not {flavor}")
    recipe = release_recipe(manifest, set_ or [])
    recipe = pin_models(recipe, opened)
    check_catalog(catalog, recipe.catalog)
    start_ray()
    recipe = fit_to_cluster(recipe, coding_stages(recipe))
    run = new_run(f"encode-{flavor}")
    with open_workspace(workspace, run, run) as (opened, _):
        return encode(manifest, recipe, catalog, opened, run)


def encode(manifest: Manifest, recipe: Recipe, catalog: str, workspace: Workspace, run: str) -> dict[str, Any]:
    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, recipe.catalog, workspace, run, progress)
    check_constraint(recipe, workspace, snapshot)
    if recipe.text_view.kind == "attributes":
        say_language(workspace, snapshot, recipe.extractor)
    with stage("embedding", snapshot.products) as progress:
        embedded = embed_catalog(snapshot, recipe, workspace, run, progress)
    say_embedded(embedded)

    constrained = constrain_as(manifest, recipe, workspace, snapshot, embedded)
    draft, target = f"runs/{run}", f"encoded/{manifest.name}/{run}"
    with stage("encoding", len(embedded.keys_N)) as progress:
        group_N = constrained.group_N if constrained else None
        encode_embeddings(embedded, recipe, workspace, manifest.folder, f"{draft}/semantic_ids", progress, group_N)
    coded = read_coded_catalog(workspace, snapshot, embedded, draft)
    workspace.move_folder(draft, target)

    rows = RowCounts(read=snapshot.read, coded=len(coded.codes_NL), rejected=snapshot.read - len(coded.codes_NL)).model_dump()
    show_prefixes(example_prefixes(coded))
    say(f"coded by {manifest.name}: {rows['read']:,} rows read, {rows['coded']:,} coded, {rows['rejected']:,} rejected")
    show_rejected(workspace, snapshot, run)
    say(f"semantic IDs: {workspace.address(target)}/semantic_ids")
    return {"release": manifest.name, "path": workspace.address(f"{target}/semantic_ids"), "rows": rows}


if __name__ == "__main__":
    run_job(main)
