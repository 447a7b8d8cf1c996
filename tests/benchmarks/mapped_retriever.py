"""Memory and seconds of processes that open one generator as the online endpoint does: laid out once a node, and mapped by all.

python tests/benchmarks/mapped_retriever.py [--products 1000000] [--retailers 500] [--each 30000] [--requests 16] [--codes uneven]

Publishes a generator as large as that of the small recipe, with random weights and with all its stages, in a workspace that goes away in
the end. Processes open it one after the other and stay: the first lays it out, the others find it laid out. Each then answers requests of
`each` products. "own" is what was allocated (Anonymous of /proc), "unique" is USS, which has the pages of files that no other process
has mapped too, and "resident" is RSS; all are what a process grew by since it had imported the library, but for "peak", which
is the most that it ever had resident, import and mapped pages included. Reads /proc, so it wants Linux.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, E sales, M products of one request.

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import torch
import typer
from constraint_cost import SIZES, random_codes, uneven_codes
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import sparse
from untrained_generator import CODEBOOK_WIDTH, some_contexts

from shelfcode.quantization.model_file import new_model, save_model
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest, publish
from shelfcode.retrieval.assortment import Assortment, open_assortment
from shelfcode.retrieval.cooccurrence import NEIGHBOURS, Cooccurrence
from shelfcode.retrieval.demands import alike
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.mapped_retriever import open_mapped
from shelfcode.retrieval.never_sold import NeverSoldModel, feature_count
from shelfcode.retrieval.published_retriever import RetrieverCard, codebooks, load_card, publish_retriever, write_retriever
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever, new_retriever_model, trie_of
from shelfcode.retrieval.sharing import BY_SALES, Sales, SharingModel
from shelfcode.retrieval.shelves import RequestShelves, open_shelves
from shelfcode.workspace import Workspace

MEGABYTE = 1e6
PROCESSES, BATCHES = 3, 3
SOLD_SHARE = 0.9
"""Of the products; the others were never sold."""

EMBEDDED, CART, LISTED, BEAMS = 64, 10, 100, 50
CPU = torch.device("cpu")
screen = Console(width=140)


@dataclass(frozen=True)
class Memory:
    """Of a process, in bytes."""

    own: int
    unique: int
    resident: int

    def since(self, before: "Memory") -> "Memory":
        return Memory(self.own - before.own, self.unique - before.unique, self.resident - before.resident)


@dataclass(frozen=True)
class Opened:
    """What one process saw: seconds to open and to answer a batch, and its growth after each."""

    opening: float
    answering: float
    opened: Memory
    answered: Memory
    peak: int


def main(
    products: Annotated[int, typer.Option(help="of the catalog")] = 1_000_000,
    retailers: Annotated[int, typer.Option(help="that sold something")] = 500,
    each: Annotated[int, typer.Option(help="products that a retailer sold, and of a request")] = 30_000,
    requests: Annotated[int, typer.Option(help="of a batch")] = 16,
    codes: Annotated[Literal["uneven", "random"], typer.Option(help="how full the levels of the trie are")] = "uneven",
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SHELFCODE_SCRATCH"] = f"{folder}/scratch"
        url, started = f"{folder}/workspace", time.perf_counter()
        _apart(publish_all, url, products, retailers, min(each, products), codes)
        screen.print(f"published in {time.perf_counter() - started:.0f} s")
        report(list(processes(url, requests, min(each, products))))
        layouts = Path(folder, "scratch").glob("retriever-*/*.npy")
        screen.print(f"{sum(path.stat().st_size for path in layouts) / MEGABYTE:,.0f} MB are mapped")


def processes(url: str, requests: int, each: int) -> Iterator[Opened]:
    """What each of PROCESSES saw; all stay until the last has answered."""
    context, running = get_context("spawn"), []
    for _ in range(PROCESSES):
        ours, theirs = context.Pipe()
        process = context.Process(target=open_and_answer, args=(theirs, url, requests, each))
        process.start()
        running.append((process, ours))
        yield ours.recv()
    for process, ours in running:
        ours.send(None)
        process.join()


def _apart(function: object, *arguments: object) -> None:
    """Run a function in a process of its own, so that its memory is nobody else's."""
    process = get_context("spawn").Process(target=function, args=arguments)  # type: ignore[arg-type]
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{function} failed")


def open_and_answer(connection: Connection, url: str, requests: int, each: int) -> None:
    """Open the generator, answer batches of requests with products of their own, tell, and stay until told to go."""
    torch.set_num_threads(1)
    workspace, before = Workspace(url), memory()
    card, started = load_card(workspace, "generator"), time.perf_counter()
    retriever = open_mapped(workspace, card, CPU)
    opening, opened = time.perf_counter() - started, memory().since(before)
    random, history = np.random.default_rng(0), retriever.recipe.prompt.history_products
    for _ in range(BATCHES):
        contexts = some_contexts(requests, len(retriever.assortment), retriever.marks, history, CART, random)
        product_RM = [random.choice(len(retriever.assortment), each, replace=False).astype(np.int32) for _ in range(requests)]
        shelves, started = RequestShelves(retriever.shelves.trie, retriever.shelves.tensors, product_RM), time.perf_counter()
        lists = retriever.answer_together(contexts, alike(requests, LISTED, BEAMS), shelves).lists
        answering = time.perf_counter() - started
        assert (lists.products_RK >= 0).any(1).all()
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    connection.send(Opened(opening, answering, opened, memory().since(before), peak))
    connection.recv()


def memory() -> Memory:
    """Of this process."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    size = {words[0]: int(words[1]) * 1024 for words in lines}
    return Memory(size["Anonymous:"], size["Private_Clean:"] + size["Private_Dirty:"], size["Rss:"])


def publish_all(url: str, products: int, retailers: int, each: int, codes: str) -> None:
    """A release, and a generator that was trained on nothing."""
    random, workspace, recipe = np.random.default_rng(0), Workspace(url), RetrieverRecipe()
    codes_NL = (uneven_codes if codes == "uneven" else random_codes)(products, random)
    manifest = publish_release(workspace, codes_NL)
    assortment = open_assortment(workspace, manifest)
    retriever = some_retriever(workspace, manifest, recipe, assortment, retailers, each, random)
    write_retriever(workspace, "runs/draft", retriever)
    card = RetrieverCard(
        name="generator", retriever="generator", release=manifest.name, recipe=recipe.model_dump(mode="json"), interactions={},
        training={}, parameters={}, figures={},
    )  # fmt: skip
    publish_retriever(workspace, "runs/draft", card)


def publish_release(workspace: Workspace, codes_NL: NDArray[np.int64]) -> Manifest:
    """Products by the names `item 0`, `item 1` ... with some codes."""
    quantizer = {"codebook_sizes": list(SIZES), "hidden_sizes": [EMBEDDED], "latent_size": CODEBOOK_WIDTH}
    recipe, draft = validate_recipe({"name": "synthetic", "quantizer": quantizer}, "synthetic"), "runs/release"
    save_model(workspace, draft, new_model(recipe, EMBEDDED).state_dict())
    item_ids = pa.chunked_array([[f"item {number}" for number in range(len(codes_NL))]], pa.string())
    workspace.write_table(f"{draft}/semantic_ids/part-000000.parquet", semantic_ids_table(item_ids, codes_NL))
    manifest = Manifest.model_validate({
        "flavor": "synthetic", "version": "", "created": "", "recipe": recipe.model_dump(mode="json"), "parent": None,
        "catalog": {"snapshot": "catalog/1", "source": "nowhere", "fingerprint": "f"}, "embeddings": "embeddings/x",
        "rows": {"read": len(codes_NL), "coded": len(codes_NL), "rejected": 0}, "metrics": {}, "libraries": {},
    })  # fmt: skip
    return publish(workspace, draft, manifest)


def some_retriever(
    workspace: Workspace, manifest: Manifest, recipe: RetrieverRecipe, assortment: Assortment, retailers: int, each: int,
    random: np.random.Generator,
) -> Retriever:  # fmt: skip
    """A generator with random weights, sales, neighbours, a last stage that adds nothing and all products never sold alike."""
    model = new_retriever_model("generator", recipe, Marks(retailers, 1), assortment, codebooks(workspace, manifest))
    sales, products = some_sales(len(assortment), retailers, each, random), len(assortment)
    together = Cooccurrence(
        random.integers(0, products, (products, NEIGHBOURS), np.int32), random.random((products, NEIGHBOURS), np.float32).astype(np.float16)
    )
    names = tuple(f"retailer {number}" for number in range(retailers))
    shelves = open_shelves(trie_of(assortment), sales, None, CPU)
    never_sold = NeverSoldModel(Ranker(feature_count(len(SIZES))), log_share=-2.0)
    return Retriever(recipe, model, SharingModel(BY_SALES, sales), assortment, names, ("home",), shelves, together, Ranker(), never_sold)


def some_sales(products: int, retailers: int, each: int, random: np.random.Generator) -> Sales:
    """Every retailer sold `each` products at random, of those that were ever sold."""
    sold = np.sort(random.permutation(products)[: max(each, int(SOLD_SHARE * products))]).astype(np.int32)
    product_E = np.concatenate([np.sort(sold[random.choice(len(sold), each, replace=False)]) for _ in range(retailers)])
    count_E = random.integers(1, 100, len(product_E)).astype(np.float32)
    at_retailer = sparse.csr_array((count_E, product_E, np.arange(retailers + 1, dtype=np.int32) * each), shape=(retailers, products))
    all_N = np.bincount(product_E, count_E, minlength=products).astype(np.float32)
    return Sales(all_N, np.floor(all_N / 10), at_retailer)


def report(seen: list[Opened]) -> None:
    """A row a process."""
    table = Table("process", title="MB (1e6 bytes) and seconds")
    for column in ("to open, s", "to answer, s", "own, opened", "own", "unique", "resident", "peak"):
        table.add_column(column, justify="right")
    for number, one in enumerate(seen):
        sizes = (one.opened.own, one.answered.own, one.answered.unique, one.answered.resident, one.peak)
        name = "lays it out" if number == 0 else f"maps it, {number}"
        table.add_row(name, f"{one.opening:.2f}", f"{one.answering:.2f}", *(f"{size / MEGABYTE:,.0f}" for size in sizes))
    screen.print(table)


if __name__ == "__main__":
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("this measurement reads /proc, which this system does not have")
    typer.run(main)
