"""Real catalogs for benchmarks, with MiniLM embeddings that are made once and kept in the scratch folder."""

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy, build_taxonomy, taxonomy_from_batches
from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.scratch import scratch_folder

TEXT = {"instacart": ["title"], "esci": ["title", "brand", "description"], "amazon_industrial": ["title"], "completejourney": ["title"]}
"""Columns of each catalog that are embedded; Instacart has no other text, and amazon_industrial no taxonomy."""


def catalog_file(name: str = "instacart") -> Path:
    """Where a catalog lies; ends the script when SHELFCODE_DATA does not say."""
    folder = os.environ.get("SHELFCODE_DATA")
    if not folder:
        sys.exit(f"SHELFCODE_DATA names no folder of real catalogs: set it to the folder that holds {name}/catalog.parquet")
    return Path(folder) / name / "catalog.parquet"


def load_catalog(name: str = "instacart") -> tuple[NDArray[np.float32], Taxonomy]:
    """Embeddings, float32[N, 384], and the taxonomy as the source has it, in the catalog's order."""
    table = pq.read_table(catalog_file(name))
    kept = scratch_folder() / f"benchmark-{name}.npy"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        texts = raw_texts(table, TextViewSettings(columns=TEXT[name]))
        settings = EncoderSettings(backend="torch", cpus_per_actor=os.cpu_count() or 1)  # int8 has a benchmark of its own: int8_speed.py
        distinct, place_N = np.unique(texts, return_inverse=True)
        np.save(kept, Encoder(settings).embed(distinct.tolist())[place_N])
    if "category_path" not in table.column_names:
        return np.load(kept), build_taxonomy(np.full(len(table), NO_LEAF), [])
    return np.load(kept), taxonomy_from_batches([table["category_path"].combine_chunks()])
