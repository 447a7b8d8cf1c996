"""Nodes of a cluster before, during and after a night: fake_multinode, Ray's own autoscaler with nodes that are processes here.

python tests/benchmarks/autoscaling.py [--products 60000] [--most 3] [--idle-minutes 0.2]

The head has one CPU, and an embedding actor asks for two: it runs on worker nodes alone, as a GPU actor would.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import ray
import typer
import yaml
from night import finish, publish_base, start, write_products, wrong_rows
from rich.console import Console
from rich.table import Table

CPUS_A_NODE = 2


def main(
    products: Annotated[int, typer.Option(help="Of the night's catalog.")] = 60_000,
    most: Annotated[int, typer.Option(help="Worker nodes at the most.")] = 3,
    idle_minutes: Annotated[float, typer.Option(help="After which an idle node goes.")] = 0.2,
) -> None:
    """Run one night and print the number of worker nodes over time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace, catalog = publish_base(folder), write_products(folder / "night.parquet", products)
        cluster, address, session = start_cluster(folder, most, idle_minutes)
        try:
            ray.init(address=address, log_to_driver=False)
            rest = worker_nodes()
            flags = ["--flavor", "precision", "--catalog", str(catalog), "--workspace", str(workspace)]
            settings = ("encoder.rows_per_part=512", f"encoder.actors_max={most}", f"encoder.cpus_per_actor={CPUS_A_NODE}")
            started = time.perf_counter()
            job = start("reembed_catalog", flags, settings, RAY_ADDRESS=address, RAY_worker_niceness="0")
            seen = []
            while job.poll() is None:
                seen.append((time.perf_counter() - started, worker_nodes()))
                time.sleep(1)
            ended = finish(job)
            assert ended.code == 0, ended.told
            night = time.perf_counter() - started
            while worker_nodes() and time.perf_counter() - started < night + 60 * idle_minutes + 120:
                time.sleep(1)
            after, gone = worker_nodes(), time.perf_counter() - started - night
        finally:
            ray.shutdown()
            end(cluster)
            shutil.rmtree(session, ignore_errors=True)
        table = Table("", "worker nodes", "after", title=f"{products:,} products, {night:.0f} s; at most {most} worker nodes")
        table.add_row("at rest", str(rest), "")
        for count in range(1, max((nodes for _, nodes in seen), default=0) + 1):
            table.add_row("under load", str(count), f"{next(moment for moment, nodes in seen if nodes >= count):.0f} s")
        table.add_row("at rest again", str(after), f"{gone:.0f} s after its end")
        Console().print(table)
        print("rows:", ", ".join(wrong_rows(workspace, catalog, None)) or "right")
        raise typer.Exit(int(not (rest == after == 0 and max(nodes for _, nodes in seen) == most)))


def worker_nodes() -> int:
    """Nodes alive beside the head."""
    return sum(node["Alive"] and "node:__internal_head__" not in node["Resources"] for node in ray.nodes())


def start_cluster(folder: Path, most: int, idle_minutes: float) -> tuple["subprocess.Popen[bytes]", str, str]:
    """A head without CPUs for actors, and an autoscaler that may add worker nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    config = {
        "cluster_name": "night", "max_workers": most, "idle_timeout_minutes": idle_minutes, "upscaling_speed": 100,
        "provider": {
            "type": "fake_multinode", "gcs_address": address, "use_node_id_as_ip": True, "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            "head": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": CPUS_A_NODE, "object_store_memory": 2**28}, "node_config": {}, "min_workers": 0, "max_workers": most,
            },
        },
        "head_node_type": "head", "file_mounts": {}, "cluster_synced_files": [], "file_mounts_sync_continuously": False, "auth": {},
        "rsync_exclude": [], "rsync_filter": [], "initialization_commands": [], "setup_commands": [], "head_setup_commands": [],
        "worker_setup_commands": [], "head_start_ray_commands": [], "worker_start_ray_commands": [],
    }  # fmt: skip
    (folder / "autoscaler.yaml").write_text(yaml.safe_dump(config))
    session = tempfile.mkdtemp(prefix="ray-")
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}", "--num-cpus=1",
        "--include-dashboard=false",
        f"--autoscaling-config={folder / 'autoscaler.yaml'}", f"--temp-dir={session}", "--object-store-memory=300000000",
        "--disable-usage-stats",
    ]  # fmt: skip
    environment = {**os.environ, "RAY_FAKE_CLUSTER": "1", "RAY_AUTH_MODE": "disabled"}
    cluster = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(120):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(5)  # the autoscaler comes a little later
                return cluster, address, session
        time.sleep(0.5)
    sys.exit("the cluster did not start")


def end(cluster: "subprocess.Popen[bytes]") -> None:
    """End the cluster's own processes, and no other Ray on this machine."""
    import psutil

    family = psutil.Process(cluster.pid).children(recursive=True)
    cluster.terminate()
    _, alive = psutil.wait_procs(family, timeout=5)
    for process in alive:
        process.kill()
    cluster.kill()
    cluster.wait()


if __name__ == "__main__":
    os.environ["RAY_AUTH_MODE"] = "disabled"
    typer.run(main)
