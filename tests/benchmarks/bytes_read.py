"""Bytes that a bucket serves for a few columns of an embeddings part: by s3fs, which reads ahead, and as a workspace reads them.

python tests/benchmarks/bytes_read.py [--rows 65536] [--dimensions 512]

A moto server keeps the part; a proxy before it counts the bytes of its answers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "jobs")]

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from flaky_store import FlakyStore, flaky_store
from running import free_ports, wait_until_it_answers

from shelfcode.embedding.embeddings import embeddings_table
from shelfcode.keys import text_hash
from shelfcode.workspace import Workspace

PART = "embeddings/encoder/part-0.parquet"


def main(
    rows: Annotated[int, typer.Option(help="Products of the part.")] = 65_536, dimensions: Annotated[int, typer.Option()] = 512
) -> None:
    """Read the part both ways, and print what was served."""
    port = free_ports(1)[0]
    os.environ.update({
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    })  # fmt: skip
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/moto-api/", server)
        boto3.client("s3").create_bucket(Bucket="shelf")
        with flaky_store() as store, store.as_endpoint():
            measure(store, rows, dimensions)
    finally:
        server.terminate()
        server.wait()


def measure(store: FlakyStore, rows: int, dimensions: int) -> None:
    workspace = Workspace("s3://shelf/shop")
    x_ND = np.random.default_rng(0).standard_normal((rows, dimensions), dtype=np.float32)
    item_ids = [f"{number:012}" for number in range(rows)]
    texts = pa.table({"item_id": item_ids, "text_hash": [text_hash(item_id) for item_id in item_ids]})
    workspace.write_table(PART, embeddings_table(texts, x_ND))
    print(f"a part of {rows:,} x {dimensions}, {workspace.files('')[0].bytes / 2**20:.1f} MiB; MiB served, requests and seconds")
    for columns in (["item_id"], ["item_id", "text_hash"], ["item_id", "text_hash", "embedding"]):
        ahead = served(store, lambda columns=columns: read_ahead(workspace, columns))
        pruned = served(store, lambda columns=columns: workspace.read_table(PART, columns))
        ratio = ahead[0] / pruned[0]
        print(f"{', '.join(columns):32} s3fs {ahead[0]:7.2f} {ahead[1]:3} {ahead[2]:5.1f} s   workspace {pruned[0]:7.2f} {pruned[1]:3} "
              f"{pruned[2]:5.1f} s   ratio {ratio:.1f}")  # fmt: skip


def read_ahead(workspace: Workspace, columns: list[str]) -> pa.Table:
    """Through a file of s3fs, as workspaces read before."""
    with workspace.fs.open(workspace.path(PART), "rb") as file:
        return pq.read_table(file, columns=columns)


def served(store: FlakyStore, read: Callable[[], pa.Table]) -> tuple[float, int, float]:
    """MiB, requests and seconds of a read."""
    bytes_before, requests_before, started = store.served, store.requests, time.perf_counter()
    read()
    return (store.served - bytes_before) / 2**20, store.requests - requests_before, time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
