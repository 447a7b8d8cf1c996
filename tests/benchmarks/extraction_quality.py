"""Attributes by the small extractor in a real vLLM engine, beside the rules extractor's.

python tests/benchmarks/extraction_quality.py [--products 500]                   F1 against the planted truth of unseen sample products
SHELFCODE_DATA=... python tests/benchmarks/extraction_quality.py --catalog esci  twenty extractions of a real catalog, to be read
"""

import logging
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import typer
from catalogs import catalog_file
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shelfcode.attributes.distil.field_scores import field_scores, macro_f1
from shelfcode.attributes.pipeline import count_rows, extract_attributes
from shelfcode.attributes.rules.extractor import by_rules
from shelfcode.attributes.schema import attributes_of
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.flavor import Recipe
from shelfcode.job.cluster import start_ray
from shelfcode.recipe_file import load_recipe
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace

FLAVORS = Path(__file__).parents[2] / "jobs" / "flavors"
SEED = 20_000  # of no catalog that the small extractor was taught
SETTINGS = ("extractor.engine=vllm", "extractor.model=package:shelfcode.attributes.small_extractor", "extractor.max_input_tokens=256")
COLUMNS = ("item_id", "title", "description", "brand")


def own_ray() -> None:
    """A Ray of this script's own, whatever else runs on the machine."""
    ray.init(address="local", num_cpus=max(4, os.cpu_count() or 1), logging_level=logging.WARNING)
    start_ray()


def extracted(products: pa.Table, settings: ExtractorSettings, folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Rows of the attributes table by item_id, and the account of how they came about."""
    pq.write_table(products.select([name for name in COLUMNS if name in products.column_names]), folder / "catalog.parquet")
    workspace = Workspace(str(folder / "workspace"))
    snapshot = take_snapshot(str(folder / "catalog.parquet"), CatalogSettings(), workspace, "read", lambda _: None)
    found = extract_attributes(snapshot, settings, workspace, count_rows(lambda _: None))
    rows = (row for part in found.parts for row in workspace.read_table(part).to_pylist())
    return {row["item_id"]: row for row in rows}, found.account()


def show_scores(recipe: Recipe, products: int, folder: Path, console: Console) -> None:
    """F1 by field of the two extractors."""
    chunk, extra = sample_chunk(0, products, SEED), recipe.extractor.attributes
    rows, account = extracted(chunk.products, recipe.extractor, folder)
    truth = chunk.facts["attributes"].to_pylist()
    known = [attributes_of(row, extra) for row in truth]
    sides = {
        "small extractor, vLLM": field_scores([attributes_of(rows[row["item_id"]], extra) for row in truth], known),
        "rules": field_scores([by_rules(product, extra) for product in chunk.products.to_pylist()], known),
    }
    fields = list(sides["rules"])
    table = Table("extractor", "macro F1 of four", *fields, title=f"F1 on {products} unseen sample products")
    for name, scores in sides.items():
        cells = (f"{scores[field].f1:.3f} ({scores[field].precision:.2f} / {scores[field].recall:.2f})" for field in fields)
        table.add_row(name, f"{macro_f1(scores):.4f}", *cells)
    console.print(table)
    console.print("F1 (precision / recall)", *account, sep="\n")


def show_extractions(recipe: Recipe, name: str, count: int, folder: Path, console: Console) -> None:
    """Some products of a real catalog beside what the two extractors say of them."""
    products = pq.read_table(catalog_file(name))
    products = products.take(list(range(0, len(products), len(products) // count))[:count])
    rows, account = extracted(products, recipe.extractor, folder)
    for product in ({"description": None, "brand": None, **row} for row in products.to_pylist()):
        console.rule(escape(f"{product['title']} | {product['brand'] or ''}"[:130]))
        if product["description"]:
            console.print(escape(product["description"][:300]), style="dim")
        row = rows[product["item_id"]]
        told = {field: row[field] for field in ("product_type", "key_ingredients", "dietary_tags", "format", "occasion", "unsupported")}
        console.print("small:", told, "(cut)" if row["truncated"] else "", row["failure"] or "")
        console.print("rules:", by_rules(product, {}).columns())
    console.print(*account, sep="\n")


def main(
    catalog: Annotated[Literal["sample", "esci", "instacart", "amazon_industrial"], typer.Option(help="Which products.")] = "sample",
    products: Annotated[int, typer.Option(help="Of the sample catalog.")] = 500,
    count: Annotated[int, typer.Option(help="Extractions of a real catalog to show.")] = 20,
) -> None:
    """Extract in a fresh workspace and print what came out."""
    own_ray()
    recipe, console = load_recipe("discovery", FLAVORS, SETTINGS), Console(width=180)
    with tempfile.TemporaryDirectory() as folder:
        if catalog == "sample":
            show_scores(recipe, products, Path(folder), console)
        else:
            show_extractions(recipe, catalog, count, Path(folder), console)


if __name__ == "__main__":
    typer.run(main)
