"""The encoder in int8 beside float32 on a CPU, in one run: speed, likeness of the vectors, and what becomes of the codes.

SHELFCODE_DATA=... python tests/benchmarks/int8_speed.py [--products 10000] [--rounds 5] [--threads 2] [--set key.sub=value]

The encoder is that of the precision recipe without a GPU; both take turns, round after round, so that whatever else the machine
does falls on both. The last table is of codes trained on the one and on the other kind of vectors, on a sample of Instacart
(--products 0: all of it). Nothing here passes or fails.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer
from catalogs import TEXT, catalog_file
from fitted import encode, train
from numpy.typing import NDArray
from quantizer_quality import COLUMNS, add_row
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_batches
from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.flavor import Recipe
from shelfcode.recipe_file import load_recipe

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"
WORKLOADS = {"ESCI, full texts": ("esci", 512), "Instacart, titles": ("instacart", 4096)}
"""Catalog and rows of each row of the table of speed."""


def main(
    products: Annotated[int, typer.Option(help="Of Instacart, for the table of codes; 0: all.")] = 10_000,
    rounds: Annotated[int, typer.Option(help="Turns that each backend takes.")] = 5,
    threads: Annotated[int, typer.Option(help="Of each backend; 0: as many as there are cores.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for the recipe.")] = None,
) -> None:
    """Print the tables."""
    threads = threads or os.cpu_count() or 1
    recipe = load_recipe("precision", FLAVORS, ["hardware=cpu", f"encoder.cpus_per_actor={threads}", *(set_ or [])])
    console = Console(width=200)
    encoders = load_encoders(recipe, console)
    table = Table("texts", "rows", "float32, rows/s", "int8, rows/s", "ratio", "mean cosine", "lowest", title=f"{threads} threads")
    for name, (catalog, rows) in WORKLOADS.items():
        texts, _ = sample(catalog, rows)
        rates, x_ND = take_turns(encoders, texts, rounds)
        cosine_N = (x_ND["torch"] * x_ND["int8"]).sum(axis=1)
        table.add_row(
            name, f"{len(texts):,}", f"{rates['torch']:.1f}", f"{rates['int8']:.1f}", f"{rates['int8'] / rates['torch']:.2f} x",
            f"{cosine_N.mean():.4f}", f"{cosine_N.min():.4f}",
        )  # fmt: skip
    console.print(table)
    console.print(codes_table(recipe, encoders, products))


def load_encoders(recipe: Recipe, console: Console) -> dict[str, Encoder]:
    """An encoder of each backend; the int8 one is built anew first, and the seconds of each are printed."""
    encoders = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["SHELFCODE_SCRATCH"] = scratch
        for label, backend in (("float32", "torch"), ("int8, the first time on a node", "int8"), ("int8, from then on", "int8")):
            settings = recipe.encoder.model_copy(update={"backend": backend})
            started = time.perf_counter()
            encoders[backend] = Encoder(settings)
            console.print(f"{label}: loaded in {time.perf_counter() - started:.1f} s")
    return encoders


def sample(catalog: str, rows: int) -> tuple[list[str], Taxonomy]:
    """Texts of products drawn at random, in the catalog's order, and where they are filed; all of them where `rows` is 0."""
    table = pq.read_table(catalog_file(catalog))
    if 0 < rows < len(table):
        table = table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:rows]))
    texts = raw_texts(table, TextViewSettings(columns=TEXT[catalog]))
    return texts, taxonomy_from_batches([table["category_path"].combine_chunks()])


def take_turns(encoders: dict[str, Encoder], texts: list[str], rounds: int) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
    """Median rows a second of each encoder, and its vectors; a first turn warms up."""
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    x_ND: dict[str, NDArray[np.float32]] = {}
    for turn in range(rounds + 1):
        for name, encoder in encoders.items():
            started = time.perf_counter()
            x_ND[name] = encoder.embed(texts)
            if turn:
                rates[name].append(len(texts) / (time.perf_counter() - started))
    return {name: median(found) for name, found in rates.items()}, x_ND


def codes_table(recipe: Recipe, encoders: dict[str, Encoder], products: int) -> Table:
    """Codes trained on either kind of vectors, each judged by its own and those of int8 by float32, too."""
    texts, taxonomy = sample("instacart", products)
    x_NE = {name: encoder.embed(texts) for name, encoder in encoders.items()}
    codes_NL = {name: encode(train(recipe, vectors_NE, taxonomy).state, vectors_NE) for name, vectors_NE in x_NE.items()}
    table = Table(*COLUMNS, title=f"Instacart, {len(texts):,} products, {recipe.training.steps_for(len(texts)):,} steps")
    for label, judge, coded in (
        ("float32", "torch", "torch"),
        ("int8", "int8", "int8"),
        ("int8, similarity by float32", "torch", "int8"),
    ):
        add_row(table, label, evaluate(x_NE[judge], codes_NL[coded], recipe.quantizer.codebook_sizes, taxonomy))
    return table


if __name__ == "__main__":
    typer.run(main)
