"""Time of `evaluate` on synthetic products: `python tests/benchmarks/evaluation_speed.py [--million]`.

The embeddings lie in a memory-mapped file, as those of a workspace do. Nothing here passes or fails.
"""

import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.taxonomy import Taxonomy, build_taxonomy
from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.evaluation.quality.codebook_health import codebook_health
from shelfcode.evaluation.quality.collisions import collisions, draw_compared
from shelfcode.evaluation.quality.evaluate import evaluate, headline
from shelfcode.evaluation.quality.pairs import draw_pairs
from shelfcode.evaluation.quality.similarity_depth import similarity_depth
from shelfcode.evaluation.quality.taxonomy_alignment import taxonomy_alignment

SIZES = (64, 256, 512, 1168)
_ROWS_A_CHUNK = 50_000


def synthetic_catalog(
    file: Path, products: int, dimensions: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint16], Taxonomy]:
    """Products around random centres of levels 1, 2 and 3, their codes the centres, and a tree of three depths that mostly follows them.

    Codewords are drawn with Zipf-like shares, so that prefixes differ in size as in a real catalog.
    """
    shares = [1 / (np.arange(size) + 10) for size in SIZES]
    codes_NL = np.stack([rng.choice(len(share), products, p=share / share.sum()) for share in shares], axis=1).astype(np.uint16)
    centres = [rng.standard_normal((size, dimensions)).astype(np.float32) / level for level, size in enumerate(SIZES[:3], start=1)]
    x_ND = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(products, dimensions))
    for start in range(0, products, _ROWS_A_CHUNK):
        part = slice(start, start + _ROWS_A_CHUNK)
        x_CD = np.float32(0.3) * rng.standard_normal((len(codes_NL[part]), dimensions), dtype=np.float32)
        for level, centre_KD in enumerate(centres):
            x_CD += centre_KD[codes_NL[part, level]]
        x_ND[part] = x_CD / np.linalg.norm(x_CD, axis=1, keepdims=True)
    x_ND.flush()
    paths = [(f"department {top}", f"aisle {middle}", f"shelf {low}") for top in range(20) for middle in range(10) for low in range(6)]
    leaf_N = (codes_NL[:, 0] % 20).astype(np.int64) * 60 + codes_NL[:, 1] % 10 * 6 + codes_NL[:, 2] % 6
    strays_N = rng.random(products) < 0.2
    leaf_N[strays_N] = rng.integers(0, len(paths), int(strays_N.sum()))
    return x_ND, codes_NL, build_taxonomy(leaf_N, paths)


def main(
    million: Annotated[bool, typer.Option("--million", help="also time one million products")] = False,
    dimensions: Annotated[int, typer.Option(help="dimensions of the embeddings")] = 384,
    seed: Annotated[int, typer.Option(help="of the synthetic products")] = 0,
) -> None:
    """Print the seconds that each part of an evaluation takes."""
    table = Table("products", "pairs", "similarity-depth", "taxonomy", "codebooks", "collisions", "evaluate()", "peak memory", "Spearman")
    for products in (50_000, 1_000_000) if million else (50_000,):
        with tempfile.TemporaryDirectory() as folder:
            rng = np.random.default_rng(seed)
            _, codes_NL, taxonomy = synthetic_catalog(Path(folder) / "embeddings.npy", products, dimensions, rng)
            x_ND = np.load(Path(folder) / "embeddings.npy", mmap_mode="r")
            clock = [time.perf_counter()]
            pool = draw_pairs(x_ND, rng)
            clock.append(time.perf_counter())
            similarity_depth(pool, codes_NL, rng)
            clock.append(time.perf_counter())
            prefixes = prefix_numbers(codes_NL, SIZES)
            taxonomy_alignment(prefixes, taxonomy)
            clock.append(time.perf_counter())
            codebook_health(codes_NL, SIZES)
            clock.append(time.perf_counter())
            collisions(x_ND, codes_NL, draw_compared(prefixes[-1], rng))
            clock.append(time.perf_counter())
            evaluation = evaluate(x_ND, codes_NL, SIZES, taxonomy)
            clock.append(time.perf_counter())
        seconds = [f"{value:.1f} s" for value in np.diff(clock)]
        peak = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"
        table.add_row(f"{products:,}", *seconds, peak, f"{headline(evaluation).get('similarity_depth_spearman', float('nan')):.3f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
