"""Peak memory of a night's driver as the catalog grows, with an encoder that costs nothing, and of the largest worker beside it.

python tests/benchmarks/nightly_memory.py [--products 50000 --products 500000]

Each night has all its products new. Memory is what the kernel calls VmHWM: the most that a process ever had resident.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from night import BASE_PRODUCTS, finish, publish_base, start, write_products, wrong_rows
from rich.console import Console
from rich.table import Table


def main(products: Annotated[list[int] | None, typer.Option(help="Of a night's catalog; a night each.")] = None) -> None:
    """Run the nights and print the table."""
    table = Table("products", "driver, MiB", "largest worker, MiB", "seconds", "rows")
    drivers = []
    for count in products or [50_000, 500_000]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            workspace, catalog = publish_base(folder), write_products(folder / "night.parquet", count)
            started = time.perf_counter()
            flags = ["--flavor", "precision", "--catalog", str(catalog), "--workspace", str(workspace)]
            job = start("reembed_catalog", flags, ("encoder.actors_max=2", "encoder.rows_per_part=2048"), RAY_worker_niceness="0")
            peaks = Peaks(job)
            ended = finish(job, 3600)
            assert ended.code == 0, ended.told
            assert ended.result["embedded"] == count - BASE_PRODUCTS
            drivers.append(peaks.driver)
            seconds = time.perf_counter() - started
            wrong = ", ".join(wrong_rows(workspace, catalog, None)) or "right"
            table.add_row(f"{count:,}", f"{peaks.driver / 2**20:.0f}", f"{peaks.worker / 2**20:.0f}", f"{seconds:.0f}", wrong)
    table.add_row("must", "grows by less than 1.3 x", "", "", "")
    Console(width=120).print(table)
    print(f"the driver's peak grows by {drivers[-1] / drivers[0]:.2f} x")


class Peaks:
    """Watches a job's processes until it ends; peaks in bytes."""

    def __init__(self, job: "subprocess.Popen[str]") -> None:
        self.driver = self.worker = 0
        self._job = job
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self._job.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                self.driver = max(self.driver, peak(self._job.pid))
                for child in psutil.Process(self._job.pid).children(recursive=True):
                    if child.cmdline() and child.cmdline()[0].startswith("ray::"):
                        self.worker = max(self.worker, peak(child.pid))
            time.sleep(0.3)


def peak(pid: int) -> int:
    """The most bytes that a process ever had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 if "VmHWM:" in status else 0


if __name__ == "__main__":
    if not Path("/proc/self").is_dir():
        sys.exit("this measurement reads /proc, which this system does not have")
    typer.run(main)
