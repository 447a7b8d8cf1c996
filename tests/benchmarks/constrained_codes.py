"""What a constraint costs: the default recipe with and without one, on a real catalog.

SHELFCODE_DATA=... python tests/benchmarks/constrained_codes.py [--catalog instacart] [--constraint vegan|organic|price_band] [--quick]
    [--set key.sub=value]

vegan: by the rules' attributes; organic: whether the title says so; price_band: of a catalog with prices, esci. Every figure is that of
`evaluation.json`; the purity of the first level is the share of products in the largest group of their codeword. The last column is that
of 5% of the products that were held out and were coded by their embeddings alone, as a product that comes without the column is: with it,
the purity is 1 by construction. --quick takes the codes that training aims at, and holds out nothing.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import typer
from catalogs import catalog_file, load_catalog
from fitted import encode, split_off, train
from numpy.typing import NDArray
from quantizer_quality import similarity_cells
from rich.console import Console
from rich.table import Table

from shelfcode.attributes.rules.extractor import extract
from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.evaluation.quality.taxonomy_alignment import label_purity
from shelfcode.flavor import Recipe
from shelfcode.quantization.constraint import Grouped, group_numbers, learn_constraint
from shelfcode.quantization.encoding import encode_rows
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.recipe_file import load_recipe

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"
HELD_OUT = 0.05


def main(
    catalog: Annotated[str, typer.Option(help="instacart, esci or completejourney.")] = "instacart",
    constraint: Annotated[str, typer.Option(help="vegan, organic or price_band.")] = "vegan",
    quick: Annotated[bool, typer.Option(help="The targets alone.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for both recipes.")] = None,
) -> None:
    """Print the table."""
    x_NE, taxonomy = load_catalog(catalog)
    grouped = groups_of(catalog, constraint)
    recipe = load_recipe("precision", FLAVORS, set_ or [])
    under = load_recipe("precision", FLAVORS, [*(set_ or []), f"quantizer.constraint={constraint}"])
    train_M, held_P = split_off(len(x_NE), HELD_OUT, seed=0)
    sizes = np.bincount(grouped.of_N, minlength=grouped.groups).tolist()
    table = Table(
        "recipe", "Spearman", "L1 L2 L3 L4 at >= 0.9", "distinct", "L1 largest / even", "AMI L1", "purity L1-L2", "constraint purity of L1",
        "held out, by embedding", title=f"{catalog}, {constraint}: groups of {', '.join(f'{size:,}' for size in sizes)} products",
    )  # fmt: skip
    for name, each, groups in (("without", recipe, None), (constraint, under, grouped)):
        if quick:
            codes_NL, free = find_targets(each, x_NE, taxonomy, torch.device("cpu"), grouped=groups).codes_ML.astype(np.int64), "-"
        else:
            codes_NL, free = trained(each, x_NE, taxonomy, groups, grouped, train_M, held_P)
        figures = evaluate(x_NE, codes_NL, each.quantizer.codebook_sizes, taxonomy)
        alignment = figures.taxonomy_alignment
        table.add_row(
            name, *similarity_cells(figures.similarity_depth), f"{figures.collisions.distinct_share:.3f}",
            f"{figures.codebook_health.levels[0].largest_over_even:.2f}",
            f"{alignment.at(1, 1).ami:.3f}" if alignment else "-", f"{alignment.at(2, 'leaf').purity:.3f}" if alignment else "-",
            f"{label_purity(codes_NL[:, 0], grouped.of_N):.4f}", free,
        )  # fmt: skip
        Console(width=200).print(table)


def trained(
    recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, groups: Grouped | None, grouped: Grouped,
    train_M: NDArray[np.int64], held_P: NDArray[np.int64],
) -> tuple[NDArray[np.int64], str]:  # fmt: skip
    """Codes of all products from training on 95% of them, and the purity of the others by their embeddings alone.

    Args:
        groups: what the recipe keeps apart, if anything.
        grouped: what purity is measured by.
    """
    fitted = train(recipe, np.ascontiguousarray(x_NE[train_M]), taxonomy.of(train_M), grouped=groups.of(train_M) if groups else None)
    codes_NL = encode_rows(fitted.state.model.eval(), x_NE, groups.of_N if groups else None)
    free_P = encode(fitted.state, x_NE[held_P])[:, 0]
    of_codeword = np.array([np.bincount(grouped.of_N[train_M][codes_NL[train_M, 0] == code], minlength=grouped.groups).argmax()
                            for code in range(recipe.quantizer.codebook_sizes[0])])  # fmt: skip
    return codes_NL, f"{(of_codeword[free_P] == grouped.of_N[held_P]).mean():.4f}"


def groups_of(catalog: str, name: str) -> Grouped:
    """The products of a catalog in the groups of a constraint."""
    products = pq.read_table(catalog_file(catalog))
    if name == "vegan":
        rows = products.to_pylist()
        tags = [extract(row["title"], row.get("description"), row.get("brand")).dietary_tags for row in rows]
        cells, value = pa.chunked_array([pa.array(tags, pa.list_(pa.string()))]), "vegan"
    elif name == "organic":
        says = pc.match_substring_regex(products["title"], r"(?i)\borganic\b")
        cells, value = says, None
    else:
        cells, value = products["price"], None
    constraint = learn_constraint(name, value, cells)
    return Grouped(group_numbers(constraint, cells), len(constraint.groups))


if __name__ == "__main__":
    typer.run(main)
