"""A small catalog with known structure: products around centres within centres, and a tree that follows them; and a draft to evaluate."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.embedding.embeddings import EmbeddedCatalog, embeddings_table
from shelfcode.embedding.encoder import encoder_name
from shelfcode.evaluation.behaviour.behavioural_alignment import BehaviouralAlignment, BehaviouralComparison, lift_ratio, relation_lifts
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs
from shelfcode.evaluation.quality.evaluate import Evaluation, evaluate
from shelfcode.evaluation.release_files import EvaluatedDraft, complete_draft
from shelfcode.flavor import Recipe
from shelfcode.keys import row_keys
from shelfcode.quantization.model_file import new_model, save_model
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class Clustered:
    """Products, the codes of the centres that they were made around, and a tree with one product in five astray."""

    x_ND: NDArray[np.float32]
    codes_NL: NDArray[np.uint16]
    sizes: tuple[int, ...]
    paths: list[list[str]]
    taxonomy: Taxonomy


def make_clustered(products: int, dimensions: int = 24, seed: int = 0) -> Clustered:
    rng = np.random.default_rng(seed)
    sizes = (6, 8, 10)
    codes_NL = np.stack([rng.integers(0, size, products) for size in sizes], axis=1).astype(np.uint16)
    x_ND = 0.2 * rng.standard_normal((products, dimensions))
    for level, size in enumerate(sizes):
        x_ND += rng.standard_normal((size, dimensions))[codes_NL[:, level]] / (1.5**level)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    astray_N = rng.random(products) < 0.2
    tree_N2 = np.where(astray_N[:, None], rng.integers(0, 6, (products, 2)), codes_NL[:, :2])
    paths = [[f"department {top}", f"aisle {top} {low}"] for top, low in tree_N2.tolist()]
    return Clustered(x_ND.astype(np.float32), codes_NL, sizes, paths, taxonomy_from_paths(paths))


@pytest.fixture(scope="session")
def clustered() -> Clustered:
    return make_clustered(1000)


@pytest.fixture(scope="session")
def evaluation(clustered: Clustered) -> Evaluation:
    return evaluate(clustered.x_ND, clustered.codes_NL, clustered.sizes, clustered.taxonomy)


@pytest.fixture(scope="session")
def other_seed(clustered: Clustered) -> Evaluation:
    return evaluate(clustered.x_ND, clustered.codes_NL, clustered.sizes, clustered.taxonomy, seed=1)


@pytest.fixture(scope="session")
def clustered_of() -> Callable[..., Clustered]:
    """Makes such a catalog of any size."""
    return make_clustered


@pytest.fixture(scope="session")
def compared(clustered: Clustered) -> BehaviouralComparison:
    """Of the clustered products' codes against shuffled ones: pairs within a first codeword, and a relation without pairs."""
    rng = np.random.default_rng(0)
    left_P, right_P = rng.integers(0, 1000, (2, 4000))
    together = np.flatnonzero((clustered.codes_NL[left_P, 0] == clustered.codes_NL[right_P, 0]) & (left_P != right_P))
    none = np.empty(0, np.int64)
    relations = (
        RelationPairs("substitute", True, left_P[together], right_P[together], np.arange(len(together)) // 2, 9000, 3, 5),
        RelationPairs("<i>never</i>", True, none, none, none, 0, 0, 0),
    )
    shuffled_NL = rng.permutation(clustered.codes_NL)

    def aligned(codes_NL: NDArray[np.uint16]) -> BehaviouralAlignment:
        return BehaviouralAlignment(
            products=1000, seed=0, resamples=500, pairs_from="facts", passed_over=("misfiled", "<b>attributes</b>"), incomplete_rows=7,
            relations=tuple(relation_lifts(codes_NL, pairs) for pairs in relations),
        )  # fmt: skip

    return BehaviouralComparison(
        a=aligned(clustered.codes_NL),
        b=aligned(shuffled_NL),
        ratios=tuple(lift_ratio(clustered.codes_NL, shuffled_NL, pairs) for pairs in relations),
    )


@dataclass(frozen=True)
class Shelf:
    """A workspace with a catalog of 240 products, of which 220 have an embedding, and a draft in two parts that fits them."""

    workspace: Workspace
    snapshot: Snapshot
    embedded: EmbeddedCatalog
    recipe: Recipe
    item_ids: pa.Array
    draft: str = "runs/small/draft"

    @property
    def parts(self) -> tuple[str, str]:
        return (f"{self.draft}/semantic_ids/part-000000.parquet", f"{self.draft}/semantic_ids/part-000001.parquet")

    def write_draft(self, changed: int = 0) -> None:
        """A model, and codes; of the first `changed` products another first codeword."""
        save_model(self.workspace, self.draft, new_model(self.recipe, 12).state_dict())
        sizes, coded = self.recipe.quantizer.codebook_sizes, len(self.item_ids)
        codes_NL = np.stack([np.random.default_rng(size).integers(0, size, coded) for size in sizes], axis=1)
        codes_NL[:changed, 0] = (codes_NL[:changed, 0] + 1) % sizes[0]
        for path, rows in zip(self.parts, (slice(None, coded // 2), slice(coded // 2, None)), strict=True):
            self.workspace.write_table(path, semantic_ids_table(pa.chunked_array([self.item_ids])[rows], codes_NL[rows]))

    def evaluate(
        self, parent: Manifest | None = None, model_from: str | None = None, by: Callable[..., EvaluatedDraft] = complete_draft
    ) -> EvaluatedDraft:
        return by(self.workspace, self.snapshot, self.embedded, self.recipe, self.draft, parent, model_from)


def open_shelf(url: str) -> Shelf:
    products, coded = 240, 220
    quantizer = {"codebook_sizes": [6, 8], "hidden_sizes": [8], "latent_size": 4}
    recipe = validate_recipe({"name": "small", "quantizer": quantizer, "training": {"cpus_per_worker": 1}}, "of a test")
    workspace, table = Workspace(url), sample_chunk(0, products, seed=0).products
    part = "catalog/sample/part-000000-000000.parquet"
    workspace.write_table(part, table)
    snapshot = Snapshot(
        folder="catalog/sample", source="sample", fingerprint="f" * 32, read=products + 3, rejected=3, rejected_folder="rejected/1",
        reasons={}, parts=(SnapshotPart(path=part, rows=products),),
    )  # fmt: skip
    positions_N = np.sort(np.random.default_rng(1).choice(products, coded, replace=False))
    item_ids = table["item_id"].take(pa.array(positions_N)).combine_chunks()
    x_ND = np.random.default_rng(2).standard_normal((coded, 12)).astype(np.float32)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    texts = pa.table({"item_id": item_ids, "text_hash": pa.array([f"{number:032x}" for number in range(coded)])})
    folder = f"embeddings/{encoder_name(recipe.encoder, recipe.text_view)}"
    workspace.write_table(f"{folder}/part-0.parquet", embeddings_table(texts, x_ND))
    embedded = EmbeddedCatalog(folder, positions_N, row_keys(texts["item_id"], texts["text_hash"]), coded, 0, products - coded)
    made = Shelf(workspace, snapshot, embedded, recipe, item_ids)
    made.write_draft()
    return made


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return open_shelf(str(tmp_path))


@pytest.fixture
def shelf_in() -> Callable[[str], Shelf]:
    """Makes such a shelf in any workspace that nobody used before."""
    return open_shelf
