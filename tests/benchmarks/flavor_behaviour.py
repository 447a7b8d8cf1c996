"""Do the two flavors differ where people do? Precision and discovery on real catalogs, held against real baskets and viewed pairs.

SHELFCODE_DATA=... python tests/benchmarks/flavor_behaviour.py [--catalog instacart|completejourney|product_pairs] [--set key.sub=value]
    [--seeds 3] [--variant "name: key=value key=value"] [--baskets all|first|second] [--quick] [--threads 1] [--write FOLDER]

The seed of training moves the lift of the first codeword by more than the draw of baskets does: every recipe is trained with several
seeds, and a ratio stands with the lowest and the highest end of the 95% intervals of all seeds. Only where that range leaves out 1
are two flavors told apart.

Attributes are the rules', so that no language model is needed; each --variant adds a row: the discovery flavor with some fields of
its recipe changed. The rows in brackets are yardsticks, groupings that nobody had to learn: the top category and the leaf of a product,
and leaves in as many groups as there are first codewords, put together by the first half of the baskets. The last says how far one
codeword a product could go, so read it with `--baskets second`. --write stores a catalog and its pairs as jobs/train_flavor.py and
jobs/evaluate_flavor.py read them, for any other extractor, and trains nothing. --quick takes the codes that training aims at, of the
products that are in baskets. Embeddings are made once and kept in the scratch folder.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import typer
from catalogs import catalog_file
from fitted import encode, train
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.attributes.rules.extractor import by_rules
from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy, taxonomy_from_batches
from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.text_view import attribute_texts, raw_texts
from shelfcode.evaluation.behaviour.behavioural_alignment import lift_ratio, relation_lifts
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs, relation_pairs
from shelfcode.flavor import Recipe
from shelfcode.interactions.relations import SAME_BASKET, read_relations
from shelfcode.keys import item_keys
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.recipe_file import load_recipe
from shelfcode.reporting.tables import rare_share_text, ratio_text, ratio_with_interval
from shelfcode.scratch import scratch_folder

FLAVORS = Path(__file__).parents[2] / "jobs" / "flavors"
COLUMNS = ("item_id", "title", "description", "brand", "category_path")
Codes = dict[str, list[NDArray[np.int64]]]
"""int64[N, L] of each seed, by the name of a recipe or of a yardstick."""

CodesOf = Callable[[Recipe, NDArray[np.float32], Taxonomy], NDArray[np.int64]]

GROUPS = 24
"""As many as the flavors have first codewords."""

BASKETS_DRAWN = 8_000
"""Out of the 125,011 of completejourney: about as many as Instacart's."""

LEAST_PAIRS = 100
"""Fewer pairs of a relation say nothing of it."""


@dataclass(frozen=True)
class Shop:
    """A real catalog, and what people did with its products.

    Attributes:
        products: with the columns COLUMNS.
        facts: a table of a relation by its name, as shelfcode.interactions.relations reads them.
    """

    products: pa.Table
    facts: dict[str, pa.Table]


def instacart() -> Shop:
    """Grocery titles and 8,134 baskets."""
    file = catalog_file("instacart")
    return Shop(pq.read_table(file, columns=list(COLUMNS)), {"baskets": pq.read_table(file.with_name("baskets.parquet"))})


def completejourney() -> Shop:
    """Kinds of goods with a brand's number, and some of the baskets of 2,469 households."""
    file = catalog_file("completejourney")
    products = pq.read_table(file, columns=[name for name in COLUMNS if name != "description"])
    products = products.append_column("description", pa.nulls(len(products), pa.string())).select(list(COLUMNS))
    baskets = pq.read_table(file.with_name("baskets.parquet"), columns=["basket_id", "item_ids"])
    drawn = np.sort(np.random.default_rng(0).choice(len(baskets), BASKETS_DRAWN, replace=False))
    items = baskets["item_ids"].take(pa.array(drawn)).combine_chunks()
    order_id = baskets["basket_id"].take(pa.array(drawn)).combine_chunks().take(pc.list_parent_indices(items))
    return Shop(products, {"baskets": pa.table({"order_id": order_id, "item_id": items.flatten()})})


def product_pairs() -> Shop:
    """Amazon titles that were viewed or bought together, among the products of ESCI: these have category paths, the titles have none."""
    known = pq.read_table(catalog_file("esci"), columns=list(COLUMNS))
    pairs = pq.read_table(catalog_file("product_pairs").with_name("relations.parquet"))
    titles = pc.unique(pa.chunked_array([*pairs["title_a"].chunks, *pairs["title_b"].chunks]))
    nulls = {name: pa.nulls(len(titles), known.schema.field(name).type) for name in ("description", "brand", "category_path")}
    products = pa.table({"item_id": _hashes(titles), "title": titles, **nulls}).select(list(COLUMNS))
    ends = {"item_id": _hashes(pairs["title_a"]), "other_item_id": _hashes(pairs["title_b"]), "relation": pairs["relation"]}
    return Shop(pa.concat_tables([known, products.cast(known.schema)]), {"pairs": pa.table(ends)})


def _hashes(titles: pa.ChunkedArray | pa.Array) -> pa.Array:
    return pa.array([hashlib.sha256(title.encode()).hexdigest()[:16] for title in titles.to_pylist()])


SHOPS: dict[str, Callable[[], Shop]] = {"instacart": instacart, "completejourney": completejourney, "product_pairs": product_pairs}
Half = Literal["all", "first", "second"]


def main(
    catalog: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SHOPS)}; may be given again. All when left out.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for both flavors.")] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of every recipe.")] = 3,
    variant: Annotated[list[str] | None, typer.Option(help="'name: key=value key=value': discovery with another recipe.")] = None,
    baskets: Annotated[Half, typer.Option(help="Which half of the baskets is counted, by the hash of their ids.")] = "all",
    quick: Annotated[bool, typer.Option("--quick", help="Codes that training aims at, of the products that are in baskets.")] = False,
    threads: Annotated[int, typer.Option(help="Of the encoder and of training.")] = 2,
    write: Annotated[Path | None, typer.Option(help="Store catalogs and pairs here for the jobs, and stop.")] = None,
) -> None:
    """Print a table a catalog."""
    settings = [f"encoder.cpus_per_actor={threads}", f"training.cpus_per_worker={threads}", *(set_ or [])]
    flavors = {name: load_recipe(name, FLAVORS, settings) for name in ("precision", "discovery")}
    for text in variant or []:
        name, _, fields = text.partition(":")
        flavors[name.strip()] = load_recipe("discovery", FLAVORS, [*settings, *fields.split()])
    for name in catalog or list(SHOPS):
        shop = sold(SHOPS[name]()) if quick else SHOPS[name]()
        folder = (write or scratch_folder() / "flavor-behaviour") / (f"{name}-quick" if quick else name)
        store(shop, folder)
        if not write:
            show(shop, folder, flavors, seeds, baskets, target_codes if quick else trained_codes)


def sold(shop: Shop) -> Shop:
    """A shop without the products that are in no basket; one that has no baskets stays whole."""
    if "baskets" not in shop.facts:
        return shop
    return replace(
        shop, products=shop.products.filter(pc.is_in(shop.products["item_id"], shop.facts["baskets"]["item_id"].combine_chunks()))
    )


def store(shop: Shop, folder: Path) -> None:
    """`folder`/catalog.parquet and `folder`/facts/: what the jobs' flags --catalog and --pairs take."""
    (folder / "facts").mkdir(parents=True, exist_ok=True)
    pq.write_table(shop.products, folder / "catalog.parquet")
    for name, table in shop.facts.items():
        pq.write_table(table, folder / "facts" / f"{name}.parquet")


def show(shop: Shop, folder: Path, flavors: dict[str, Recipe], seeds: int, half: Half, codes_of: CodesOf) -> None:
    """Codes by every recipe and seed, and what the pairs say of them beside precision's of the same seed."""
    console, taxonomy = Console(width=170), taxonomy_from_batches([shop.products["category_path"].combine_chunks()])
    relations = relation_pairs(read_relations(str(folder / "facts")), item_keys(shop.products["item_id"]))
    codes: Codes = {}
    for flavor, recipe in flavors.items():
        started = time.perf_counter()
        x_NE = embeddings(shop.products, recipe, folder)
        codes[flavor] = [codes_of(seeded(recipe, seed), x_NE, taxonomy) for seed in range(seeds)]
        console.print(f"{folder.name}: {flavor}, {seeds} seed(s) in {time.perf_counter() - started:.0f} s")
    codes |= {yardstick: [group_N1] for yardstick, group_N1 in yardsticks(taxonomy, relations)}
    title = f"{folder.name}, {len(shop.products):,} products, {seeds} seed(s), baskets: {half}"
    table = Table("relation", "level", "codes", "share", "chance", "lift, lowest to highest", "over precision [all intervals]", title=title)
    for pairs in (_half(each, half) for each in relations if len(each.left_P) >= LEAST_PAIRS):
        for depth in range(1, codes["precision"][0].shape[1] + 1):
            for row in lift_cells(pairs, codes, depth):
                table.add_row(f"{pairs.relation}, {len(pairs.left_P):,} pairs", f"L{depth}", *row)
            table.add_section()
    console.print(table)


def trained_codes(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy) -> NDArray[np.int64]:
    """What the trained model gives."""
    return encode(train(recipe, x_NE, taxonomy).state, x_NE)


def target_codes(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy) -> NDArray[np.int64]:
    """What it is trained to give."""
    torch.set_num_threads(recipe.training.cpus_per_worker)
    taxonomy = taxonomy.without_leaves(recipe.catalog.no_leaf_names)
    return find_targets(recipe, x_NE, taxonomy, torch.device("cpu")).codes_ML.astype(np.int64)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The same recipe with another seed of training."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})


def embeddings(products: pa.Table, recipe: Recipe, folder: Path) -> NDArray[np.float32]:
    """What the flavor's encoder makes of its text view, float32[N, d]; a text that several products have is embedded once, and kept."""
    titles = products["title"].to_pylist()
    if recipe.text_view.kind == "raw":
        texts = raw_texts(products, recipe.text_view)
    else:
        own = recipe.extractor.attributes
        found = pa.Table.from_pylist([by_rules(row, own).columns() for row in products.to_pylist()])
        texts = [text or title for text, title in zip(attribute_texts(found, recipe.text_view, own), titles, strict=True)]
    distinct, place_N = np.unique(np.array(texts, dtype=str), return_inverse=True)
    settings = recipe.encoder.resolved
    telling = settings.model_dump_json(include={"model", "backend", "dtype", "dimensions", "max_tokens", "prompt"})
    digest = hashlib.sha256("\x1f".join([telling, *distinct]).encode()).hexdigest()[:16]
    kept = folder / f"{digest}.npy"
    if not kept.exists():
        np.save(kept, Encoder(settings).embed(distinct.tolist()))
    x_NE: NDArray[np.float32] = np.load(kept)[place_N]
    return x_NE


def _half(pairs: RelationPairs, half: Half) -> RelationPairs:
    """Pairs of every second basket; other relations whole."""
    if half == "all" or pairs.relation != SAME_BASKET:
        return pairs
    in_half_P = pairs.group_P % 2 == (half == "second")
    group_P = np.unique(pairs.group_P[in_half_P], return_inverse=True)[1].astype(np.int64)
    return replace(pairs, left_P=pairs.left_P[in_half_P], right_P=pairs.right_P[in_half_P], group_P=group_P)


def lift_cells(pairs: RelationPairs, codes: Codes, depth: int) -> Iterator[tuple[str, ...]]:
    """One row per set of codes that has this depth, as text: means over the seeds."""
    of_precision = [prefixes(codes_NL, depth) for codes_NL in codes["precision"]]
    for name, of_seeds in codes.items():
        if of_seeds[0].shape[1] < depth:
            continue
        own = [prefixes(codes_NL, depth) for codes_NL in of_seeds]
        lifts = [relation_lifts(own_N1, pairs).depths[0] for own_N1 in own]
        share, chance = (float(np.mean([getattr(lift, figure) for lift in lifts])) for figure in ("share", "chance"))
        lifted = span([lift.lift for lift in lifts])
        beside = ""
        if name != "precision":  # a yardstick is one, and stands beside every seed of precision
            both = zip(own * (len(of_precision) // len(own)), of_precision, strict=True)
            ratios = [lift_ratio(own_N1, precision_N1, pairs).depths[0] for own_N1, precision_N1 in both]
            beside = span([ratio.ratio for ratio in ratios], [end for ratio in ratios for end in (ratio.ratio_low, ratio.ratio_high)])
        yield name, rare_share_text(share), rare_share_text(chance), lifted, beside


def span(values: Sequence[float | None], ends: Sequence[float | None] | None = None) -> str:
    """The mean, and in brackets the lowest and the highest of the values or of the ends of their intervals."""
    known = [value for value in values if value is not None]
    reach = [end for end in (values if ends is None else ends) if end is not None]
    if len(known) < len(values) or not known:
        return ratio_text(None)
    return ratio_with_interval(float(np.mean(known)), *((min(reach), max(reach)) if reach else (None, None)))


def prefixes(codes_NL: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Number of each product's prefix of a depth, int64[N, 1]."""
    return np.unique(codes_NL[:, :depth], axis=0, return_inverse=True)[1].reshape(-1, 1).astype(np.int64)


def yardsticks(taxonomy: Taxonomy, relations: tuple[RelationPairs, ...]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Groupings of the products by their category paths, int64[N, 1] each, where most products have one."""
    if np.mean(taxonomy.leaf_of_N == NO_LEAF) > 0.1:
        return
    yield "(top category)", taxonomy.labels_at(1)[:, None].astype(np.int64)
    yield "(leaf)", taxonomy.leaf_of_N[:, None].astype(np.int64)
    for pairs in relations:
        if pairs.relation == SAME_BASKET:
            group_P = leaves_by_baskets(_half(pairs, "first"), taxonomy)
            yield f"(leaves in {GROUPS} groups by the first half)", group_P[taxonomy.leaf_of_N][:, None]


def leaves_by_baskets(pairs: RelationPairs, taxonomy: Taxonomy, gamma: float = 1.5, starts: int = 5) -> NDArray[np.int64]:
    """A group of 0 to GROUPS - 1 per leaf, and one for NO_LEAF: leaves that share baskets more often than chance stand together.

    Moves one leaf at a time to where sum over pairs of leaves in a group of (share - gamma * chance) is highest, until none moves:
    modularity (Newman 2006); a gamma above 1 makes the groups even. The best of a few random starts.
    """
    rng, leaves = np.random.default_rng(0), len(taxonomy.paths) + 1
    together_PP = np.zeros((leaves, leaves))
    np.add.at(together_PP, (taxonomy.leaf_of_N[pairs.left_P], taxonomy.leaf_of_N[pairs.right_P]), 1)
    together_PP = (together_PP + together_PP.T) / (2 * together_PP.sum())
    share_P = together_PP.sum(axis=1)
    worth_PP = together_PP - gamma * np.outer(share_P, share_P)
    np.fill_diagonal(worth_PP, 0)
    best, group_of_best = -np.inf, np.zeros(leaves, dtype=np.int64)
    for _ in range(starts):
        group_P = rng.integers(0, GROUPS, leaves)
        moved = True
        while moved:
            moved = False
            for leaf in rng.permutation(np.flatnonzero(share_P)):
                gain_G = np.bincount(group_P, weights=worth_PP[leaf], minlength=GROUPS)
                if gain_G.max() > gain_G[group_P[leaf]] + 1e-12:
                    group_P[leaf], moved = gain_G.argmax(), True
        if (worth := float(worth_PP[group_P[:, None] == group_P].sum())) > best:
            best, group_of_best = worth, group_P
    return group_of_best


if __name__ == "__main__":
    typer.run(main)
