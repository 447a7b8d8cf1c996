"""What of a large catalog lies on the disk of a training node, by the size of the file that is made there."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.embedding.embeddings import EmbeddedCatalog, embeddings_table
from shelfcode.keys import row_keys
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import unpack_targets
from shelfcode.quantization.train import TARGETS_FILE, TRAINING_SET_FILE, pack_training_set, trained_rows, training_run, write_targets
from shelfcode.recipe_file import validate_recipe
from shelfcode.workspace import Workspace

FOLDER, RUN = "embeddings/m", "runs/small"


def recipe_of(products_max: int, seed: int = 0):
    quantizer = {"codebook_sizes": [4, 8], "hidden_sizes": [8], "latent_size": 4, "kmeans_iterations": 2}
    training = {"products_max": products_max, "cpus_per_worker": 1, "seed": seed}
    return validate_recipe({"name": "small", "quantizer": quantizer, "training": training}, "of a test")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    return Workspace(str(tmp_path / "workspace"))


def embedded_in(workspace: Workspace, products: int) -> tuple[EmbeddedCatalog, np.ndarray]:
    """Products with a vector each, in three parts."""
    texts = pa.table({"item_id": [f"i{row}" for row in range(products)], "text_hash": [f"h{row}" for row in range(products)]})
    x_ND = np.random.default_rng(0).standard_normal((products, 16)).astype(np.float32)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    for number, rows in enumerate(np.array_split(np.arange(products), 3)):
        workspace.write_table(f"{FOLDER}/part-{number}.parquet", embeddings_table(texts.take(rows), x_ND[rows]))
    return EmbeddedCatalog(FOLDER, np.arange(products), row_keys(texts["item_id"], texts["text_hash"]), products, 0, 0), x_ND


def test_a_training_node_keeps_the_vectors_of_the_sample_and_not_those_of_the_catalog(workspace: Workspace, tmp_path: Path) -> None:
    recipe, (embedded, x_ND) = recipe_of(products_max=200), embedded_in(workspace, 3000)
    taxonomy = taxonomy_from_paths([[f"d{row % 7}"] for row in range(3000)])
    rows_M = trained_rows(recipe, embedded.keys_N)
    workspace.write_bytes(f"{RUN}/{TRAINING_SET_FILE}", pack_training_set(embedded.keys_N[rows_M], taxonomy.of(rows_M)))
    write_targets(recipe, workspace, RUN, FOLDER, None)
    (matrix,) = (tmp_path / "scratch").glob("*.npy")
    assert 200 * 16 * 4 < matrix.stat().st_size < 200 * 16 * 4 + 500
    np.testing.assert_array_equal(np.load(matrix), x_ND[rows_M])
    found = unpack_targets(workspace.read_bytes(f"{RUN}/{TARGETS_FILE}"))
    expected = find_targets(recipe, x_ND[rows_M], taxonomy.of(rows_M), torch.device("cpu"))
    np.testing.assert_array_equal(found.codes_ML, expected.codes_ML)


def test_a_run_is_named_after_what_it_is_trained_on(workspace: Workspace) -> None:
    embedded, _ = embedded_in(workspace, 300)
    taxonomy = taxonomy_from_paths([["a"]] * 150 + [["b"]] * 150)
    whole, sample, other = (training_run(recipe_of(*settings), embedded, taxonomy) for settings in ((300,), (100,), (100, 1)))
    assert len({whole, sample, other}) == 3
    assert training_run(recipe_of(100), embedded, taxonomy) == sample
