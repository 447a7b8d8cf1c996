"""Kill -9 of an embedding actor, a worker process, a node or the driver, at random moments of a night: all must end with the right rows.

python tests/benchmarks/kill_anything.py [--moments 5] [--products 20000] [--seed 0]

Each night runs on a cluster of its own, of a head and a node, made by ray.cluster_utils; a job that ended with an error is
started once more. Moments are while the night embeds: after a random number of its parts was stored. Right: each product once, none
lost, and the code that a night without disturbance gives it.
"""

import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import ray
import typer
from night import BASE_PRODUCTS, codes_of, finish, publish_base, start, write_products, wrong_rows
from ray.cluster_utils import Cluster
from rich.console import Console
from rich.progress import track
from rich.table import Table

KINDS = ("embedding actor", "worker process", "node", "driver")
ROWS_A_PART = 128
NODE = {"num_cpus": 3, "object_store_memory": 256 * 2**20}


def main(
    moments: Annotated[int, typer.Option(help="Kills of each kind.")] = 5,
    products: Annotated[int, typer.Option(help="Of the night's catalog.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Run the nights and print a row each."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base, catalog = publish_base(folder), write_products(folder / "night.parquet", products)
        seconds, codes = undisturbed(base, catalog, folder)
        table = Table(
            "killed", "after", "starts", "embedded by the last", "seconds", "rows", title=f"{products - BASE_PRODUCTS:,} new products"
        )
        table.add_row("nothing", "", "1", f"{products - BASE_PRODUCTS:,}", f"{seconds:.0f}", "right")
        wrong = 0
        parts = (products - BASE_PRODUCTS) // ROWS_A_PART
        for kind, after in track([(kind, rng.randrange(1, round(0.9 * parts))) for kind in KINDS for _ in range(moments)], "nights"):
            row, problems = disturbed(kind, after, base, catalog, codes, folder)
            wrong += bool(problems)
            table.add_row(kind, f"{after} of {parts}", *row, ", ".join(problems) or "right")
        Console(width=140).print(table)
    print(f"{wrong} of {moments * len(KINDS)} nights ended with wrong rows")
    raise typer.Exit(int(wrong > 0))


def undisturbed(base: Path, catalog: Path, folder: Path) -> tuple[float, dict[str, str]]:
    """How long the night takes, and the codes it ends with."""
    workspace = folder / "undisturbed"
    shutil.copytree(base, workspace)
    cluster = new_cluster()
    try:
        started = time.perf_counter()
        ended = finish(start_night(catalog, workspace, cluster))
        assert ended.code == 0, ended.told
        return time.perf_counter() - started, codes_of(workspace)
    finally:
        end_cluster(cluster)


def disturbed(
    kind: str, after: int, base: Path, catalog: Path, codes: dict[str, str], folder: Path
) -> tuple[tuple[str, str, str], list[str]]:
    """One night in which something is killed: how often it was started, what the last start embedded, seconds; and what is wrong."""
    workspace = folder / "disturbed"
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(base, workspace)
    cluster = new_cluster()
    started, starts = time.perf_counter(), 1
    try:
        job = start_night(catalog, workspace, cluster)
        wait_for_parts(job, workspace, after)
        strike(kind, job, cluster)
        ended = finish(job)
        while ended.code != 0 and starts < 3:
            starts += 1
            ended = finish(start_night(catalog, workspace, cluster))
        row = (str(starts), f"{ended.result.get('embedded', 0):,}", f"{time.perf_counter() - started:.0f}")
        return row, wrong_rows(workspace, catalog, codes) if ended.code == 0 else [f"exit code {ended.code}: {ended.told[-300:]}"]
    finally:
        end_cluster(cluster)


def wait_for_parts(job: "subprocess.Popen[str]", workspace: Path, count: int) -> None:
    """Until so many parts were stored beside those that there were."""
    folder = next((workspace / "embeddings").iterdir())
    before = len(list(folder.glob("part-*")))
    while len(list(folder.glob("part-*"))) < before + count:
        assert job.poll() is None, f"the night ended before it could be disturbed: {job.communicate()[1][-500:]}"
        time.sleep(0.02)


def strike(kind: str, job: "subprocess.Popen[str]", cluster: Cluster) -> None:
    """Kill one of a kind; a node is replaced by another, as an autoscaler would."""
    if kind == "driver":
        job.send_signal(signal.SIGKILL)
    elif kind == "node":
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        cluster.add_node(**NODE)
    else:
        names = {"embedding actor": lambda name: "EmbeddingActor" in name, "worker process": lambda name: name.startswith("ray::")}
        victims = [process for process in workers_of(cluster) if names[kind](process.info["cmdline"][0])]
        random.choice(victims).kill()


def workers_of(cluster: Cluster) -> list[psutil.Process]:
    """Worker processes of this cluster's nodes, and of no other on this machine."""
    nodes = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    processes = psutil.process_iter(["cmdline", "ppid"])
    return [process for process in processes if process.info["ppid"] in nodes and (process.info["cmdline"] or [""])[0].startswith("ray::")]


def start_night(catalog: Path, workspace: Path, cluster: Cluster) -> "subprocess.Popen[str]":
    flags = ["--flavor", "precision", "--catalog", str(catalog), "--workspace", str(workspace)]
    settings = (f"encoder.rows_per_part={ROWS_A_PART}", "encoder.actors_max=2")
    return start("reembed_catalog", flags, settings, RAY_ADDRESS=cluster.address, RAY_worker_niceness="0")


def new_cluster() -> Cluster:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 256 * 2**20, "include_dashboard": False})
    cluster.add_node(**NODE)
    return cluster


def end_cluster(cluster: Cluster) -> None:
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    typer.run(main)
