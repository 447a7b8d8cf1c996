"""Which products of a release are sparse, on Ray: cut texts are embedded and coded as any new product is, by the frozen release."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart, load_snapshot, snapshot_batches
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.embedding.pipeline import embed_catalog
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.sparse.chance import Calibration, Chance, check_rich, learn_chance
from shelfcode.evaluation.sparse.coded_texts import CodedTexts, Coder, code_texts, read_rich, step_examples
from shelfcode.evaluation.sparse.cut_texts import COLUMNS, cut_ladders, titles_alone
from shelfcode.evaluation.sparse.enriched_catalog import write_enriched
from shelfcode.evaluation.sparse.enrichment import INFERRED, infer, is_filled
from shelfcode.evaluation.sparse.fields import Fields, read_attributes, read_fields
from shelfcode.evaluation.sparse.restoration import Deletion, Restoration, code_filled, restore
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.evaluation.sparse.sparse_products import Enrichment, FlavorContrast, SparseFigures, count_missing, sparse_table
from shelfcode.flavor import Recipe
from shelfcode.parts import part_path
from shelfcode.progress import Progress
from shelfcode.releases.release import Manifest
from shelfcode.semantic_id import shared_depth
from shelfcode.workspace import Workspace

Stage = Callable[[str, int], AbstractContextManager[Progress]]
"""A stage's name and its products -> what shows its progress."""


@dataclass(frozen=True)
class FrozenRelease:
    """A release that codes texts, and the run in which it does.

    Attributes:
        recipe: of the release, fitted to the cluster.
    """

    workspace: Workspace
    manifest: Manifest
    recipe: Recipe
    run: str
    stage: Stage

    def coder(self) -> Coder:
        """What codes products that no catalog holds, as any new product is coded."""
        return lambda products, name: code_products(self, products, name)

    @property
    def sizes(self) -> list[int]:
        return list(self.recipe.quantizer.codebook_sizes)


@dataclass(frozen=True)
class SparseRelease:
    """What was found of a release.

    Attributes:
        coded: all products of its snapshot.
        table: the sparse table, a row a coded product, in their order.
        fields: of the coded products, in their order.
        attributes: item_id, product_type, format of the products that an extractor read; None where no view asked for attributes.
    """

    frozen: FrozenRelease
    snapshot: Snapshot
    coded: CodedTexts
    table: pa.Table
    fields: Fields
    figures: SparseFigures
    attributes: pa.Table | None

    @property
    def sparse_Q(self) -> NDArray[np.int64]:
        """Places of the sparse products among the coded ones."""
        return np.flatnonzero(np.array(self.table["sparse"].to_pylist(), bool))

    def with_contrast(self, contrast: FlavorContrast) -> "SparseRelease":
        """The same, held against another flavor's release."""
        return replace(self, figures=self.figures.model_copy(update={"contrast": contrast}))


def find_sparse(frozen: FrozenRelease, settings: SparseSettings, attributes: pa.Table | None = None) -> SparseRelease:
    """Learn from the rich products of a release's catalog when a code is not firm, and say it of all of them.

    Args:
        attributes: item_id, product_type, format, where the release's own view has none.

    Raises:
        ShelfcodeError: the catalog is no longer in the workspace, or has too few products with enough sentences.
    """
    workspace, manifest = frozen.workspace, frozen.manifest
    snapshot = load_snapshot(workspace, manifest.catalog.snapshot)
    if snapshot is None:
        raise ShelfcodeError(f"{manifest.name} was trained on {manifest.catalog.snapshot}, which {workspace.url} no longer holds")
    coded, embedded = code_snapshot(frozen, snapshot, "coding the catalog")
    attributes = read_attributes(workspace, embedded.extracted) if embedded.extracted else attributes
    fields = read_fields(workspace, snapshot, coded.positions_N, frozen.recipe.catalog, attributes)
    rich, place_R = read_rich(workspace, snapshot, coded, settings)
    check_rich(len(rich))

    ladders, titles = cut_ladders(rich, np.arange(len(rich)), settings), titles_alone(rich)
    code = frozen.coder()
    cut = code(pa.concat_tables([ladders.products, titles]), "coding cut texts")
    versions = len(ladders.products)
    chances = [learn_chance(examples, settings.seed) for examples in step_examples(ladders, cut.between(0, versions))]
    chances_N2 = np.stack([chance.predict(coded.signals_NF) for chance, _ in chances], axis=1)
    item_ids = pa.concat_arrays([batch["item_id"].combine_chunks() for batch in snapshot_batches(workspace, snapshot, ["item_id"])])
    table = sparse_table(item_ids.take(pa.array(coded.positions_N)), coded.words_N, chances_N2, fields, settings.threshold)
    deletion = Deletion("their titles", titles, place_R, cut.between(versions, versions + len(titles)))
    restoration = restore(deletion, code, coded, fields, frozen.sizes, settings)
    figures = _figures(manifest.name, settings, table, fields, chances, restoration)
    return SparseRelease(frozen, snapshot, coded, table, fields, figures, attributes)


def write_sparse(found: SparseRelease, folder: str) -> None:
    """Write part-*.parquet and sparse.json into a folder of the workspace, beside the other evaluations of the release."""
    workspace = found.frozen.workspace
    for old in workspace.parts(folder):
        workspace.remove(old)
    workspace.write_table(part_path(folder, "000000"), found.table)
    workspace.write_json(f"{folder}/sparse.json", found.figures.model_dump(mode="json"))


def sparse_folder(manifest: Manifest) -> str:
    """Where the sparse products of a release are kept, within the workspace."""
    return f"evaluations/{manifest.name}/sparse"


def _figures(
    release: str, settings: SparseSettings, table: pa.Table, fields: Fields, chances: list[tuple[Chance, Calibration]],
    restoration: Restoration,
) -> SparseFigures:  # fmt: skip
    means = [float(np.mean(table[name].to_numpy())) for name in ("p_change_l1", "p_change_l2")]
    return SparseFigures(
        release=release, settings=settings, products=len(table), sparse=sum(table["sparse"].to_pylist()), mean_p_l1=means[0],
        mean_p_l2=means[1], missing=count_missing(table, list(fields.values)), chance_l1=chances[0][1], chance_l2=chances[1][1],
        restoration=restoration,
    )  # fmt: skip


def code_snapshot(frozen: FrozenRelease, snapshot: Snapshot, name: str) -> tuple[CodedTexts, EmbeddedCatalog]:
    """Code the products of a snapshot with the frozen release, and measure their signals."""
    with frozen.stage(name, snapshot.products) as progress:
        embedded = embed_catalog(snapshot, frozen.recipe, frozen.workspace, frozen.run, progress)
        task = ray.remote(num_cpus=1)(code_texts).remote(frozen.workspace, snapshot, embedded, frozen.recipe, frozen.manifest.folder)
        return ray.get(task), embedded


def code_products(frozen: FrozenRelease, products: pa.Table, name: str) -> CodedTexts:
    """Code a table of products that no catalog holds: item_id, title, description and brand. Its file lies in the folder of the run."""
    workspace, folder = frozen.workspace, f"runs/{frozen.run}/{name.replace(' ', '-')}"
    part = part_path(folder, "000000-000000")
    workspace.write_table(part, products.select(list(COLUMNS)))
    snapshot = Snapshot(
        folder=folder, source=name, fingerprint="", read=len(products), rejected=0, rejected_folder=f"rejected/{frozen.run}", reasons={},
        parts=(SnapshotPart(path=part, rows=len(products)),),
    )  # fmt: skip
    return code_snapshot(frozen, snapshot, name)[0]


def enrich(found: SparseRelease, settings: SparseSettings, out: Workspace) -> Enrichment:
    """Write a copy of a release's catalog into `out`, with what the neighbours of sparse products agree on beside what is given."""
    frozen, sparse_Q, codes_NL = found.frozen, found.sparse_Q, found.coded.codes_NL
    lacks, workspace = found.fields.lacking(INFERRED, sparse_Q), frozen.workspace
    inferred = infer(found.fields, codes_NL, codes_NL[sparse_Q], sparse_Q, lacks, frozen.sizes, settings)
    leaves = [found.fields.values["category_path"][at] if settings.say_leaf else None for at in sparse_Q.tolist()]
    write_enriched(workspace, found.snapshot, found.coded.positions_N, found.table, inferred, leaves, frozen.manifest.name, out)
    changed: tuple[float, ...] = ()
    if len(sparse_Q):
        catalog = pa.concat_tables(snapshot_batches(workspace, found.snapshot, list(COLUMNS)))
        products = catalog.take(pa.array(found.coded.positions_N[sparse_Q]))
        after_QL = code_filled(products, codes_NL[sparse_Q], inferred, leaves, frozen.coder(), "coding enriched products")
        same_Q = shared_depth(after_QL, codes_NL[sparse_Q])
        changed = tuple(float(np.mean(same_Q < depth)) for depth in (1, 2))
    counts = {name: sum(each is not None for each in values) for name, values in inferred.items()}
    return Enrichment(len(sparse_Q), int(is_filled(inferred).sum()), sum(leaf is not None for leaf in leaves), counts, changed)
