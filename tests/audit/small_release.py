"""Small real releases of a shop with any paths, without an encoder and without a training: for tests of what reads releases."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart, load_snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog, embeddings_table
from shelfcode.keys import row_keys, text_hash
from shelfcode.parts import part_path
from shelfcode.quantization.codebook import kmeans, nearest
from shelfcode.quantization.model_file import new_model, save_model
from shelfcode.quantization.semantic_ids import semantic_ids_table, write_coded_texts
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest, draft_manifest, publish
from shelfcode.workspace import Workspace

DIMENSIONS, LATENT, SIZES = 16, 8, [4, 6]

Path = tuple[str, ...]


def publish_release(
    workspace: Workspace, paths: Sequence[Path | None], kinds: Sequence[Path] | None = None, flavor: str = "small",
    snapshot: str = "catalog/1", titles: Sequence[str] | None = None, columns: Mapping[str, Sequence[object]] | None = None,
    skip: Sequence[int] = (),
) -> Manifest:  # fmt: skip
    """Publish a release, and its snapshot in two parts where there is none of this name yet.

    Args:
        paths: the label of each product.
        kinds: what each product is: its vector lies near those of its kind. The label where it is None.
        skip: products that have no code.
    """
    count = len(paths)
    kinds = kinds or [path or ("nothing",) for path in paths]
    names = titles or [f"{kind[-1]} number {number}" for number, kind in enumerate(kinds)]
    products = pa.table({
        "item_id": [f"item {number}" for number in range(count)], "title": pa.array(names, pa.string()),
        "description": pa.nulls(count, pa.string()), "brand": pa.nulls(count, pa.string()),
        "category_path": pa.array(paths, pa.list_(pa.string())), **(columns or {}),
    })  # fmt: skip
    taken = _take_snapshot(workspace, snapshot, products)
    coded = [number for number in range(count) if number not in skip]
    texts = pa.table({"item_id": products["item_id"], "text_hash": [text_hash(name) for name in names]}).take(coded)
    x_NE = _vectors([kinds[number] for number in coded], names)
    workspace.write_table(f"embeddings/{flavor}/part-0.parquet", embeddings_table(texts, x_NE))
    fields = {"name": flavor, "quantizer": {"codebook_sizes": SIZES, "hidden_sizes": [8], "latent_size": LATENT}}
    recipe = validate_recipe(fields, flavor)
    model = _fitted(new_model(recipe, DIMENSIONS), torch.from_numpy(x_NE))
    draft, keys_N = f"runs/{flavor}/draft", row_keys(texts["item_id"], texts["text_hash"])
    save_model(workspace, draft, model.state_dict())
    codes_NL = model.eval().encode(torch.from_numpy(x_NE)).numpy()
    workspace.write_table(f"{draft}/semantic_ids/part-000000.parquet", semantic_ids_table(texts["item_id"], codes_NL))
    write_coded_texts(workspace, draft, keys_N)
    embedded = EmbeddedCatalog(f"embeddings/{flavor}", np.array(coded), keys_N, len(coded), 0, count - len(coded))
    return publish(workspace, draft, draft_manifest(recipe, taken, embedded, {}, None))


def _take_snapshot(workspace: Workspace, folder: str, products: pa.Table) -> Snapshot:
    if known := load_snapshot(workspace, folder):
        return known
    half = len(products) // 2
    parts = []
    for number, rows in enumerate((products.slice(0, half), products.slice(half))):
        path = part_path(folder, f"00000{number}")
        workspace.write_table(path, rows)
        parts.append(SnapshotPart(path=path, rows=len(rows)))
    snapshot = Snapshot(
        folder=folder, source="shop.parquet", fingerprint=text_hash(folder), read=len(products), rejected=0, rejected_folder="rejected/1",
        reasons={}, parts=tuple(parts),
    )  # fmt: skip
    workspace.write_json(f"{folder}/manifest.json", snapshot.model_dump(mode="json"))
    return snapshot


def _vectors(kinds: Sequence[Path], names: Sequence[str]) -> np.ndarray:
    """Near one place for each kind, and a little apart for each product."""
    rng = np.random.default_rng(0)
    places = {kind: rng.normal(size=DIMENSIONS) for kind in dict.fromkeys(kinds)}
    x_NE = np.stack([places[kind] for kind in kinds]) + 0.3 * rng.normal(size=(len(kinds), DIMENSIONS))
    return (x_NE / np.linalg.norm(x_NE, axis=1, keepdims=True)).astype(np.float32)


def _fitted(model: torch.nn.Module, x_NE: torch.Tensor) -> torch.nn.Module:
    mean_E = x_NE.mean(dim=0)
    basis_DE = torch.linalg.svd(x_NE - mean_E, full_matrices=False)[2][:LATENT].contiguous()
    residual_ND = (x_NE - mean_E) @ basis_DE.T
    codewords = []
    for size in SIZES:
        codewords.append(kmeans(residual_ND, size, 10, 1, torch.Generator().manual_seed(0)))
        residual_ND = residual_ND - codewords[-1][nearest(residual_ND, codewords[-1])]
    model.start_at(mean_E, basis_DE, codewords)
    return model
