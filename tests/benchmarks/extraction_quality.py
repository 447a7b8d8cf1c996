"""Attributes by a model in a real vLLM engine, beside the rules extractor's.

python tests/benchmarks/extraction_quality.py [--products 500]        F1 against the planted truth of unseen sample products
SHELFCODE_DATA=... python ... --catalog esci  (instacart)             product types of 200 real products against their category paths
SHELFCODE_DATA=... python ... --catalog amazon_industrial --count 20  extractions to be read; the other catalogs show theirs, too

--model takes any that extractor.model takes. The rule by which a type is right: shelfcode/attributes/distil/type_scores.py.
"""

import logging
import os
import tempfile
from collections import Counter
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
from teachers import judged_products

from shelfcode.attributes.distil.field_scores import field_scores, macro_f1
from shelfcode.attributes.distil.type_scores import TypeAnswers, path_names_type, right_types
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
SMALL = "package:shelfcode.attributes.small_extractor"
SETTINGS = ("extractor.engine=vllm", "extractor.max_input_tokens=256", "extractor.quotes=false")
COLUMNS = ("item_id", "title", "description", "brand")
FILED = ("esci", "instacart")

Row = dict[str, Any]


def own_ray() -> None:
    """A Ray of this script's own, whatever else runs on the machine."""
    ray.init(address="local", num_cpus=max(4, os.cpu_count() or 1), logging_level=logging.WARNING)
    start_ray()


def extracted(products: pa.Table, settings: ExtractorSettings, folder: Path) -> tuple[dict[str, Row], list[str]]:
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
        "model, vLLM": field_scores([attributes_of(rows[row["item_id"]], extra) for row in truth], known),
        "rules": field_scores([by_rules(product, extra) for product in chunk.products.to_pylist()], known),
    }
    fields = list(sides["rules"])
    table = Table("extractor", "macro F1 of four", *fields, title=f"F1 on {products} unseen sample products")
    for name, scores in sides.items():
        cells = (f"{scores[field].f1:.3f} ({scores[field].precision:.2f} / {scores[field].recall:.2f})" for field in fields)
        table.add_row(name, f"{macro_f1(scores):.4f}", *cells)
    console.print(table)
    console.print("F1 (precision / recall)", *account, sep="\n")


def show_types(recipe: Recipe, name: str, count: int, folder: Path, console: Console) -> None:
    """The share of product types that a real catalog's own paths call right, some of them to be read, and what chance and copying get."""
    judged, others = judged_products(name)
    others = [row for row in others if row["category_path"]]
    answers = TypeAnswers([row["title"] for row in others], [row["category_path"] for row in others])
    paths = [row["category_path"] for row in judged]
    rows, account = extracted(pa.Table.from_pylist(judged), recipe.extractor, folder)
    leaf = Counter(row["category_path"][-1] for row in others).most_common(1)[0][0]
    sides = {
        "model, vLLM": [rows[row["item_id"]]["product_type"] for row in judged],
        "rules": [by_rules(row, {}).product_type for row in judged],
        "last word of the title": [row["title"].split()[-1] for row in judged],
        "first word of the title": [row["title"].split()[0] for row in judged],
        f"always {leaf!r}": [leaf] * len(judged),
    }
    table = Table("product type", "right", "named by the path", title=f"{len(judged)} products of {name}, drawn by item_id")
    for side, types in sides.items():
        named = sum(path_names_type(*pair) for pair in zip(types, paths, strict=True)) / len(paths)
        table.add_row(side, f"{right_types(answers, types, paths):.3f}", f"{named:.3f}")
    console.print(table, *account, sep="\n")
    for product, found in list(zip(judged, sides["model, vLLM"], strict=True))[:count]:
        mark = "right" if answers.right(found, product["category_path"]) else "wrong"
        console.print(escape(f"{mark}  {found}  |  {product['title'][:90]}  |  {' > '.join(product['category_path'][-2:])}"))
    kept = sum(len(row["unsupported"]) for row in rows.values())
    console.print(
        f"ingredients and tags that were dropped: {kept}; answers left to the rules: {sum(bool(row['failure']) for row in rows.values())}"
    )


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
        console.print("model:", told, "(cut)" if row["truncated"] else "", row["failure"] or "")
        console.print("rules:", by_rules(product, {}).columns())
    console.print(*account, sep="\n")


def main(
    catalog: Annotated[Literal["sample", "esci", "instacart", "amazon_industrial"], typer.Option(help="Which products.")] = "sample",
    products: Annotated[int, typer.Option(help="Of the sample catalog.")] = 500,
    count: Annotated[int, typer.Option(help="Products of a real catalog to show.")] = 20,
    model: Annotated[str, typer.Option(help="As extractor.model.")] = SMALL,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any recipe field.")] = None,
) -> None:
    """Extract in a fresh workspace and print what came out."""
    own_ray()
    recipe = load_recipe("discovery", FLAVORS, (*SETTINGS, f"extractor.model={model}", *(set_ or [])))
    console = Console(width=180)
    with tempfile.TemporaryDirectory() as folder:
        if catalog == "sample":
            show_scores(recipe, products, Path(folder), console)
        elif catalog in FILED:
            show_types(recipe, catalog, count, Path(folder), console)
        else:
            show_extractions(recipe, catalog, count, Path(folder), console)


if __name__ == "__main__":
    typer.run(main)
