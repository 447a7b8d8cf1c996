"""Does beam search ever return what it must not, and what does it miss? Ten thousand requests of retailers of every size.

python tests/benchmarks/decoder_requests.py [--requests 10000] [--products 20000] [--oracle 1000]

The model is one of tables (tests/retrieval/decoder/toy_models.py): each prefix has logits of its own, so that good semantic IDs lie below
bad prefixes more often than with a trained model. A third of the requests exclude products, a quarter draw at temperature 1, widths are 10,
50 and 256 in one batch, and products come and go between batches. "wrong" counts semantic IDs that do not exist or may not be returned,
that come twice, or that are missing though the width would hold them; all must be 0. "top 10" is the share of the ten most probable that a
search without temperature finds at each width, for some of the requests, by the size of the retailer (a width larger than the retailer
must give 100%).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from shelfcode.retrieval.decoder.allowed import AllowedSets, allowed_where, stack_sets
from shelfcode.retrieval.decoder.beam_search import beam_search
from shelfcode.retrieval.decoder.exhaustive import exhaustive_search
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie

sys.path.append(str(Path(__file__).parents[1] / "retrieval" / "decoder"))
from toy_models import TableModel, shop

SIZES = (24, 640, 640, 744)
RETAILER_SIZES = (0, 1, 2, 9, 10, 11, 49, 50, 51, 255, 256, 257, 1000, 5000)
WIDTHS = (10, 50, 256)
BATCH, EXCLUDED, CHANGES, TOP = 50, 20, 50, 10
screen = Console(width=140)


@dataclass(frozen=True)
class Retailers:
    """What each has, and the same as the decoder knows it."""

    trie: CodeTrie
    holds_SN: NDArray[np.bool_]
    sets: AllowedSets

    def change_stock(self, rng: np.random.Generator) -> None:
        """One product goes and another comes, at some retailers that have some products and not all."""
        for number in rng.integers(0, len(self.holds_SN), CHANGES).tolist():
            gone, come = (np.flatnonzero(self.holds_SN[number] == held) for held in (True, False))
            if len(gone) and len(come):
                product, other = int(rng.choice(gone)), int(rng.choice(come))
                self.sets.remove(number, product)
                self.sets.add(number, other)
                self.holds_SN[number, [product, other]] = False, True

    def excluded(self, set_R: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Products that a third of the requests exclude: mostly such as the retailer has."""
        without_RX = np.full((len(set_R), EXCLUDED), -1)
        for request in np.flatnonzero(rng.random(len(set_R)) < 1 / 3).tolist():
            without_RX[request] = rng.choice(np.append(np.flatnonzero(self.holds_SN[set_R[request]]), [-1, 0]), EXCLUDED)
        return without_RX

    def left(self, set_R: NDArray[np.int64], without_RX: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The products that each request may be answered with."""
        holds_RN = self.holds_SN[set_R]
        for holds_N, without_X in zip(holds_RN, without_RX, strict=True):
            holds_N[without_X[without_X >= 0]] = False
        return holds_RN


def make_retailers(trie: CodeTrie, rng: np.random.Generator) -> Retailers:
    products = len(trie.leaf_N)
    holds_SN = np.zeros((len(RETAILER_SIZES) + 1, products), bool)
    for holds_N, size in zip(holds_SN, (*RETAILER_SIZES, products), strict=True):
        holds_N[rng.permutation(products)[:size]] = True
    return Retailers(trie, holds_SN, stack_sets([allowed_where(trie, holds_N) for holds_N in holds_SN]))


def faults(leaf_W: NDArray[np.int32], legal: NDArray[np.int32], width: int) -> tuple[int, int, int, int]:
    """One request answered, and how many semantic IDs are illegal, twice there, or too few or too many."""
    found = leaf_W[leaf_W >= 0]
    twice = len(found) - len(np.unique(found))
    return 1, int((~np.isin(found, legal)).sum()), twice, abs(min(width, len(legal)) - len(found))


def main(
    requests: Annotated[int, typer.Option(help="requests to answer")] = 10_000,
    products: Annotated[int, typer.Option(help="of the catalog")] = 20_000,
    oracle: Annotated[int, typer.Option(help="requests to hold against the oracle")] = 1_000,
) -> None:
    """Print one row a size of retailer."""
    rng = np.random.default_rng(0)
    made = shop(SIZES, products, rng)
    trie = build_trie(made.codes_NL, SIZES)
    tensors, retailers = trie.to("cpu"), make_retailers(trie, rng)
    wrong = np.zeros((len(retailers.holds_SN), 4), int)
    shares: dict[tuple[int, int], list[float]] = {(number, width): [] for number in range(len(wrong)) for width in WIDTHS}
    for low in track(range(0, requests, BATCH), console=Console(stderr=True)):
        retailers.change_stock(rng)
        set_R, width_R = rng.integers(0, len(wrong), BATCH), rng.choice(WIDTHS, BATCH)
        without_RX, temperature_R = retailers.excluded(set_R, rng), torch.from_numpy(np.where(rng.random(BATCH) < 0.25, 1.0, 0.0))
        allowed, holds_RN = retailers.sets.requests(set_R, without_RX), retailers.left(set_R, without_RX)
        model = TableModel(SIZES, range(low, low + BATCH))
        beams = beam_search(model, tensors, allowed, max(WIDTHS), temperature_R, torch.from_numpy(width_R))
        for leaf_W, holds_N, number, width in zip(beams.leaf_RW.numpy(), holds_RN, set_R, width_R, strict=True):
            wrong[number] += faults(leaf_W, np.unique(trie.leaf_N[holds_N]), int(width))
        if low < oracle:
            best_RK = exhaustive_search(model, made.codes_NL, SIZES, holds_RN, TOP).leaf_RW.numpy()
            for width in WIDTHS:
                at_RK = beam_search(model, tensors, allowed, width).leaf_RW[:, :TOP].numpy()
                for number, best_K, at_K in zip(set_R.tolist(), best_RK, at_RK, strict=True):
                    if best_K[0] >= 0:
                        shares[number, width].append(len(np.intersect1d(best_K[best_K >= 0], at_K)) / (best_K >= 0).sum())
    table = Table()
    for column in ("products of the retailer", "requests", "illegal", "twice", "missing", *(f"top 10 at B = {width}" for width in WIDTHS)):
        table.add_column(column, justify="right")
    for number, size in enumerate((*RETAILER_SIZES, products)):
        cells = [f"{np.mean(each):.1%}" if (each := shares[number, width]) else "-" for width in WIDTHS]
        table.add_row(f"{size:,}", *(f"{count:,}" for count in wrong[number]), *cells)
    table.add_section()
    table.add_row("all", *(f"{count:,}" for count in wrong.sum(axis=0)))
    screen.print(f"{products:,} products, {trie.leaves:,} semantic IDs; candidates a beam {[level.branching for level in trie.levels]}")
    screen.print(table)


if __name__ == "__main__":
    typer.run(main)
