"""Training a flavor from end to end: catalog -> embeddings -> quantizer -> semantic IDs -> evaluation -> a published release."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfcode.catalog.decided_labels import DecidedLabels, read_decided_labels
from shelfcode.catalog.label_overlay import overlay_labels
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.catalog.snapshot import Snapshot, snapshot_item_keys, snapshot_taxonomy
from shelfcode.embedding.encoder import embeddings_folder
from shelfcode.embedding.pipeline import embed_catalog, keep_models, pin_models
from shelfcode.embedding.published_encoder import check_named_model
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.pipeline import evaluate_draft
from shelfcode.flavor import Recipe
from shelfcode.interactions.relations import Relations
from shelfcode.job.capacity import flavor_stages
from shelfcode.job.cluster import fit_to_cluster, has_gpu, start_ray
from shelfcode.job.constraining import check_constraint, constrain_new
from shelfcode.job.engaged import catalog_engagement, read_engagement
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, say_embedded, say_labels, say_language, stage
from shelfcode.lease import Lease
from shelfcode.quantization.constrained_products import write_constraint
from shelfcode.quantization.fitting import check_size, contrast_possible
from shelfcode.quantization.model_file import save_model
from shelfcode.quantization.pipeline import encode_embeddings
from shelfcode.quantization.train import name_codewords, prepare_targets, train_quantizer, trained_rows, training_run
from shelfcode.recipe_file import leaves_hardware_open, load_recipe
from shelfcode.releases.release import Manifest, current_release, publish
from shelfcode.releases.warm_start import check_hardware, choose_start
from shelfcode.train import has_checkpoint
from shelfcode.workspace import Workspace, new_run


@dataclass(frozen=True)
class TrainedFlavor:
    """A release just published.

    Attributes:
        prefixes: some prefixes, each with the titles of products below it.
        run: name of the run, under which rejected rows are kept.
        extraction: how attributes came about, as counts; None where the flavor needs none.
    """

    workspace: Workspace
    release: Manifest
    prefixes: list[tuple[str, list[str]]]
    snapshot: Snapshot
    run: str
    extraction: dict[str, int] | None

    @property
    def report(self) -> str:
        """Where the report is."""
        return f"{self.workspace.address(self.release.folder)}/report.html"

    def result(self) -> dict[str, Any]:
        """The last line of the job."""
        release, churn = self.release, self.release.churn
        return {
            "release": release.name, "path": self.workspace.address(release.folder), "rows": release.rows.model_dump(),
            "metrics": release.metrics, "churn": churn and {"against": churn["against"], "changed": churn["changed"]},
            **({"labels": release.catalog.labels.counts()} if release.catalog.labels else {}),
            **({} if self.extraction is None else {"extraction": self.extraction}),
        }  # fmt: skip


def train_flavor(
    flavor: str, flavors: Path, catalog: str, workspace: str, overrides: Sequence[str] = (), hold: bool = False, wait: float = 0,
    labels: str | None = None, engagement: str | None = None,
) -> TrainedFlavor:  # fmt: skip
    """Train a flavor on a catalog and publish the release. What is wrong with the flags is said before a Ray is started.

    Args:
        flavor: name of a YAML file in the folder `flavors`, or the path of one.
        overrides: `key.sub=value` of any recipe field.
        hold: leave the release that is current where it is.
        wait: seconds to wait for another run that writes the same flavor.
        labels: decided labels (catalog/decided_labels.py) to lay over the catalog.
        engagement: baskets and pairs (interactions/relations.py), by which the first level goes, too.

    Raises:
        ShelfcodeError: whatever the user can mend.
    """
    decided = read_decided_labels(labels) if labels else None
    recipe = check_flavor(flavor, flavors, overrides, lambda recipe: check_named_model(recipe.encoder))
    check_catalog(catalog, recipe.catalog)
    taken_together = read_engagement(engagement, recipe) if engagement else None
    start_ray()
    recipe, found = load_recipe(flavor, flavors, overrides, has_gpu()), leaves_hardware_open(flavor, flavors, overrides)
    recipe = fit_to_cluster(recipe, flavor_stages(recipe))
    run = new_run(f"train-{recipe.name}")
    with open_workspace(workspace, recipe.name, run, wait) as (opened, lease):
        recipe = pin_models(recipe, opened)
        if found:
            check_hardware(recipe, current_release(opened, recipe.name))
        return _train(recipe, catalog, opened, lease, run, hold, decided, taken_together)


def check_flavor(flavor: str, flavors: Path, overrides: Sequence[str], check: Callable[[Recipe], None] = lambda _: None) -> Recipe:
    """The recipe, but for what follows from the hardware, which only a running Ray knows. One that is wrong whatever that is, is refused.

    Args:
        check: raises where something is wrong with what a recipe names.

    Raises:
        ShelfcodeError: the message names file and field.
    """

    def checked(gpu: bool) -> Recipe:
        recipe = load_recipe(flavor, flavors, overrides, gpu)
        check(recipe)
        return recipe

    try:
        return checked(gpu=False)
    except ShelfcodeError as error:
        try:
            return checked(gpu=True)
        except ShelfcodeError:
            raise error from None


def _train(
    recipe: Recipe, catalog: str, workspace: Workspace, lease: Lease, run: str, hold: bool, decided: DecidedLabels | None,
    taken_together: Relations | None,
) -> TrainedFlavor:  # fmt: skip
    with stage("preparing the encoder"):
        recipe = keep_models(recipe, workspace)
    parent = current_release(workspace, recipe.name)
    start = choose_start(recipe, embeddings_folder(recipe), parent)
    if start.message:
        say(start.message)

    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, recipe.catalog, workspace, run, progress)
    if decided:
        snapshot = overlay_labels(workspace, snapshot, decided)
        say_labels(workspace, snapshot)
    check_size(recipe, snapshot.products)
    check_constraint(recipe, workspace, snapshot)
    if recipe.text_view.kind == "attributes":
        say_language(workspace, snapshot, recipe.extractor)

    with stage("embedding", snapshot.products) as progress:
        embedded = embed_catalog(snapshot, recipe, workspace, run, progress)
    say_embedded(embedded)
    check_size(recipe, len(embedded.keys_N))  # once more: some may be without a text in the view

    taxonomy = snapshot_taxonomy(workspace, snapshot).of(embedded.positions_N).without_leaves(recipe.catalog.no_leaf_names)
    if recipe.quantizer.chosen_contrastive_weight and not contrast_possible(taxonomy):
        say("the taxonomy has fewer than two leaves with products: the contrastive term is off")
    constrained = constrain_new(recipe, workspace, snapshot, embedded, start.weights)
    grouped, group_N = (constrained.grouped, constrained.group_N) if constrained else (None, None)
    found = None
    if taken_together:
        found = catalog_engagement(taken_together, snapshot_item_keys(workspace, snapshot)[embedded.positions_N])
        say(found.remark)
    engaged = found.engaged if found else None
    if engaged and start.weights and recipe.frozen_levels:
        say("engagement is for the first level, which is frozen: it changes nothing here")
    folder = training_run(recipe, embedded, taxonomy, start.weights, grouped, engaged)
    draft = f"{folder}/draft"
    if has_checkpoint(workspace, folder):
        say("an earlier run of this training was broken off: going on from its last checkpoint")
    with stage("finding each product's neighbourhood"):
        prepare_targets(recipe, embedded, taxonomy, workspace, folder, start.weights, grouped, engaged)
    with stage(f"training {recipe.training.steps_for(len(trained_rows(recipe, embedded.keys_N))):,} steps"):
        weights = train_quantizer(recipe, embedded, workspace, folder, start.weights)
    if start.codes:
        item_keys_N = snapshot_item_keys(workspace, snapshot)[embedded.positions_N]
        with stage("naming codewords"):
            weights = name_codewords(recipe, embedded, item_keys_N, workspace, weights, start.codes, group_N)
    workspace.remove(draft)
    save_model(workspace, draft, weights)
    if constrained:
        write_constraint(workspace, draft, constrained.constraint, weights)

    with stage("encoding", len(embedded.keys_N)) as progress:
        encode_embeddings(embedded, recipe, workspace, draft, f"{draft}/semantic_ids", progress, group_N)
    with stage("evaluating"):
        evaluated = evaluate_draft(workspace, snapshot, embedded, recipe, draft, parent, group_N=group_N)

    lease.check()
    manifest = evaluated.manifest.model_copy(update={"engagement": found.record if found else None})
    release = publish(workspace, draft, manifest, make_current=not hold)
    workspace.remove(folder)
    extraction = embedded.extracted.counts() if embedded.extracted else None
    return TrainedFlavor(workspace, release, evaluated.prefixes, snapshot, run, extraction)
