"""Extract attributes: catalog -> product type, key ingredients, dietary tags, format and the recipe's own, by an LLM or by rules.

python jobs/extract_attributes.py --flavor discovery --catalog CATALOG --workspace WS [--set extractor.model=NAME ...]
"""

from pathlib import Path
from typing import Any

from shelfcode.attributes.extractor import check_extractor, extractor_name
from shelfcode.attributes.pipeline import count_rows, extract_attributes
from shelfcode.attributes.published_extractor import pin_extractor
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.flavor import Recipe
from shelfcode.job.capacity import extraction_stage
from shelfcode.job.cluster import fit_to_cluster, has_gpu, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import CatalogFlag, FlavorFlag, SetFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, say_language, show_attributes, show_rejected, stage
from shelfcode.job.training import check_flavor
from shelfcode.recipe_file import load_recipe
from shelfcode.workspace import Workspace, new_run

FLAVORS = Path(__file__).parent / "flavors"


def main(catalog: CatalogFlag, workspace: WorkspaceFlag, flavor: FlavorFlag = "discovery", set_: SetFlag = None) -> dict[str, Any]:
    """Extract the attributes of a catalog into the workspace, where training the flavor finds them."""
    check_catalog(catalog, check_flavor(flavor, FLAVORS, set_ or []).catalog)
    start_ray()
    recipe = load_recipe(flavor, FLAVORS, set_ or [], has_gpu())
    recipe = fit_to_cluster(recipe, [extraction_stage(recipe.extractor)])
    run = new_run("extract")
    with open_workspace(workspace, run, run) as (opened, _):
        extractor = pin_extractor(recipe.extractor, opened)
        check_extractor(extractor, opened)
        return extract(recipe.model_copy(update={"extractor": extractor}), catalog, opened, run)


def extract(recipe: Recipe, catalog: str, workspace: Workspace, run: str) -> dict[str, Any]:
    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, recipe.catalog, workspace, run, progress)
    say_language(workspace, snapshot, recipe.extractor)
    name = extractor_name(recipe.extractor)
    with stage(f"extracting by {name}", snapshot.products) as progress:
        extracted = extract_attributes(snapshot, recipe.extractor, workspace, count_rows(progress))

    for line in extracted.account():
        say(line)
    show_attributes(workspace, extracted)
    show_rejected(workspace, snapshot, run)
    path = workspace.address(f"attributes/{name}")
    say(f"attributes: {path}")
    rows = {"read": snapshot.read, "extracted": snapshot.products, "rejected": snapshot.rejected}
    return {"extractor": name, "path": path, "rows": rows, "extraction": extracted.counts()}


if __name__ == "__main__":
    run_job(main)
