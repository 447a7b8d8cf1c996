"""A PostgreSQL server of its own, from Debian's package, in a folder that is thrown away; it can be killed and started again."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import make_url

USER = "nobody"
"""Whose processes the server is made of where root starts it: PostgreSQL refuses to be root's."""


@dataclass
class PostgresServer:
    """A server that listens on a socket in its folder, and on nothing else."""

    binaries: Path
    folder: Path
    careless: bool = False
    databases: int = field(default=0)

    def start(self) -> None:
        """Start it, and wait until it has recovered and answers."""
        settings = "-c listen_addresses='' -c max_connections=200 -c shared_buffers=32MB -c max_wal_size=256MB"
        if self.careless:
            settings += " -c fsync=off -c full_page_writes=off"
        log = self.folder / "log"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(log), "-w", "-o", f"-k {self.folder} {settings}", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "fast", "stop", check=False)

    def crash(self) -> None:
        """End it as a power cut would: kill -9 of the postmaster and all its children, without a last word."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False).stdout.split()
        for process in (pid, *map(int, children)):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)

    def new_database(self, like: str | None = None) -> str:
        """The URL of an empty database, or of a copy of another one that nobody is connected to."""
        self.databases += 1
        name = f"reviews_{self.databases}"
        with psycopg.connect(f"host={self.folder} user={USER} dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {make_url(like).database}" if like else ""))  # type: ignore[arg-type]
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self.binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        # Its output goes nowhere: a server that inherited a pipe would keep it open.
        subprocess.run(command, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)


def find_binaries() -> Path | None:
    """Where initdb is; None where Debian's package `postgresql` is not installed."""
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return Path(found).parent if found else places[-1].parent if places else None


@contextmanager
def postgres_server(binaries: Path, careless: bool = False) -> Iterator[PostgresServer]:
    """A server in a fresh folder, ended and removed afterwards.

    Args:
        careless: a commit need not be on the disk: faster, and nothing is lost as long as the machine itself goes on.
    """
    folder = Path(tempfile.mkdtemp(prefix="shelfcode-postgres-"))  # short: the path of a socket has an end at 107 characters
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    server = PostgresServer(binaries, folder, careless)
    try:
        server._run("initdb", "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
