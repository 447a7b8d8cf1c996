"""Memory and time of what each retailer has: the table read, one release laid out, changes of one retailer; and as changes in a workspace.

python tests/benchmarks/availability_memory.py [--products 1000000 --retailers 500 --has 30000]
"""

import ctypes
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from shelfcode.index.availability import Stock, read_availability
from shelfcode.index.availability_log import Change, append, open_log, write_whole
from shelfcode.keys import index_keys, item_keys
from shelfcode.workspace import Workspace

Result = TypeVar("Result")
CHANGES = 20


def main(
    products: Annotated[int, typer.Option(help="Of the catalog, all in one release.")] = 1_000_000,
    retailers: Annotated[int, typer.Option(help="Retailers.")] = 500,
    has: Annotated[int, typer.Option(help="Products that each has, drawn at random.")] = 30_000,
) -> None:
    """Make the table and the changes in a folder that goes again, and print megabytes and seconds."""
    item_ids = [f"product-{number:012}" for number in range(products)]
    rng = np.random.default_rng(0)
    place_of = index_keys(item_keys(pa.array(item_ids)), rng.permutation(products))
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), item_ids, retailers, has, rng)
        some = [item_ids[number] for number in rng.integers(0, products, 100)]
        new = [[f"new-{change}-{number}" for number in range(10)] for change in range(CHANGES)]
        all_of_one = [item_ids[number] for number in rng.integers(0, products, has)]
        del item_ids
        before = memory()
        stock = timed("table read", lambda: Stock(read_availability(folder)))
        print(f"{'kept without a release':28} {memory() - before:8.1f} MB")
    timed("release added", lambda: stock.add("release", place_of))
    print(f"{'kept with one release':28} {memory() - before:8.1f} MB")
    timed(f"{CHANGES} changes, known items", lambda: [stock.change("0", some[:50], some[50:]) for _ in range(CHANGES)])
    timed(f"{CHANGES} changes, new items", lambda: [stock.change("0", each, some) for each in new])
    timed("one retailer replaced", lambda: stock.replace("0", all_of_one))
    print(f"{'kept after the changes':28} {memory() - before:8.1f} MB")
    with tempfile.TemporaryDirectory() as folder:
        _in_a_workspace(Workspace(folder), products, retailers, has, rng)


def _in_a_workspace(workspace: Workspace, products: int, retailers: int, has: int, rng: np.random.Generator) -> None:
    """A change that replaces all that a retailer has, for each; then all of it."""
    said = ([f"product-{number:012}" for number in rng.choice(products, has, replace=False)] for _ in range(retailers))
    changes = (Change(retailer_id=str(name), kind="replace", add=item_ids) for name, item_ids in enumerate(said))
    timed("a change for each retailer", lambda: [append(workspace, change, number, 0) for number, change in enumerate(changes)])
    timed("log opened from changes", lambda: open_log(workspace))
    timed("whole written", lambda: write_whole(workspace, retailers))
    print(f"{'whole':28} {workspace.files('availability/whole')[0].bytes / 1e6:8.1f} MB")
    timed("log opened from the whole", lambda: open_log(workspace))


def _write(folder: Path, item_ids: list[str], retailers: int, has: int, rng: np.random.Generator) -> None:
    ids = pa.array(item_ids)
    for first in range(0, retailers, 50):
        names = range(first, min(first + 50, retailers))
        number_P = np.concatenate([rng.choice(len(item_ids), has, replace=False) for _ in names])
        retailer_P = np.repeat([str(name) for name in names], has)
        pq.write_table(pa.table({"item_id": ids.take(pa.array(number_P)), "retailer_id": retailer_P}), folder / f"part-{first:06}.parquet")


def timed(what: str, act: Callable[[], Result]) -> Result:
    """Do something, and print how many seconds it takes."""
    began = time.perf_counter()
    result = act()
    print(f"{what:28} {time.perf_counter() - began:8.3f} s")
    return result


def memory() -> float:
    """Megabytes that this process holds, after all that is no longer used was given back."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    typer.run(main)
