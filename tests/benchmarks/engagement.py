"""Does a flavor that is trained by earlier baskets foresee later ones? The same recipe with and without them, side by side.

SHELFCODE_DATA=... python tests/benchmarks/engagement.py [--catalog instacart|completejourney] [--flavor discovery] [--quick] [--seeds 2]
    [--cold 0.3] [--set key.sub=value] [--threads 1]

completejourney is split in time: weeks 1 to 30 are earlier, the others later, and some baskets of each are drawn. Instacart's baskets bear
no time: those with the first 60% of the order numbers stand for earlier ones, which tests other baskets and not a later season. A random
part of the products is *cold*: their rows are removed from the earlier baskets, so that nothing is known of them but their content.

Lift is of the pairs of later baskets: of all, of those with a cold product, and of those of two cold ones. Attributes are the rules', and
products those that are in baskets, as in flavor_behaviour.py. --quick takes the codes that training aims at.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import typer
from catalogs import catalog_file
from fitted import encode
from flavor_behaviour import BASKETS_DRAWN, COLUMNS, FLAVORS, Shop, embeddings, instacart, prefixes, seeded, sold
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_batches
from shelfcode.evaluation.behaviour.behavioural_alignment import lift_ratio
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs, relation_pairs
from shelfcode.evaluation.quality.pairs import draw_pairs
from shelfcode.evaluation.quality.similarity_depth import similarity_depth
from shelfcode.flavor import Recipe
from shelfcode.interactions.relations import RelationRows, Relations
from shelfcode.keys import index_keys, item_keys
from shelfcode.optimisation import Worker
from shelfcode.quantization.fitting import fit, start
from shelfcode.quantization.target_search.engagement import Engagement, engagement
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.recipe_file import load_recipe
from shelfcode.reporting.tables import ratio_with_interval
from shelfcode.scratch import scratch_folder

EARLIER_SHARE = 0.6
LAST_EARLIER_WEEK = 30
DEPTHS = (1, 2, 3)


@dataclass(frozen=True)
class Split:
    """A shop whose baskets are split in two.

    Attributes:
        earlier_R, later_R: whether a row of the shop's baskets belongs to either part.
    """

    shop: Shop
    earlier_R: NDArray[np.bool_]
    later_R: NDArray[np.bool_]


def instacart_split() -> Split:
    """By order number."""
    shop = sold(instacart())
    order_R = shop.facts["baskets"]["order_id"].cast(pa.int64()).to_numpy()
    earlier_R = order_R <= np.quantile(np.unique(order_R), EARLIER_SHARE)
    return Split(shop, earlier_R, ~earlier_R)


def completejourney_split() -> Split:
    """By week; of both parts as many baskets as flavor_behaviour.py draws."""
    file = catalog_file("completejourney")
    products = pq.read_table(file, columns=[name for name in COLUMNS if name != "description"])
    products = products.append_column("description", pa.nulls(len(products), pa.string())).select(list(COLUMNS))
    baskets = pq.read_table(file.with_name("baskets.parquet"), columns=["basket_id", "week", "item_ids"])
    week_B, rng = baskets["week"].to_numpy(), np.random.default_rng(0)
    parts = [np.flatnonzero(week_B <= LAST_EARLIER_WEEK), np.flatnonzero(week_B > LAST_EARLIER_WEEK)]
    drawn = np.concatenate([np.sort(rng.choice(part, BASKETS_DRAWN, replace=False)) for part in parts])
    taken = baskets.take(pa.array(drawn)).combine_chunks()
    items = taken["item_ids"].combine_chunks()
    parent = pc.list_parent_indices(items)
    facts = pa.table({"order_id": taken["basket_id"].combine_chunks().take(parent), "item_id": items.flatten()})
    earlier_R = parent.to_numpy() < BASKETS_DRAWN
    return Split(sold(Shop(products, {"baskets": facts})), earlier_R, ~earlier_R)


SPLITS: dict[str, Callable[[], Split]] = {"instacart": instacart_split, "completejourney": completejourney_split}


def main(
    catalog: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SPLITS)}; may be given again. All when left out.")] = None,
    flavor: Annotated[str, typer.Option(help="Name of a flavor.")] = "discovery",
    quick: Annotated[bool, typer.Option("--quick", help="Codes that training aims at.")] = False,
    seeds: Annotated[int, typer.Option(help="Trainings with and without engagement.")] = 2,
    cold: Annotated[float, typer.Option(help="Share of the products whose earlier baskets are held out.")] = 0.3,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value of the recipe.")] = None,
    threads: Annotated[int, typer.Option(help="Of the encoder and of training.")] = 1,
) -> None:
    """Print a table a catalog."""
    settings = [f"encoder.cpus_per_actor={threads}", f"training.cpus_per_worker={threads}", *(set_ or [])]
    recipe = load_recipe(flavor, FLAVORS, settings)
    torch.set_num_threads(threads)
    for name in catalog or list(SPLITS):
        show(name, SPLITS[name](), recipe, quick, seeds, cold)


def show(name: str, split: Split, recipe: Recipe, quick: bool, seeds: int, cold: float) -> None:
    """Every seed with and without engagement."""
    console, products = Console(width=190), split.shop.products
    folder = scratch_folder() / "flavor-behaviour" / f"{name}-quick"
    folder.mkdir(parents=True, exist_ok=True)
    x_NE = embeddings(products, recipe, folder)
    taxonomy = taxonomy_from_batches([products["category_path"].combine_chunks()]).without_leaves(recipe.catalog.no_leaf_names)
    cold_N = np.random.default_rng(5).random(len(products)) < cold
    engaged, later = earlier_engagement(split, cold_N), later_pairs(split)
    ends_P = cold_N[later.left_P].astype(int) + cold_N[later.right_P]
    parts = {"all": later, "a cold one": _some(later, ends_P > 0), "two cold ones": _some(later, ends_P == 2)}
    title = f"{name}, {recipe.name}{' (targets)' if quick else ''}: {len(products):,} products, {cold_N.sum():,} cold; engagement of "
    title += f"{engaged.group_R.max() + 1:,} baskets; {len(later.left_P):,} later pairs"
    table = Table("seed", "later pairs", *(f"L{depth}: without, with, ratio" for depth in DEPTHS), "Spearman", "L1 - L3 at .9", title=title)
    for seed in range(seeds):
        codes = [codes_of(seeded(recipe, seed), x_NE, taxonomy, each, quick) for each in (None, engaged)]
        depths = [similarity(x_NE, each) for each in codes]
        for place, (part, pairs) in enumerate(parts.items()):
            shown = [f"{one} -> {other}" for one, other in zip(*depths, strict=True)] if not place else ["", ""]
            table.add_row(str(seed), part, *(lift_cell(codes, pairs, depth) for depth in DEPTHS), *shown)
    console.print(table)


def earlier_engagement(split: Split, cold_N: NDArray[np.bool_]) -> Engagement:
    """Of the earlier baskets, without their cold products."""
    order_R, place_R = _rows(split, split.earlier_R)
    return engagement([(order_R, np.where(cold_N[place_R], -1, place_R))])


def later_pairs(split: Split) -> RelationPairs:
    """Pairs of later baskets, as the evaluation draws them."""
    facts = split.shop.facts["baskets"].filter(pa.array(split.later_R))
    keys_R, labels_R = item_keys(facts["item_id"]), np.zeros(len(facts), np.int8)
    rows = RelationRows("baskets", "baskets", item_keys(facts["order_id"]), keys_R, labels_R)
    (pairs,) = relation_pairs(Relations("", (rows,), (), 0), item_keys(split.shop.products["item_id"]))
    return pairs


def _rows(split: Split, kept_R: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the basket and position of the product."""
    facts = split.shop.facts["baskets"].filter(pa.array(kept_R))
    order_R = np.unique(item_keys(facts["order_id"]), return_inverse=True)[1].astype(np.int64)
    return order_R, index_keys(item_keys(split.shop.products["item_id"])).get(item_keys(facts["item_id"]))


def codes_of(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, engaged: Engagement | None, quick: bool) -> NDArray[np.int64]:
    """Codes of all products: those that training aims at, or those of the trained model."""
    targets = find_targets(recipe, x_NE, taxonomy, torch.device("cpu"), engaged=engaged)
    if quick:
        return targets.codes_ML.astype(np.int64)
    state = start(recipe, targets, Worker())
    for _ in fit(recipe, x_NE, taxonomy, targets, state, Worker()):
        continue
    return encode(state, x_NE)


def similarity(x_NE: NDArray[np.float32], codes_NL: NDArray[np.int64]) -> tuple[str, str]:
    """Spearman, and the shares of near-twins that agree."""
    rng = np.random.default_rng(0)
    found = similarity_depth(draw_pairs(x_NE, rng), codes_NL, rng)
    return f"{found.spearman:.4f}", " ".join(f"{share:.3f}" for share in (found.similar.share_at_level or ())[: len(DEPTHS)])


def lift_cell(codes: list[NDArray[np.int64]], pairs: RelationPairs, depth: int) -> str:
    """Both lifts, and the ratio with its interval."""
    without_N1, with_N1 = (prefixes(each, depth) for each in codes)
    (ratio,) = lift_ratio(with_N1, without_N1, pairs).depths
    return f"{ratio.lift_b:.3f}, {ratio.lift_a:.3f}, {ratio_with_interval(ratio.ratio, ratio.ratio_low, ratio.ratio_high)}"


def _some(pairs: RelationPairs, kept_P: NDArray[np.bool_]) -> RelationPairs:
    group_P = np.unique(pairs.group_P[kept_P], return_inverse=True)[1].astype(np.int64)
    return replace(pairs, left_P=pairs.left_P[kept_P], right_P=pairs.right_P[kept_P], group_P=group_P)


if __name__ == "__main__":
    typer.run(main)
