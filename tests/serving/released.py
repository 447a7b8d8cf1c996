"""Small real releases without a training: embeddings of the sample catalog, coded by residual k-means in a real quantizer."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from tiny_model import make_tiny_model

from shelfcode.attributes.extractor import extractor_name
from shelfcode.attributes.prompt import text_hashes
from shelfcode.attributes.table import Outcome, attributes_rows
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.text_view import attribute_texts, raw_texts
from shelfcode.flavor import Recipe
from shelfcode.keys import item_keys
from shelfcode.quantization.codebook import kmeans, nearest
from shelfcode.quantization.model_file import new_model, save_model
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.quantization.target_search.projection import principal_components
from shelfcode.releases.release import Manifest, draft_manifest, publish
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace

SIZES = [6, 8, 8, 16]
LATENT = 32
ENCODER = {"backend": "torch", "device": "cpu", "cpus_per_actor": 1, "max_tokens": 24, "tokens_per_batch": 2048}
ITEM_IDS = ('a/b "c"', "ünï/..", "<script>alert(1)</script>")
"""Of the first products: ids with whatever an address or a page could trip over."""
BOLD_TITLE = "<b>Bold</b> & <img src=x onerror=alert(1)> Oat Drink"


@dataclass(frozen=True)
class Shop:
    """A workspace with a catalog and its embeddings in both text views; releases are made from them in a moment."""

    workspace: Workspace
    snapshot: Snapshot
    products: pa.Table
    embeddings: dict[str, np.ndarray]
    model: str | None = None

    def release(self, flavor: str, seed: int, make_current: bool = True) -> Manifest:
        """Publish another release of a flavor; another seed gives other codes."""
        recipe = recipe_of(flavor, self.model)
        x_NE = torch.from_numpy(self.embeddings[flavor])
        model = new_model(recipe, x_NE.shape[1])
        mean_E, basis_DE = principal_components(recipe, self.embeddings[flavor], torch.device("cpu"))
        residual_ND = (x_NE - mean_E) @ basis_DE.T
        generator, codewords = torch.Generator().manual_seed(seed), []
        for size in SIZES:
            codewords.append(kmeans(residual_ND, size, 10, 1, generator))
            residual_ND = residual_ND - codewords[-1][nearest(residual_ND, codewords[-1])]
        model.start_at(mean_E, basis_DE, codewords)
        codes_NL = model.eval().encode(x_NE).numpy()
        draft = f"runs/{flavor}-{seed}/draft"
        save_model(self.workspace, draft, model.state_dict())
        self.workspace.write_table(f"{draft}/semantic_ids/part-000000.parquet", semantic_ids_table(self.products["item_id"], codes_NL))
        embedded = EmbeddedCatalog("embeddings/none", np.arange(len(x_NE)), item_keys(self.products["item_id"]), len(x_NE), 0, 0)
        return publish(self.workspace, draft, draft_manifest(recipe, self.snapshot, embedded, {}, None), make_current)


def recipe_of(flavor: str, model: str | None = None) -> Recipe:
    """A small recipe of either flavor, with the default encoder or another one."""
    quantizer = {"codebook_sizes": SIZES, "hidden_sizes": [16], "latent_size": LATENT}
    encoder = ENCODER | ({"model": model} if model else {})
    view = {"kind": "attributes" if flavor == "discovery" else "raw"}
    return Recipe.model_validate({"name": flavor, "text_view": view, "encoder": encoder, "quantizer": quantizer})


def open_shop(url: str, products: int = 400, tiny: Path | None = None) -> Shop:
    """Lay out a workspace: snapshot, attributes by the rules, and embeddings in memory.

    Args:
        tiny: where to make a tiny encoder that knows the catalog's words; the default one where it is None.
    """
    workspace, table = Workspace(url), _catalog(products)
    model = make_tiny_model(tiny, dimensions=2 * LATENT, more_words=_words(table)) if tiny else None
    path = "catalog/sample/part-000000-000000.parquet"
    workspace.write_table(path, table)
    snapshot = Snapshot(
        folder="catalog/sample", source="sample", fingerprint="f" * 32, read=products, rejected=0, rejected_folder="rejected/1", reasons={},
        parts=(SnapshotPart(path=path, rows=products),),
    )  # fmt: skip
    workspace.write_json("catalog/sample/manifest.json", snapshot.model_dump(mode="json"))
    discovery = recipe_of("discovery", model)
    rows = (
        table.append_column("text_hash", text_hashes(table)).select(["item_id", "text_hash", "title", "description", "brand"]).to_pylist()
    )
    attributes = attributes_rows(rows, [Outcome(None, None)] * products, extractor_name(discovery.extractor), {})
    workspace.write_table(f"attributes/{extractor_name(discovery.extractor)}/part-0.parquet", attributes)
    encoder = Encoder(discovery.encoder)
    return Shop(workspace, snapshot, table, {
        "precision": encoder.embed(raw_texts(table, recipe_of("precision").text_view)),
        "discovery": encoder.embed(attribute_texts(attributes, discovery.text_view, {})),
    }, model)  # fmt: skip


def _words(table: pa.Table) -> list[str]:
    return sorted({word for title in table["title"].to_pylist() for word in re.findall(r"\w+", title.lower())})


def _catalog(products: int) -> pa.Table:
    """The sample catalog with awkward ids and one awkward title, all of one spelling of columns."""
    table = sample_chunk(0, products, seed=0).products
    item_ids = [*ITEM_IDS, *table["item_id"].to_pylist()[len(ITEM_IDS) :]]
    titles = [BOLD_TITLE, *table["title"].to_pylist()[1:]]
    table = table.set_column(table.schema.get_field_index("item_id"), "item_id", pa.array(item_ids, pa.string()))
    return table.set_column(table.schema.get_field_index("title"), "title", pa.array(titles, pa.string()))
