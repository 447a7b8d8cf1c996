"""A draft is checked, evaluated and held against its parent before anybody sees it; one that is damaged is refused and never published."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.embedding.embeddings import EmbeddedCatalog, embeddings_table
from shelfcode.embedding.encoder import encoder_name
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.pipeline import EvaluatedDraft, evaluate_draft
from shelfcode.flavor import Recipe
from shelfcode.keys import row_keys
from shelfcode.quantization.model_file import new_model, save_model
from shelfcode.quantization.semantic_ids import read_coded_texts, semantic_ids_table
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest, publish
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace

PRODUCTS, CODED, SIZES = 240, 220, (6, 8)
"""Of the catalog, of them with an embedding, and codewords a level."""

DRAFT = "runs/small/draft"
FIRST, LAST = f"{DRAFT}/semantic_ids/part-000000.parquet", f"{DRAFT}/semantic_ids/part-000001.parquet"


@dataclass(frozen=True)
class Shelf:
    """A workspace with a catalog, its embeddings, and a draft in two parts that fits them."""

    workspace: Workspace
    snapshot: Snapshot
    embedded: EmbeddedCatalog
    recipe: Recipe
    item_ids: pa.Array

    def write_codes(self, codes_NL: NDArray[np.integer]) -> None:
        half = CODED // 2
        for path, rows in ((FIRST, slice(None, half)), (LAST, slice(half, None))):
            self.workspace.write_table(path, semantic_ids_table(pa.chunked_array([self.item_ids])[rows], codes_NL[rows]))

    def evaluate(self, parent: Manifest | None = None, model_from: str | None = None) -> EvaluatedDraft:
        return evaluate_draft(self.workspace, self.snapshot, self.embedded, self.recipe, DRAFT, parent, model_from)


def some_codes(seed: int = 0) -> NDArray[np.int64]:
    return np.stack([np.random.default_rng(seed + size).integers(0, size, CODED) for size in SIZES], axis=1)


@pytest.fixture
def shelf(local_ray: None, workspace_url: str) -> Shelf:
    quantizer = {"codebook_sizes": list(SIZES), "hidden_sizes": [8], "latent_size": 4}
    recipe = validate_recipe({"name": "small", "quantizer": quantizer, "training": {"cpus_per_worker": 1}}, "of a test")
    workspace, products = Workspace(workspace_url), sample_chunk(0, PRODUCTS, seed=0).products
    part = "catalog/sample/part-000000-000000.parquet"
    workspace.write_table(part, products)
    snapshot = Snapshot(
        folder="catalog/sample", source="sample", fingerprint="f" * 32, read=PRODUCTS + 3, rejected=3, rejected_folder="rejected/1",
        reasons={}, parts=(SnapshotPart(path=part, rows=PRODUCTS),),
    )  # fmt: skip
    positions_N = np.sort(np.random.default_rng(1).choice(PRODUCTS, CODED, replace=False))
    item_ids = products["item_id"].take(pa.array(positions_N)).combine_chunks()
    x_ND = np.random.default_rng(2).standard_normal((CODED, 12)).astype(np.float32)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    texts = pa.table({"item_id": item_ids, "text_hash": pa.array([f"{number:032x}" for number in range(CODED)])})
    folder = f"embeddings/{encoder_name(recipe.encoder, recipe.text_view)}"
    workspace.write_table(f"{folder}/part-0.parquet", embeddings_table(texts, x_ND))
    embedded = EmbeddedCatalog(folder, positions_N, row_keys(texts["item_id"], texts["text_hash"]), CODED, 0, PRODUCTS - CODED)
    made = Shelf(workspace, snapshot, embedded, recipe, item_ids)
    save_model(workspace, DRAFT, new_model(recipe, 12).state_dict())
    made.write_codes(some_codes())
    return made


def test_a_whole_draft_gets_its_evaluation_its_texts_and_a_manifest(shelf: Shelf) -> None:
    evaluated = shelf.evaluate(model_from="small@v0007")
    manifest = evaluated.manifest
    assert (manifest.flavor, manifest.version, manifest.parent, manifest.model_from) == ("small", "", None, "small@v0007")
    assert manifest.rows.model_dump() == {"read": PRODUCTS + 3, "coded": CODED, "rejected": PRODUCTS + 3 - CODED}
    assert manifest.embeddings == shelf.embedded.folder
    assert manifest.churn is None
    assert manifest.metrics
    assert np.isfinite(list(manifest.metrics.values())).all()
    assert {"evaluation.json", "report.html", "coded_texts.npy", "model.safetensors"} <= set(shelf.workspace.names(DRAFT))
    assert not shelf.workspace.exists(f"{DRAFT}/manifest.json"), "what has a manifest is published"
    assert evaluated.prefixes


def test_the_texts_that_products_were_coded_from_are_kept_in_rising_order(shelf: Shelf) -> None:
    assert len(read_coded_texts(shelf.workspace, DRAFT)) == 0
    shelf.evaluate()
    stored = read_coded_texts(shelf.workspace, DRAFT)
    assert stored.dtype == np.uint64
    assert stored.tolist() == sorted(shelf.embedded.keys_N.tolist())
    assert stored.tolist() != shelf.embedded.keys_N.tolist()


def test_a_draft_is_held_against_its_parent(shelf: Shelf) -> None:
    parent = publish(shelf.workspace, DRAFT, shelf.evaluate().manifest)
    codes_NL = some_codes()
    codes_NL[:55, 0] = (codes_NL[:55, 0] + 1) % SIZES[0]
    save_model(shelf.workspace, DRAFT, new_model(shelf.recipe, 12).state_dict())
    shelf.write_codes(codes_NL)
    manifest = shelf.evaluate(parent).manifest
    assert manifest.parent == "small@v0001"
    assert manifest.churn is not None
    assert manifest.churn["against"] == "small@v0001"
    assert manifest.churn["changed"] == pytest.approx([0.25, 0.25])


def without_last_row(shelf: Shelf) -> None:
    shelf.workspace.write_table(LAST, shelf.workspace.read_table(LAST).slice(1))


def cut(shelf: Shelf) -> None:
    shelf.workspace.write_bytes(FIRST, shelf.workspace.read_bytes(FIRST)[:-9])


def gone(shelf: Shelf) -> None:
    shelf.workspace.remove(LAST)


def twice(shelf: Shelf) -> None:
    shelf.workspace.write_table(LAST, shelf.workspace.read_table(FIRST))


def beyond(shelf: Shelf) -> None:
    codes_NL = some_codes()
    codes_NL[-1, 1] = SIZES[1]
    shelf.write_codes(codes_NL)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without_last_row, "holds 219 products in 2 parts"),
        (gone, "holds 110 products in 1 parts"),
        (cut, "part-000000.parquet cannot be read"),
        (twice, "has an item_id that occurred before"),
        (beyond, "code 8 of level 2 lies outside its codebook of 8 codewords"),
    ],
)
def test_a_draft_with_a_missing_product_or_a_damaged_part_is_refused(shelf: Shelf, damage: Callable[[Shelf], None], told: str) -> None:
    damage(shelf)
    with pytest.raises(ShelfcodeError, match=told):
        shelf.evaluate()
    assert not {"evaluation.json", "coded_texts.npy"} & set(shelf.workspace.names(DRAFT))


def test_a_draft_of_other_products_is_refused(shelf: Shelf) -> None:
    """As many as there should be, and one of them that the catalog does not have."""
    table = shelf.workspace.read_table(LAST)
    names = ["nobody", *table["item_id"].to_pylist()[1:]]
    shelf.workspace.write_table(LAST, table.set_column(0, "item_id", pa.array(names, pa.string())))
    with pytest.raises(Exception, match="has no semantic ID for 1 products"):
        shelf.evaluate()
