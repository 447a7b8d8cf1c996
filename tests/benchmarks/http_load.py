"""Load on an HTTP server, from a process of its own: closed loop with so many clients, or so many requests a second whatever comes.

python tests/benchmarks/http_load.py URL [--bodies FILE] [--clients 32] [--seconds 15] [--rate 0] [--header 'Name: value']

On a machine of few cores a client takes from the server what it spends itself. Requests are therefore encoded beforehand and sent
over kept connections by a bare protocol on uvloop with httptools' parser; what it spent is among the figures.
"""

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httptools
import numpy as np
import typer
import uvloop

TIMEOUT_S = 60.0
UNANSWERED = 0
"""The status of a request whose connection was refused or broke, or that took longer than TIMEOUT_S."""

Check = Callable[[int, bytes], bool]
"""Place of the request among those given, body of an answer with status 200 -> whether it is right. Its time is the client's."""


@dataclass(frozen=True)
class Load:
    """What to send: `bodies` by POST to the URL or, where there are none, GET of `paths` or of the URL itself; in turn, over and over."""

    url: str
    bodies: tuple[bytes, ...] = ()
    paths: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    clients: int = 32  # connections; each has one request under way at most
    seconds: float = 15.0
    warmup_s: float = 3.0  # comes before `seconds`; not counted
    rate: float = 0.0  # requests/s, at random moments; 0: each client sends its next request when it has an answer


@dataclass(frozen=True)
class Figures:
    """Of the requests that were due after the warm-up. Latencies are of answers with status 200, from the moment a request was due."""

    requests: int
    failures: dict[int, int]  # status -> requests; UNANSWERED among them
    wrong: int  # status 200, but not what the check wants
    requests_per_s: float  # with status 200
    p50_ms: float
    p90_ms: float
    p99_ms: float
    client_cores: float  # that the load itself kept busy


def measure(load: Load, check: Check | None = None) -> Figures:
    """`drive` in a process of its own; `check` must be a function of a module, and what it collects stays there."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(drive, load, check).result()


def drive(load: Load, check: Check | None = None) -> Figures:
    """Send the load from this process and wait for the last answer."""
    return uvloop.run(_drive(load, check))


async def _drive(load: Load, check: Check | None) -> Figures:
    messages = list(enumerate(encoded(load)))
    counted_from = time.perf_counter() + load.warmup_s
    due, turn, answers = due_times(load), cycle(messages), []
    spent = time.process_time()

    async def client() -> None:
        connection = Connection(load.url)
        for due_s in due:
            if (early_s := due_s - time.perf_counter()) > 0:
                await asyncio.sleep(early_s)
            place, message = next(turn)
            status, body = await connection.ask(message)
            done_s = time.perf_counter()
            right = check is None or status != 200 or check(place, body)
            if due_s >= counted_from:
                answers.append((status, due_s, done_s, right))
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(load.clients)))
    return figures(answers, counted_from, load.seconds, (time.process_time() - spent) / (time.perf_counter() - started))


def encoded(load: Load) -> list[bytes]:
    """Whole requests, ready to be written."""
    url = urlsplit(load.url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": url.netloc, **load.headers}.items())
    if load.bodies:
        return [f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in load.bodies]
    return [f"GET {asked} HTTP/1.1\r\n{lines}\r\n".encode() for asked in load.paths or (path,)]


def due_times(load: Load) -> Iterator[float]:
    """When the next request is due, for whichever client asks first: at once, or at the next of moments drawn beforehand (Poisson)."""
    drawn = random.Random(0)
    due_s = time.perf_counter()
    until_s = due_s + load.warmup_s + load.seconds
    while due_s < until_s:
        yield due_s
        due_s = due_s + drawn.expovariate(load.rate) if load.rate else time.perf_counter()


def figures(answers: list[tuple[int, float, float, bool]], counted_from: float, seconds: float, client_cores: float) -> Figures:
    """Of (status, due, done, right) each; a server that is still answering when the last request has long been due is not flattered."""
    statuses = Counter(status for status, *_ in answers)
    good = np.array([(due_s, done_s) for status, due_s, done_s, _ in answers if status == 200]).reshape(-1, 2)
    took_ms = (good[:, 1] - good[:, 0]) * 1000 if len(good) else np.array([np.nan])
    took_s = max(seconds, float(good[:, 1].max()) - counted_from) if len(good) else seconds
    p50, p90, p99 = (round(float(p), 2) for p in np.percentile(took_ms, [50, 90, 99]))
    failures = {status: count for status, count in sorted(statuses.items()) if status != 200}
    wrong = sum(not right for *_, right in answers)
    return Figures(len(answers), failures, wrong, round(len(good) / took_s, 2), p50, p90, p99, round(client_cores, 3))


class Connection(asyncio.Protocol):
    """One kept connection, opened anew when the server has closed it; a request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; UNANSWERED and why, when there is none."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self.transport is None or self.transport.is_closing():
                    await loop.create_connection(lambda: self, self.host, self.port)
                self.answer = loop.create_future()
                self.transport.write(message)
                return await self.answer
        except OSError as error:  # TimeoutError is one, too
            self.close()
            await asyncio.sleep(0.1)  # a server that is gone shall not be asked a million times
            return UNANSWERED, repr(error).encode()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.parser, self.parts = httptools.HttpResponseParser(self), []

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        if not self.parser.should_keep_alive():
            self.transport.close()
        body, self.parts = b"".join(self.parts), []
        self.answer.set_result((self.parser.get_status_code(), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionResetError(str(error)))


def main(
    url: str,
    bodies: Annotated[Path | None, typer.Option(help="A body to POST on each line; none: GET.")] = None,
    clients: Annotated[int, typer.Option(help="Connections.")] = 32,
    seconds: Annotated[float, typer.Option(help="After the warm-up.")] = 15.0,
    warmup_s: Annotated[float, typer.Option(help="Not counted.")] = 3.0,
    rate: Annotated[float, typer.Option(help="Requests a second; 0: as fast as they are answered.")] = 0.0,
    header: Annotated[list[str] | None, typer.Option(help="Name: value.")] = None,
) -> None:
    """Print the figures, one a line."""
    lines = tuple(bodies.read_bytes().splitlines()) if bodies else ()
    headers = dict(line.split(": ", 1) for line in header or ["Content-Type: application/json"])
    load = Load(url, lines, (), headers, clients, seconds, warmup_s, rate)
    for name, value in asdict(drive(load)).items():
        print(f"{name:16} {value}")


if __name__ == "__main__":
    typer.run(main)
