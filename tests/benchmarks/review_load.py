"""Reviewers at work over HTTP, all at once, against the endpoint as the job serves it: is a product handed out twice, a decision lost?

python tests/benchmarks/review_load.py [--reviewers 20] [--seconds 60] [--findings 20000] [--postgres] [--kills 0] [--restarts 0] [--plain]

Each reviewer has a key of their own, is handed a finding, decides it, and is handed the next at once. A request that is not answered
(status 0) or answered with 5xx is sent again as it is, as any client would. A kill ends the ingress's replica with kill -9, a restart ends
the whole cluster so, both in mid-work; the store is read at the end, by another process than the one that wrote it. --plain leaves Ray
out: the same application by uvicorn in a process of its own, which a kill ends, and which is then started anew.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
import yaml
from rich.console import Console
from rich.table import Table

from shelfcode.audit.decisions.desk import open_desk
from shelfcode.serving.api.access import key_hash
from shelfcode.workspace import Workspace

# A cluster that comes and goes with this script wants no token written under the home folder.
os.environ.update({"RAY_AUTH_MODE": "disabled", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / room) for room in ("jobs", "serving", "audit")] + [str(TESTS.parent)]
from http_load import Connection  # noqa: E402
from planted_audit import plant_audit  # noqa: E402
from postgres_server import find_binaries, postgres_server  # noqa: E402
from running import ROOT, RayCluster, free_ports, job_command, wait_until_it_answers  # noqa: E402
from served import serving_cluster  # noqa: E402

LATEST = "/v1/audits/latest"


@dataclass
class Work:
    """What all reviewers did, as they were told.

    Attributes:
        handed: finding -> who was handed it.
        acknowledged: finding -> whose decision of it was answered with 200.
        answers: what was asked -> status and seconds of each answer.
    """

    handed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))


def main(
    reviewers: Annotated[int, typer.Option(help="At work at once.")] = 20,
    seconds: Annotated[float, typer.Option(help="That they work.")] = 60,
    findings: Annotated[int, typer.Option(help="Of the audit.")] = 20_000,
    postgres: Annotated[bool, typer.Option(help="Decisions go to PostgreSQL instead of SQLite.")] = False,
    kills: Annotated[int, typer.Option(help="Kills of the ingress's replica.")] = 0,
    restarts: Annotated[int, typer.Option(help="Kills of the whole cluster, which is then started anew.")] = 0,
    plain: Annotated[bool, typer.Option(help="The application without Ray; a kill ends its process.")] = False,
) -> None:
    """Serve, let them work, and count."""
    binaries = find_binaries()
    if postgres and binaries is None:
        raise typer.BadParameter("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory() as name, postgres_server(binaries) if postgres and binaries else nullcontext() as database:
        folder, names = Path(name), [f"reviewer-{number:02d}" for number in range(reviewers)]
        store = database.new_database() if database else f"sqlite:///{folder / 'review.sqlite'}"
        audit = plant_audit(Workspace(str(folder / "workspace")), findings).manifest.audit
        keys = [{"name": name, "sha256": key_hash(name), "review": "reviewer"} for name in names]
        surfaces = {"surfaces": {"search": "precision"}, "auth": "keys", "keys": keys, "review": {"store": store}}
        (folder / "surfaces.yaml").write_text(yaml.safe_dump(surfaces))
        port, work = free_ports(1)[0], Work()
        if plain:
            work_plainly(folder, port, names, seconds, kills, work)
            report(work, store, audit, seconds)
        for stretch in range(restarts + 1):
            with served(folder, port, names[0]) as cluster:
                print(f"served, {'for the first time' if stretch == 0 else 'again'}", flush=True)
                asyncio.run(at_work(f"http://127.0.0.1:{port}", names, seconds / (restarts + 1), work, cluster, kills))
                if stretch < restarts:
                    kill_cluster(cluster)
        report(work, store, audit, seconds)


def work_plainly(folder: Path, port: int, names: list[str], seconds: float, kills: int, work: Work) -> None:
    """As `at_work`, on one process without Ray, which is killed and started anew so many times."""
    servers = [start_plain(folder, port)]

    async def kill() -> None:
        for _ in range(kills):
            await asyncio.sleep(seconds / (kills + 1))
            servers[-1].kill()
            servers[-1].wait()
            servers.append(start_plain(folder, port))
            print("killed the server, and started it anew", flush=True)

    async def work_and_kill() -> None:
        await until_reviewable(f"http://127.0.0.1:{port}", names[0])
        end, killer = time.monotonic() + seconds, asyncio.ensure_future(kill())
        await asyncio.gather(*(review(f"http://127.0.0.1:{port}", name, end, work) for name in names))
        await killer

    try:
        asyncio.run(work_and_kill())
    finally:
        servers[-1].kill()
        servers[-1].wait()


def start_plain(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """The application by uvicorn, in a process of its own."""
    here = str(Path(__file__).parent)
    call = f"import sys; sys.path.insert(0, {here!r}); import review_load; review_load.serve_plainly({str(folder)!r}, {port})"
    return subprocess.Popen([sys.executable, "-c", call], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def serve_plainly(folder: str, port: int) -> None:
    """Serve until the end of the process."""
    import pytest
    import uvicorn

    sys.path.append(str(TESTS / "serve_apps"))
    from canned import Canned
    from fronted import fronted

    canned = Canned("keys", yaml.safe_load((Path(folder) / "surfaces.yaml").read_text()), requests_per_second=1_000_000)
    canned.workspace = str(Path(folder) / "workspace")
    uvicorn.run(fronted(canned, pytest.MonkeyPatch()), port=port, log_level="critical", lifespan="off", access_log=False)


@contextmanager
def served(folder: Path, port: int, key: str) -> Iterator[RayCluster]:
    """The workspace served by the job until the end of the block, with the audit in the store."""
    command = job_command(
        "serve_surfaces", "--workspace", str(folder / "workspace"), "--surfaces", str(folder / "surfaces.yaml"), "--port", str(port)
    )
    with serving_cluster() as cluster, (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "RAY_ADDRESS": cluster.address}, stdout=log, stderr=log)
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/v1/health", server)
            asyncio.run(until_reviewable(f"http://127.0.0.1:{port}", key))
            yield cluster
        finally:
            server.kill()
            server.wait()


async def until_reviewable(url: str, key: str) -> None:
    """Until the audit is in the store, which the first request has done."""
    connection = Connection(url)
    while (answer := await connection.ask(message(url, key, f"{LATEST}/facets")))[0] != 200:
        print(f"waiting: {answer[0]} {answer[1][:200]!r}", flush=True)
        await asyncio.sleep(1)
    connection.close()


async def at_work(url: str, names: list[str], seconds: float, work: Work, cluster: RayCluster, kills: int) -> None:
    """All reviewers work for some time, while the replica is killed now and then."""
    end = time.monotonic() + seconds
    killer = asyncio.ensure_future(kill_replicas(cluster, kills, seconds))
    await asyncio.gather(*(review(url, name, end, work) for name in names))
    await killer


async def review(url: str, name: str, end: float, work: Work) -> None:
    """One reviewer: handed a finding, decided, handed the next."""
    connection = Connection(url)
    while time.monotonic() < end:
        handed = await answered(connection, message(url, name, f"{LATEST}/queue/next", {}), "next", work, end)
        if handed is None or not handed["cards"]:
            break
        (card,) = handed["cards"]
        work.handed[card["finding_id"]].add(name)
        shown = {field: card[field] for field in ("finding_id", "version", "arm", "batch")}
        body = {**shown, "verdict": "keep", "idempotency_key": uuid.uuid4().hex, "seconds": 0.0}
        if await answered(connection, message(url, name, f"{LATEST}/decisions", body), "decide", work, end) is not None:
            work.acknowledged[card["finding_id"]].add(name)
    connection.close()


async def answered(connection: Connection, sent: bytes, what: str, work: Work, end: float) -> Any:
    """The answer, asked for until there is one; None once the time is over, or where the request was refused."""
    while True:
        begun = time.perf_counter()
        status, body = await connection.ask(sent)
        work.answers[what].append((status, time.perf_counter() - begun))
        if status == 200:
            return json.loads(body)
        if 400 <= status < 500 or time.monotonic() > end:
            return None
        await asyncio.sleep(0.2)


def message(url: str, key: str, path: str, body: Any = None) -> bytes:
    """A whole request."""
    sent = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: {url.partition('//')[2]}\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent


async def kill_replicas(cluster: RayCluster, kills: int, seconds: float) -> None:
    """End the replica of the ingress with kill -9, so many times, evenly over the time."""
    for _ in range(kills):
        await asyncio.sleep(seconds / (kills + 1))
        replicas = [process for process in of_cluster(cluster) if "ServeReplica:surfaces:surfaces" in title(process)]
        for replica in replicas:
            replica.send_signal(signal.SIGKILL)
        print(f"killed {len(replicas)} replica of the ingress", flush=True)


def kill_cluster(cluster: RayCluster) -> None:
    """End all processes of a cluster with kill -9."""
    processes = of_cluster(cluster)
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=30)
    print(f"killed the cluster: {len(processes)} processes", flush=True)


def of_cluster(cluster: RayCluster) -> list[psutil.Process]:
    """The processes of a cluster: those that name its folder, and their children, whose titles Ray has changed."""
    roots = [process for process in psutil.process_iter() if cluster.folder in title(process)]
    every = {child.pid: child for root in roots if root.is_running() for child in [root, *root.children(recursive=True)]}
    return [process for process in every.values() if process.pid != os.getpid()]


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # ended meanwhile
        return ""


def report(work: Work, store: str, audit: str, seconds: float) -> None:
    """Print what came of it, and fail where a product was handed out twice, or a decision lost or doubled."""
    desk, kept = open_desk(store), dict[str, list[str]]()
    events, first = [], 0
    while page := desk.history(audit, first=first, limit=5000):
        events += page
        first += len(page)
    for event in events:
        if event.kind == "decision":
            kept.setdefault(event.finding_id, []).append(event.by)
    twice = sum(len(names) > 1 for names in work.handed.values())
    lost = sum(name not in kept.get(finding, []) for finding, names in work.acknowledged.items() for name in names)
    doubled = sum(len(names) > 1 for names in kept.values())
    table = Table("asked", "answers 200", "others", "per second", "p50 ms", "p95 ms", "p99 ms")
    for what, answers in work.answers.items():
        good = np.array([took for status, took in answers if status == 200]) * 1000
        others = defaultdict[int, int](int)
        for status, _ in answers:
            others[status] += status != 200
        p50, p95, p99 = (f"{value:.0f}" for value in np.percentile(good, [50, 95, 99]))
        wrong = ", ".join(f"{count} x {status}" for status, count in others.items() if count) or "none"
        table.add_row(what, f"{len(good):,}", wrong, f"{len(good) / seconds:.0f}", p50, p95, p99)
    Console(width=120).print(table)
    decided = sum(map(len, work.acknowledged.values()))
    print(f"{store.partition(':')[0]}: {len(work.handed):,} products handed out, {twice} of them to two reviewers")
    print(f"{decided:,} decisions acknowledged, {lost} of them lost; {doubled} products decided twice")
    raise typer.Exit(int(bool(twice or lost or doubled)))


if __name__ == "__main__":
    typer.run(main)
