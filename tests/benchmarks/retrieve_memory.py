"""Memory of one process that holds a generator and all that it answers with, part by part.

python tests/benchmarks/retrieve_memory.py [--products 1000000] [--retailers 500] [--each 30000] [--sample 4] [--requests 16]
    [--codes uneven]

A generator as large as that of the small recipe, with random weights, and retailers that sold `each` products of the nine tenths of the
catalog that were ever sold. Codes are as uneven as those of real catalogs, where many products share an ID, or random, where hardly any
does and the trie is as large as it can get. A part is built, and then looked at: "arrays" are the bytes of all arrays and tensors that are
new with it, "kept" is what the process' unique memory (USS) grew by, and "while built" how far its resident memory rose above that before,
so what a machine must have free for a moment. The sets of allowed products, of which each retailer has one where answers are made in bulk,
are built for `sample` retailers, and all of them are taken to be as large as these. Reads /proc, so it wants Linux.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, L levels, K neighbours, D width.

import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import psutil
import pyarrow as pa
import torch
import typer
from constraint_cost import SIZES, random_codes, uneven_codes
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse
from untrained_generator import some_contexts, untrained_generator

from shelfcode.keys import item_keys
from shelfcode.retrieval.answering import generate
from shelfcode.retrieval.assortment import Assortment
from shelfcode.retrieval.cooccurrence import NEIGHBOURS, Cooccurrence
from shelfcode.retrieval.decoder.allowed import AllowedSet
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie
from shelfcode.retrieval.demands import alike
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.never_sold import neighbourhoods
from shelfcode.retrieval.product_vectors import product_vectors
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.sharing import BY_SALES, Sales, SharingModel
from shelfcode.retrieval.shelves import RequestShelves, open_shelves

MEGABYTE = 1e6
SOLD_SHARE = 0.9
"""Of the products; the others were never sold."""

CART, BEAMS, LISTED = 8, 50, 100
SURFACES = 2
SETS = "allowed sets of"
screen = Console(width=140)
Made = TypeVar("Made")


@dataclass(frozen=True)
class Part:
    """What one part takes, in bytes.

    Attributes:
        arrays: of new arrays and tensors.
        kept: growth of the process' unique memory.
        while_built: the highest resident memory while it was built, above that before.
    """

    name: str
    arrays: int
    kept: int
    while_built: int

    def times(self, name: str, factor: float) -> "Part":
        """So many of the same. A few of them may fit into memory that was free before, all of them do not."""
        arrays = int(self.arrays * factor)
        return Part(name, arrays, arrays, arrays)


class Measuring:
    """Builds parts and notes what each takes."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._seen: set[int] = set()

    def part(self, name: str, make: Callable[[], Made]) -> Made:
        """Build a part, which must be kept as long as the figures of later ones are to be right."""
        _give_back()
        Path("/proc/self/clear_refs").write_text("5")  # The peak of the resident memory starts anew.
        memory = psutil.Process().memory_full_info()
        made = make()
        peak = _peak() - memory.rss
        _give_back()
        kept = psutil.Process().memory_full_info().uss - memory.uss
        self.parts.append(Part(name, array_bytes(made, self._seen), kept, max(peak, kept)))
        return made

    def extrapolate(self, name: str, factor: float) -> None:
        """One more line: so many times the part before."""
        self.parts.append(self.parts[-1].times(name, factor))


def _give_back() -> None:
    """Return what is free to the system, so that the next part cannot hide in it."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)


def _peak() -> int:
    """The most bytes that this process had resident since its peak was reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def array_bytes(value: Any, seen: set[int]) -> int:
    """Bytes of all arrays and tensors below a value that were not seen before."""
    if isinstance(value, np.ndarray):
        return _new_bytes(value.ctypes.data, value.nbytes, seen)
    if isinstance(value, torch.Tensor):
        return _new_bytes(value.data_ptr(), value.nbytes, seen)
    if isinstance(value, pa.Array):
        return sum(_new_bytes(each.address, each.size, seen) for each in value.buffers() if each is not None)
    if isinstance(value, sparse.csr_array):
        return sum(array_bytes(each, seen) for each in (value.data, value.indices, value.indptr))
    if isinstance(value, Generator):
        return sum(array_bytes(each, seen) for each in (*value.parameters(), *value.buffers(), value.codes_NL, value.followers))
    if is_dataclass(value):
        return sum(array_bytes(getattr(value, field.name), seen) for field in fields(value))
    return sum(array_bytes(each, seen) for each in value) if isinstance(value, (list, tuple)) else 0


def _new_bytes(address: int, size: int, seen: set[int]) -> int:
    if address in seen:
        return 0
    seen.add(address)
    return size


def main(
    products: Annotated[int, typer.Option(help="of the catalog")] = 1_000_000,
    retailers: Annotated[int, typer.Option(help="that sold something")] = 500,
    each: Annotated[int, typer.Option(help="products that a retailer sold")] = 30_000,
    sample: Annotated[int, typer.Option(help="retailers whose sets are built")] = 4,
    requests: Annotated[int, typer.Option(help="of a batch that is answered at the end")] = 16,
    codes: Annotated[Literal["uneven", "random"], typer.Option(help="how full the levels of the trie are")] = "uneven",
) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    random, recipe, marks, measuring = np.random.default_rng(0), RetrieverRecipe(), Marks(retailers, SURFACES), Measuring()
    started = psutil.Process().memory_full_info().uss
    assortment = measuring.part("assortment: codes, keys, item_ids", lambda: some_assortment(products, codes, random))
    index = measuring.part("item key -> place", lambda: assortment.place_of)
    trie = measuring.part("trie", lambda: build_trie(assortment.codes_NL, SIZES))
    tensors = measuring.part("trie as tensors", lambda: trie.to("cpu"))
    generator = measuring.part("generator without codes", lambda: untrained_generator(recipe, marks, SIZES, assortment.codes_NL[:1]))
    measuring.part("generator's codes and followers", lambda: generator.with_codes(assortment.codes_NL))
    sales = measuring.part("sales of all retailers", lambda: some_sales(products, retailers, min(each, products), random))
    together = measuring.part("co-occurrence", lambda: some_cooccurrence(products, random))
    vectors = measuring.part("product vectors", lambda: product_vectors(generator, assortment.codes_NL))
    around = measuring.part("neighbourhoods", lambda: neighbourhoods(trie, sales, vectors))
    few = Sales(sales.all_N, sales.late_N, sales.at_retailer[: sample - 1])
    shelves = open_shelves(trie, few, None, torch.device("cpu"))
    sets = measuring.part(f"{SETS} {sample}", lambda: shelves.sets)
    measuring.extrapolate(f"{SETS} {retailers + 1}", (retailers + 1) / sample)
    contexts = some_contexts(requests, products, marks, recipe.prompt.history_products, CART, random)
    products_R = [sales.sold_or_new(retailer) for retailer in contexts.retailer_R.tolist()]
    sharing, own = SharingModel(BY_SALES, sales), RequestShelves(trie, tensors, products_R)
    demands = alike(requests, LISTED, BEAMS)
    measuring.part(
        f"answering {requests} requests, B = {BEAMS}, by their own shelves",
        lambda: generate(generator, sharing, marks, recipe, own, contexts, demands),
    )
    del index, together, around
    report(measuring.parts, started, trie, sets.sets[0], sample)


def some_assortment(products: int, codes: str, random: np.random.Generator) -> Assortment:
    """Products by the names `item 0`, `item 1` ..., with uneven or random codes."""
    item_ids = pa.array([f"item {number}" for number in range(products)], pa.string())
    keys_N = item_keys(item_ids)
    order_N = np.argsort(keys_N)
    codes_NL = (uneven_codes if codes == "uneven" else random_codes)(products, random).astype(np.uint16)
    return Assortment("synthetic@v0001", item_ids.take(pa.array(order_N)), keys_N[order_N], codes_NL, SIZES)


def some_sales(products: int, retailers: int, each: int, random: np.random.Generator) -> Sales:
    """Every retailer sold `each` products at random, of those that were ever sold."""
    sold = np.sort(random.permutation(products)[: max(each, int(SOLD_SHARE * products))]).astype(np.int32)
    index_E = np.concatenate([np.sort(sold[random.choice(len(sold), each, replace=False)]) for _ in range(retailers)])
    count_E = random.integers(1, 100, len(index_E)).astype(np.float32)
    at_retailer = sparse.csr_array((count_E, index_E, np.arange(retailers + 1, dtype=np.int32) * each), shape=(retailers, products))
    all_N = np.bincount(index_E, count_E, minlength=products).astype(np.float32)
    return Sales(all_N, np.floor(all_N / 10), at_retailer)


def some_cooccurrence(products: int, random: np.random.Generator) -> Cooccurrence:
    """Every product has as many neighbours as are kept, and cosines are as precise as those that are published."""
    neighbour_NK: NDArray[np.int32] = random.integers(0, products, (products, NEIGHBOURS), np.int32)
    return Cooccurrence(neighbour_NK, random.random((products, NEIGHBOURS), np.float32).astype(np.float16))


def report(parts: list[Part], started: int, trie: CodeTrie, one: AllowedSet, sample: int) -> None:
    """The table, and what its figures depend on."""
    table = Table("part", title="MB (1e6 bytes)")
    for column in ("arrays", "kept (USS)", "while built (RSS)"):
        table.add_column(column, justify="right")
    for part in parts:
        table.add_row(part.name, *(f"{figure / MEGABYTE:,.0f}" for figure in (part.arrays, part.kept, part.while_built)))
    served = [part for part in parts if not part.name.startswith(SETS)]
    bulk = [part for part in parts if part.name != f"{SETS} {sample}"]
    table.add_section()
    for name, held in (("all that requests with shelves of their own want", served), ("the same with the sets of all retailers", bulk)):
        table.add_row(name, *(f"{sum(figures) / MEGABYTE:,.0f}" for figures in _columns(held)), "")
    table.add_row("the process before", "", f"{started / MEGABYTE:,.0f}", "")
    screen.print(table)
    nodes = ", ".join(f"{level.nodes:,}{' (dense)' if level.first_P is None else ''}" for level in trie.levels)
    screen.print(f"{len(trie.leaf_N):,} products; nodes a level: {nodes}; candidates a beam {[level.branching for level in trie.levels]}")
    counts = sum(live_V.nbytes for live_V in one.live_LV)
    screen.print(f"one set: a byte a product {one.holds_N.nbytes / MEGABYTE:.1f} MB, four bytes a node {counts / MEGABYTE:.1f} MB")


def _columns(parts: list[Part]) -> list[list[int]]:
    return [[part.arrays for part in parts], [part.kept for part in parts]]


if __name__ == "__main__":
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("this measurement reads /proc, which this system does not have")
    typer.run(main)
