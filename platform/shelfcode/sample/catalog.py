"""The sample catalog: a deterministic grocery shop of any size, with planted facts beside it.

It is made chunk by chunk, in bounded memory and in any order: a chunk is determined by the seed, its index, the catalog's size
(which sets id numbers, query and session budgets) and the chunk size.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shelfcode.errors import ShelfcodeError
from shelfcode.progress import Progress
from shelfcode.sample.facts import FACT_SCHEMAS, chunk_facts
from shelfcode.sample.products import chunk_products, products_table
from shelfcode.sample.shop import load_shop

MAX_QUERIES, MAX_SESSIONS = 2_000, 200_000
PRODUCTS_A_QUERY, PRODUCTS_A_SESSION = 25, 4


@dataclass(frozen=True)
class SampleChunk:
    """Products of one chunk (item_id, title, description, brand, category_path, price, size) and its facts by name.

    The facts are those of FACT_SCHEMAS: misfiled, attributes, substitutes, complements, judgments, sessions.
    """

    products: pa.Table
    facts: dict[str, pa.Table]


@dataclass(frozen=True)
class SampleSummary:
    """What was written: rows of the catalog and of each fact, and the distinct departments, aisles and leaves it is filed under."""

    products: int
    departments: int
    aisles: int
    leaves: int
    facts: dict[str, int]


def sample_chunk(index: int, size: int, seed: int, chunk_size: int = 5000) -> SampleChunk:
    """One chunk of a sample catalog, made alone; the last chunk may be short.

    Raises:
        ShelfcodeError: size, chunk size or seed is out of range, or the chunk lies past the catalog's end.
    """
    if size < 1 or chunk_size < 1 or not 0 <= seed < 2**63 or not 0 <= index * chunk_size < size:
        raise ShelfcodeError(
            f"a sample catalog needs size >= 1 and 0 <= seed < 2**63, and a chunk within it; got size {size}, seed {seed}, chunk {index}"
        )
    shop = load_shop()
    first, stop = index * chunk_size, min((index + 1) * chunk_size, size)
    products = chunk_products(shop, seed, index, first, stop - first)
    sessions, queries = min(size // PRODUCTS_A_SESSION, MAX_SESSIONS), min(max(1, size // PRODUCTS_A_QUERY), MAX_QUERIES)
    first_session = sessions * first // size
    facts = chunk_facts(
        shop,
        products,
        seed,
        index,
        first_session,
        sessions * stop // size - first_session,
        queries * stop // size - queries * first // size,
    )
    return SampleChunk(products_table(shop, products), facts)


def sample_chunks(size: int, seed: int, chunk_size: int = 5000) -> Iterator[SampleChunk]:
    """The chunks of a sample catalog in order; `size` products in all.

    Raises:
        ShelfcodeError: size, chunk size or seed is out of range.
    """
    for index in range(max(1, -(-size // max(1, chunk_size)))):
        yield sample_chunk(index, size, seed, chunk_size)


def write_sample(folder: str | Path, size: int = 5000, seed: int = 0, on_chunk: Progress | None = None) -> SampleSummary:
    """Write folder/catalog/part-*.parquet and folder/facts/<name>/part-*.parquet, one part a chunk, each file atomically.

    Parts of an earlier, bigger sample in the same folder are removed at the end.

    Args:
        on_chunk: called with the number of products that each chunk added.

    Raises:
        ShelfcodeError: size or seed is out of range, or folder/catalog holds a catalog that is no sample.
    """
    folder = Path(folder)
    targets = {"catalog": folder / "catalog"} | {name: folder / "facts" / name for name in FACT_SCHEMAS}
    if any(targets["catalog"].glob("*.parquet")) and not targets["attributes"].exists():
        raise ShelfcodeError(f"{targets['catalog']} holds a catalog that is not a sample; name another folder")
    paths: set[tuple[str, ...]] = set()
    rows = dict.fromkeys(targets, 0)
    parts = 0
    for chunk in sample_chunks(size, seed):
        for name, table in {"catalog": chunk.products, **chunk.facts}.items():
            _write_part(table, targets[name] / f"part-{parts:05d}.parquet")
            rows[name] += table.num_rows
        paths.update(map(tuple, chunk.products["category_path"].to_pylist()))
        parts += 1
        if on_chunk:
            on_chunk(chunk.products.num_rows)
    for target in targets.values():
        for stale in target.glob("part-*.parquet"):
            if stale.name > f"part-{parts - 1:05d}.parquet":
                stale.unlink()
    aisles = {path[:2] for path in paths}
    return SampleSummary(rows.pop("catalog"), len({path[0] for path in paths}), len(aisles), len(paths), rows)


def _write_part(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}"
    pq.write_table(table, temporary)
    temporary.replace(path)
