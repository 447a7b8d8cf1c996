"""The Instacart catalog for benchmarks: MiniLM embeddings of its titles, made once and kept in the scratch folder."""

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_batches
from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.matrix import scratch_folder
from shelfcode.flavor import EncoderSettings


def catalog_file() -> Path:
    """Where the catalog lies; ends the script when SHELFCODE_DATA does not say."""
    folder = os.environ.get("SHELFCODE_DATA")
    if not folder:
        sys.exit("SHELFCODE_DATA names no folder of real catalogs: set it to the folder that holds instacart/catalog.parquet")
    return Path(folder) / "instacart/catalog.parquet"


def load_instacart() -> tuple[NDArray[np.float32], Taxonomy]:
    """Embeddings of the titles, float32[N, 384], and the taxonomy, in the catalog's order."""
    table = pq.read_table(catalog_file(), columns=["title", "category_path"])
    kept = scratch_folder() / "benchmark-instacart.npy"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, Encoder(EncoderSettings(cpus_per_actor=os.cpu_count() or 1)).embed(table["title"].to_pylist()))
    return np.load(kept), taxonomy_from_batches([table["category_path"].combine_chunks()])
