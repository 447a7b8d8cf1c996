"""What it costs to write only semantic IDs that exist and are allowed, on top of the same decode without constraint.

python tests/benchmarks/constraint_cost.py [--products 50000] [--requests 1] [--width 50] [--threads 1] [--rounds 300] [--device cpu]

The model is as large as that of the small recipe (small_transformer.py), and all searches call it alike: once for the prompt and once for
each level after the first. The free search is log-softmax and the B largest of B x K sums. Every round runs all searches once, in an order
that is drawn; "search" is what a search takes beside the model's calls. Figures are the lower quartiles over the rounds, for whatever else
a machine does only adds to them. "cost" is what a search takes more than the free one, as a share of the whole decode (prompt, model and
free search); it must be at most 5% on a CPU.

Catalogs: one whose codes are as uneven as those of real catalogs, where few codewords follow a prefix, and one with codes at random, where
at the second level most do. Layouts of the trie: sparse on all levels; dense where most codewords follow a prefix, as shipped; and dense
wherever the table is small.
"""

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from small_transformer import SmallTransformer
from torch import Tensor

from shelfcode.retrieval.decoder.allowed import Allowed, allowed_where, stack_sets
from shelfcode.retrieval.decoder.beam_search import CodewordModel, beam_search
from shelfcode.retrieval.decoder.trie import DENSE_NODES, DENSE_SHARE, CodeTrie, build_trie

SIZES = (24, 640, 640, 744)
LAYOUTS = {"sparse": (0, 1.0), "as shipped": (DENSE_NODES, DENSE_SHARE), "dense": (DENSE_NODES, 0.0)}
RETAILERS = 100
EXCLUDED = 16
screen = Console(width=140)


def uneven_codes(products: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Each prefix has its own order of codewords, and products choose among the first of it: branching as in the Instacart catalog."""
    spread = (24, 40, 12, 3)
    prefix_N = np.zeros(products, np.int64)
    columns = []
    for size, width in zip(SIZES, spread, strict=True):
        rank_N = np.minimum(rng.exponential(width, products).astype(np.int64), size - 1)
        columns.append((prefix_N * 7919 + rank_N * 101) % size)
        prefix_N = prefix_N * size + columns[-1]
    return np.stack(columns, axis=1)


def random_codes(products: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.stack([rng.integers(0, size, products) for size in SIZES], axis=1)


@torch.inference_mode()
def free_search(model: CodewordModel, width: int) -> Tensor:
    """The B most probable code sequences, whether they exist or not."""
    logits_RWK = model.start().unsqueeze(1)
    score_RW = torch.zeros(logits_RWK.shape[:2], device=logits_RWK.device)
    parent_RW = code_RW = torch.zeros_like(score_RW, dtype=torch.int64)
    for level, size in enumerate(SIZES):
        if level:
            logits_RWK = model.step(level, parent_RW, code_RW)
        total_RM = (score_RW.unsqueeze(2) + logits_RWK.log_softmax(dim=2)).flatten(1)
        score_RW, index_RW = total_RM.topk(min(width, total_RM.shape[1]), dim=1)
        parent_RW, code_RW = index_RW // size, index_RW % size
    return score_RW


class Timed:
    """A model that adds up the time of its calls."""

    def __init__(self, model: SmallTransformer, device: str) -> None:
        self.model, self.device, self.seconds = model, device, 0.0

    def start(self) -> Tensor:
        return self._timed(self.model.start)

    def step(self, level: int, parent_RW: Tensor, code_RW: Tensor) -> Tensor:
        return self._timed(lambda: self.model.step(level, parent_RW, code_RW))

    def _timed(self, call: Callable[[], Tensor]) -> Tensor:
        began = now(self.device)
        logits = call()
        self.seconds += now(self.device) - began
        return logits


def now(device: str) -> float:
    """Seconds, when the device has done all that it was given."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def some_requests(trie: CodeTrie, requests: int, device: str, exclude: bool, rng: np.random.Generator) -> Allowed:
    """Requests of retailers that have from one in a thousand to all products."""
    products = len(trie.leaf_N)
    sets = [allowed_where(trie, rng.random(products) < share) for share in np.logspace(-3, 0, RETAILERS)]
    without_RX = rng.integers(0, products, (requests, EXCLUDED)) if exclude else None
    return stack_sets(sets, device).requests(rng.integers(RETAILERS // 2, RETAILERS, requests), without_RX)


def timed(model: Timed, searches: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Milliseconds that the model took during each search, and that the search took beside."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
    random = np.random.default_rng(0)
    for turn in range(-10, rounds):
        for name in random.permutation(list(searches)).tolist():
            model.seconds, began = 0.0, now(model.device)
            searches[name]()
            if turn >= 0:
                taken[name].append((1000 * model.seconds, 1000 * (now(model.device) - began - model.seconds)))
    return {name: tuple(np.quantile(each, 0.25, axis=0).tolist()) for name, each in taken.items()}


def main(
    products: Annotated[int, typer.Option(help="of each catalog")] = 50_000,
    requests: Annotated[int, typer.Option(help="of a batch")] = 1,
    width: Annotated[int, typer.Option(help="beams a request")] = 50,
    threads: Annotated[int, typer.Option(help="of torch")] = 1,
    rounds: int = 300,
    device: str = "cpu",
) -> None:
    """Print a table a catalog."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    model = Timed(SmallTransformer(SIZES, requests).eval().to(device), device)
    for title, codes_NL in (("uneven codes", uneven_codes(products, rng)), ("random codes", random_codes(products, rng))):
        searches: dict[str, Callable[[], object]] = {"prompt": model.model.read, "free": lambda: free_search(model, width)}
        branching = {}
        for layout, (dense_nodes, dense_share) in LAYOUTS.items():
            trie = build_trie(codes_NL, SIZES, dense_nodes, dense_share)
            tensors = trie.to(device)
            branching[layout] = " ".join(f"{level.branching}{'d' if level.first_P is None else ''}" for level in trie.levels)
            for name, exclude in ((layout, False), (f"{layout}, {EXCLUDED} excluded", True)):
                allowed = some_requests(trie, requests, device, exclude, rng)
                searches[name] = lambda tensors=tensors, allowed=allowed: beam_search(model, tensors, allowed, width)
        found = timed(model, searches, rounds)
        prompt, (of_model, free) = found.pop("prompt")[1], found["free"]
        screen.print(f"\n{title}: {products:,} products, {requests} requests, B = {width}, {threads} threads, {device}")
        screen.print(f"prompt {prompt:.2f} ms, model {of_model:.2f} ms")
        table = Table()
        for column in ("search", "candidates a beam (d: dense)", "search ms", "cost"):
            table.add_column(column, justify="left" if column == "search" else "right")
        for name, (_, milliseconds) in found.items():
            cost = "" if name == "free" else f"{(milliseconds - free) / (prompt + of_model + free):+.1%}"
            table.add_row(name, branching.get(name, ""), f"{milliseconds:.3f}", cost)
        screen.print(table)


if __name__ == "__main__":
    typer.run(main)
