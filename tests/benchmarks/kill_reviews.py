"""Kill -9 of deciding processes, and of the PostgreSQL server under them, in mid-work: no acknowledged decision may be lost or doubled.

python tests/benchmarks/kill_reviews.py [--kills 25] [--findings 2000] [--seed 0]

Reviewers are processes that take the next finding, decide it, and write the key of each decision that was acknowledged into a file of
their own. Over SQLite one of them is killed again and again; over PostgreSQL, whose server has fsync on as it is delivered, the whole
server is killed (postmaster and all backends) and started again, while the reviewers go on by themselves. In the end every key
that was acknowledged must be in the store exactly once, and every state must be what its events come to.
"""

import contextlib
import multiprocessing
import os
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

sys.path.append(str(Path(__file__).parents[1] / "audit"))

from planted_audit import plant_audit
from postgres_server import PostgresServer, find_binaries, postgres_server
from rich.console import Console
from rich.table import Table

from shelfcode.audit.decisions.decision import Decision
from shelfcode.audit.decisions.desk import open_desk
from shelfcode.audit.decisions.tables import EVENTS, REQUESTS
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

REVIEWERS = 3

FORK = multiprocessing.get_context("fork")


def main(
    kills: Annotated[int, typer.Option(help="Of processes over SQLite, and of the server.")] = 25,
    findings: Annotated[int, typer.Option(help="Of the audit.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Run both and print a row each."""
    rng = random.Random(seed)
    table = Table("store", "killed", "kills", "acknowledged", "decisions kept", "lost", "doubled", "wrong states", "seconds")
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audit = plant_audit(Workspace(str(folder / "workspace")), findings).manifest.audit
        rows = [killed_processes(folder, audit, kills, rng)]
        binaries = find_binaries()
        if binaries is None:
            print("no PostgreSQL server is installed: its half is left out", file=sys.stderr)
        else:
            with postgres_server(binaries) as server:
                rows.append(killed_servers(folder, audit, kills, rng, server))
        for row in rows:
            bad += sum(map(int, row[5:8]))
            table.add_row(*row)
    Console(width=140).print(table)
    raise typer.Exit(int(bad > 0))


def killed_processes(folder: Path, audit: str, kills: int, rng: random.Random) -> tuple[str, ...]:
    """SQLite, whose reviewers are killed one by one; each is followed by another."""
    url, started = f"sqlite:///{folder}/reviews.sqlite", time.perf_counter()
    take_in(url, folder, audit)
    running = [start(url, audit, number, folder) for number in range(REVIEWERS)]
    for kill in range(kills):
        wait_for_decisions(folder, 3)
        time.sleep(rng.random() * 0.2)
        victim = running.pop(rng.randrange(len(running)))
        victim.kill()
        victim.join()
        running.append(start(url, audit, REVIEWERS + kill, folder))
    return judge("SQLite", "deciding process", kills, url, audit, folder, running, started)


def killed_servers(folder: Path, audit: str, kills: int, rng: random.Random, server: PostgresServer) -> tuple[str, ...]:
    """PostgreSQL, whose server dies under its reviewers."""
    for file in folder.glob("told-*"):
        file.unlink()
    url, started = server.new_database(), time.perf_counter()
    take_in(url, folder, audit)
    running = [start(url, audit, number, folder) for number in range(REVIEWERS)]
    for _ in range(kills):
        wait_for_decisions(folder, 3)
        time.sleep(rng.random() * 0.2)
        server.crash()
        server.start()
    return judge("PostgreSQL", "server", kills, url, audit, folder, running, started)


def take_in(url: str, folder: Path, audit: str) -> None:
    """Make the store; nothing of it stays open that a fork would inherit."""
    desk = open_desk(url)
    desk.take_in(Workspace(str(folder / "workspace")), audit)
    desk.close()


def start(url: str, audit: str, number: int, folder: Path) -> ForkProcess:
    """A reviewer in a process of its own, forked, so that nobody waits for imports."""
    # A daemon: it ends with this script, whatever ends that.
    reviewer = FORK.Process(target=review, args=(url, audit, f"reviewer {number}", folder / f"told-{number}"), daemon=True)
    reviewer.start()
    return reviewer


def review(url: str, audit: str, name: str, told: Path) -> None:
    """Decide one finding after the other, and note each decision that was acknowledged; a server that is away is asked again."""
    desk = open_desk(url)
    with told.open("a") as file:
        while True:
            with contextlib.suppress(ShelfcodeError):
                cards = desk.next(audit, name)
                if not cards:
                    return
                decision = Decision(cards[0].finding_id, "keep", cards[0].version, uuid.uuid4().hex)
                desk.decide(audit, name, decision)
                file.write(decision.idempotency_key + "\n")
                file.flush()
                os.fsync(file.fileno())


def acknowledged(folder: Path) -> list[str]:
    """Keys of whole lines: a reviewer may be killed while it writes."""
    return [line for file in folder.glob("told-*") for line in file.read_text().split("\n")[:-1]]


def wait_for_decisions(folder: Path, more: int) -> None:
    before, until = len(acknowledged(folder)), time.monotonic() + 300
    while len(acknowledged(folder)) < before + more:
        assert time.monotonic() < until, "nobody decides anything any more; are there enough --findings?"
        time.sleep(0.02)


def judge(
    store: str, killed: str, kills: int, url: str, audit: str, folder: Path, running: list[ForkProcess], started: float
) -> tuple[str, ...]:
    """A row of the table, after the reviewers were ended."""
    for reviewer in running:
        reviewer.kill()
        reviewer.join()
    told, desk = acknowledged(folder), open_desk(url)
    with desk.database.engine.connect() as connection:
        kept = set(connection.execute(sa.select(REQUESTS.c.idempotency_key)).scalars())
        findings = Counter(connection.execute(sa.select(EVENTS.c.finding_id).where(EVENTS.c.kind == "decision")).scalars())
    lost, doubled, wrong = len(set(told) - kept), sum(findings.values()) - len(findings), len(desk.verify(audit))
    desk.close()
    seconds = time.perf_counter() - started
    return store, killed, str(kills), str(len(told)), str(sum(findings.values())), str(lost), str(doubled), str(wrong), f"{seconds:.0f}"


if __name__ == "__main__":
    typer.run(main)
