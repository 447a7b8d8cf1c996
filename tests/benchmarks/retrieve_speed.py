"""Carts on the endpoint, on one machine and in one run: beside other decoders, while stock changes, while releases move, while it dies.

python tests/benchmarks/retrieve_speed.py WORKSPACE CONTEXTS [speed] [stock] [promotions] [bulk] [--retriever NAME] [--seconds 60]

CONTEXTS is a file as `retrieve_batch` reads it, such as the cases.parquet that retrieval_quality.py makes. `speed` holds the endpoint
against transformers' constrained `generate` and vLLM's beam search of the same generator (retrieve_peers.py), which do without its last
stages, and so once more without these. `stock` changes what retailers have twenty times a second and holds every answer against it.
`promotions` moves CURRENT twenty times under load, over a shop of its own, and kills the decoder. `bulk` compares with the
lists of `retrieve_batch`. Run it on a machine that does nothing else.
"""

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pyarrow.parquet as pq
import typer
from http_load import Figures, Load, measure
from retrieve_peers import transformers_requests_per_second, vllm_requests_per_second
from rich.console import Console
from rich.table import Table

from shelfcode.releases.promotion import promote
from shelfcode.retrieval.published_retriever import NEVER_SOLD_FILE, RANKER_FILE, load_card
from shelfcode.workspace import Workspace

os.environ.update({"RAY_AUTH_MODE": "disabled", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
os.environ["RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE"] = "1000"  # as jobs/serve_surfaces.py has it; tests want each line of the log at once
TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "serving"), str(TESTS / "jobs"), str(TESTS.parent)]
from served import Endpoint, replica, serve_shop  # noqa: E402

CLIENTS, BEAMS, K = 16, 50, 20
CHANGES_A_SECOND, CHANGED_TOGETHER, CHANGERS = 20, 5, 4
PROMOTIONS = 20
MUST, MUST_SEEN_MS, MUST_BACK_S = 5.0, 1000.0, 30.0
PATH, PLAIN_PATH = "/v1/surfaces/search/retrieve", "/v1/surfaces/plain/retrieve"
WAYS = {"endpoint": PATH, "endpoint, no last stage": PLAIN_PATH}
screen = Console(width=140)


def main(
    workspace: Annotated[str, typer.Argument(help="With a release of precision and a generator for it.")],
    contexts: Annotated[Path, typer.Argument(help="Parquet of contexts.")],
    parts: Annotated[list[str] | None, typer.Argument(help="speed, stock, promotions, bulk; all when left out.")] = None,
    retriever: Annotated[str, typer.Option(help="Name of the generator.")] = "generator",
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 60.0,
    replicas: Annotated[int, typer.Option(help="Of the decoder.")] = 2,
    peers: Annotated[bool, typer.Option(help="Also measure transformers and vLLM.")] = True,
) -> None:
    """Print a table a part."""
    chosen = parts or ["speed", "stock", "promotions", "bulk"]
    rows = some_contexts(contexts, 512)
    if {"speed", "stock", "bulk"} & set(chosen):
        with tempfile.TemporaryDirectory() as folder:
            with_plain(Path(workspace), Path(folder), retriever)
            with endpoint_of(folder, retriever, replicas) as endpoint:
                if "bulk" in chosen:
                    bulk(endpoint, workspace, retriever, rows)
                ours = {name: loaded(endpoint, path, rows, seconds) for name, path in WAYS.items()} if "speed" in chosen else {}
                if "stock" in chosen:
                    stock(endpoint, rows, seconds)
        if ours:
            speed(ours, workspace, retriever, contexts, peers)
    if "promotions" in chosen:
        promotions()


def some_contexts(contexts: Path, number: int) -> list[dict[str, Any]]:
    """Some rows of a file of contexts, drawn at random."""
    table = pq.read_table(contexts)
    taken = np.random.default_rng(0).permutation(len(table))[:number]
    names = [name for name in ("cart", "history", "retailer_id", "at") if name in table.column_names]
    rows = table.take(taken).select(names).to_pylist()
    return [{**row, "at": row["at"].isoformat()} if hasattr(row.get("at"), "isoformat") else row for row in rows]


def bodies(rows: Sequence[dict[str, Any]]) -> tuple[bytes, ...]:
    return tuple(json.dumps({**row, "k": K, "beam_width": BEAMS}).encode() for row in rows)


@contextmanager
def endpoint_of(workspace: str, retriever: str, replicas: int, **more: Any) -> Iterator[Endpoint]:
    plain = {"flavor": "precision", "retrieve": {"retriever": f"{retriever}-plain", "seconds": 30}}
    surfaces = {
        "surfaces": {"search": "precision", "plain": plain},
        "auth": "none", "limits": {"requests_per_second": 1_000_000}, "poll_seconds": 0.2,
        "retrieve": {"retriever": retriever, "seconds": 30}, "retrieval": {"replicas_min": replicas, "replicas_max": replicas}, **more,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        shop: Any = SimpleNamespace(workspace=Workspace(workspace))
        with serve_shop(shop, Path(folder), surfaces) as endpoint:
            yield endpoint


def with_plain(workspace: Path, beside: Path, retriever: str) -> None:
    """The same workspace in another folder, with one more retriever: the generator without its last stages, as its peers decode it."""
    for path in workspace.iterdir():
        if path.name != "retrievers":
            (beside / path.name).symlink_to(path)
    (beside / "retrievers").mkdir()
    for path in (workspace / "retrievers").iterdir():
        (beside / "retrievers" / path.name).symlink_to(path)
    card = load_card(Workspace(str(workspace)), retriever)
    plain = beside / "retrievers" / f"{retriever}-plain"
    shutil.copytree(workspace / card.folder, plain / "v0001")
    for name in (RANKER_FILE, NEVER_SOLD_FILE):
        (plain / "v0001" / name).unlink(missing_ok=True)
    manifest = json.loads((plain / "v0001" / "manifest.json").read_text())
    manifest["recipe"]["generator"]["worth"] = dict.fromkeys(("new_to_user", "seldom_sold", "never_sold"), 1.0)
    (plain / "v0001" / "manifest.json").write_text(json.dumps({**manifest, "name": plain.name, "version": "v0001"}))
    (plain / "CURRENT").write_text(json.dumps({"version": "v0001", "previous": None}))


def loaded(endpoint: Endpoint, path: str, rows: Sequence[dict[str, Any]], seconds: float) -> Figures:
    return measure(Load(f"{endpoint.url}{path}", bodies(rows), clients=CLIENTS, seconds=seconds, warmup_s=10))


def speed(ours: Mapping[str, Figures], workspace: str, retriever: str, contexts: Path, peers: bool) -> None:
    """One context a request, B beams."""
    columns = ("decoder", "requests/s", "p50 ms", "p99 ms", "failures", *(f"{name} / it" for name in ours))
    table = Table(*columns, title=f"{CLIENTS} clients, {BEAMS} beams; must: {MUST:g} x")
    for name, found in ours.items():
        table.add_row(name, f"{found.requests_per_s:.1f}", f"{found.p50_ms:.0f}", f"{found.p99_ms:.0f}", str(found.failures))
    for name, decoder in (("transformers", transformers_requests_per_second), ("vLLM", vllm_requests_per_second)) if peers else ():
        theirs = decoder(workspace, f"{retriever}@current", str(contexts), beams=BEAMS, requests=64)
        ratios = [f"{found.requests_per_s / theirs.requests_per_second:.1f} x" for found in ours.values()]
        figures = (f"{theirs.requests_per_second:.1f}", f"{theirs.p50_ms:.0f}", f"{theirs.p99_ms:.0f}")
        table.add_row(f"{name}, {theirs.batch} together", *figures, "", *ratios)
    screen.print(table)


@dataclass(frozen=True)
class Asker:
    """A client with a connection that is kept."""

    url: str
    connection: list[http.client.HTTPConnection] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of the answer; a connection that broke is opened anew, once."""
        for last in (False, True):
            if not self.connection:
                self.connection.append(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60))
            try:
                self.connection[0].request(method, path, json.dumps(body), {"Content-Type": "application/json"})
                answer = self.connection[0].getresponse()
                return answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.connection.clear()
                if last:
                    return 0, repr(error)
        return 0, None


@dataclass
class Shelf:
    """What one retailer has, and when each product that it does not have went: the answers to its changes are known."""

    held: set[str]
    gone: dict[str, tuple[float, float]] = field(default_factory=dict)


def stock(endpoint: Endpoint, rows: Sequence[dict[str, Any]], seconds: float) -> None:
    """Load, twenty changes a second, and every answer held against what the retailer had while it was made."""
    catalog = sorted({item for row in rows for item in [*row.get("cart", []), *row.get("history", [])]})
    retailers, drawn = [f"shop {number}" for number in range(8)], random.Random(0)
    shelves = {name: Shelf(set(drawn.sample(catalog, min(len(catalog), 2000)))) for name in retailers}
    owner = Asker(endpoint.url)
    for name, shelf in shelves.items():
        owner.ask("PUT", stock_path(name), {"item_ids": sorted(shelf.held)})
    done, counts, late = threading.Event(), {"answers": 0, "failed": 0, "not in stock": 0, "twice": 0, "short": 0, "in cart": 0}, []
    lock = threading.Lock()

    def shopper(seed: int) -> None:
        own, asker = random.Random(seed), Asker(endpoint.url)
        while not done.is_set():
            row, name = own.choice(rows), own.choice(retailers)
            begun = time.monotonic()
            status, told = asker.ask("POST", PATH, {**row, "retailer_id": name, "k": K, "beam_width": BEAMS})
            with lock:
                counts["answers"] += 1
                if status != 200:
                    counts["failed"] += 1
                    continue
                found = [result["item_id"] for result in told["results"]]
                counts["twice"] += len(found) - len(set(found))
                counts["in cart"] += len(set(found) & set(row.get("cart", [])))
                counts["short"] += K - len(found)
                counts["not in stock"] += sum(
                    item not in shelves[name].held and shelves[name].gone.get(item, (0, -1.0))[1] < begun for item in found
                )

    def changing(number: int) -> None:
        own, asker, due = random.Random(99 + number), Asker(endpoint.url), time.monotonic()
        while not done.is_set():
            due += CHANGERS / CHANGES_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            name = own.choice(retailers[number::CHANGERS])
            shelf = shelves[name]
            out = own.sample(sorted(shelf.held), CHANGED_TOGETHER)
            came = [item for item in own.sample(catalog, CHANGED_TOGETHER) if item not in out]
            begun = time.monotonic()
            with lock:  # from now on either may be seen
                shelf.held.update(came)
                shelf.gone.update(dict.fromkeys(out, (begun, float("inf"))))
                shelf.held.difference_update(out)
            status, told = asker.ask("PUT", stock_path(name), {"add": came, "remove": out})
            ended = time.monotonic()
            with lock:
                late.append((ended - begun) * 1000)
                changes["failed"] += status != 200
                changes["made"] += 1
                changes["not seen by all at once"] += status == 200 and not told["seen_by_all"]
                shelf.gone.update({item: (begun, ended) for item in out if item not in shelf.held})

    changes = {"made": 0, "failed": 0, "not seen by all at once": 0}
    threads = [threading.Thread(target=shopper, args=(seed,)) for seed in range(CLIENTS)]
    threads += [threading.Thread(target=changing, args=(number,)) for number in range(CHANGERS)]
    for thread in threads:
        thread.start()
    seen = looks(endpoint, shelves, retailers, catalog, seconds)
    done.set()
    for thread in threads:
        thread.join()
    table = Table("figure", "must", "measured", title=f"{seconds:g} s, {CLIENTS} clients, {CHANGES_A_SECOND} changes of stock a second")
    for name, count in {**counts, **{f"changes: {name}": count for name, count in changes.items()}}.items():
        table.add_row(name, "" if name in ("answers", "changes: made", "short") else "0", f"{count:,}")
    table.add_row("a change is taken, ms: p50, p99", "", f"{np.percentile(late, 50):.0f}, {np.percentile(late, 99):.0f}")
    p50, p99 = np.percentile(seen, [50, 99]) if seen else (float("nan"),) * 2
    table.add_row(f"a change is seen, ms after its answer, of {len(seen)}: p50, p99", f"<= {MUST_SEEN_MS:g}", f"{p50:.0f}, {p99:.0f}")
    screen.print(table)


def looks(endpoint: Endpoint, shelves: dict[str, Shelf], retailers: Sequence[str], catalog: Sequence[str], seconds: float) -> list[float]:
    """Milliseconds from the answer to a change until a request shows it, over and over, at a retailer that nobody else changes.

    0 where the very next request did; else up to the answer of the first that did.
    """
    asker, seen, end = Asker(endpoint.url), [], time.monotonic() + seconds
    while time.monotonic() < end:
        held = random.sample(list(catalog), 3)
        asker.ask("PUT", stock_path("looked at"), {"item_ids": held})
        answered, tries = time.monotonic(), 0
        while True:
            tries += 1
            _, told = asker.ask("POST", PATH, {"retailer_id": "looked at", "k": K, "beam_width": BEAMS})
            if {result["item_id"] for result in told["results"]} == set(held):
                break
        seen.append(0.0 if tries == 1 else (time.monotonic() - answered) * 1000)
    return seen


def stock_path(retailer: str) -> str:
    return f"/v1/retailers/{retailer.replace(' ', '%20')}/availability"


def promotions() -> None:
    """CURRENT moves twenty times under load; then the decoder is killed. Nothing may fail or mix."""
    import released
    from untrained_retriever import publish_untrained

    with tempfile.TemporaryDirectory() as folder:
        shop = released.open_shop(f"{folder}/shop", tiny=Path(folder) / "tiny")
        items, codes = shop.products["item_id"].to_pylist(), {}
        for seed in (1, 2):
            manifest = shop.release("precision", seed)
            publish_untrained(shop.workspace, manifest, {"1": items[::2]})
            tables = shop.workspace.read_tables(shop.workspace.parts(f"{manifest.folder}/semantic_ids"))
            codes[manifest.name] = {row["item_id"]: row["semantic_id"] for part in tables for row in part.to_pylist()}
        with endpoint_of(shop.workspace.url, "generator", 1) as endpoint:
            counts, fallbacks, done = {"answers": 0, "failed": 0, "mixed": 0}, 0, threading.Event()
            answers: list[tuple[float, Any]] = []

            def shopper() -> None:
                asker = Asker(endpoint.url)
                while not done.is_set():
                    status, told = asker.ask("POST", PATH, {"retailer_id": "1", "k": 5, "beam_width": 20})
                    answers.append((time.monotonic(), told if status == 200 else None))

            threads = [threading.Thread(target=shopper) for _ in range(4)]
            for thread in threads:
                thread.start()
            for turn in range(PROMOTIONS):
                name = f"precision@v000{1 + turn % 2}"
                promote(shop.workspace, name)
                endpoint.until("/v1/ready", lambda told, name=name: told["live"]["precision"] == name)
            promoted = time.monotonic()
            victim = replica(endpoint, "retrieval")
            os.kill(victim.pid, signal.SIGKILL)
            killed = time.monotonic()
            back = replica(endpoint, "retrieval", besides=victim.pid)
            while not (
                answers[-1][0] > killed and answers[-1][1] and answers[-1][1]["retrievers"] and "similar" not in answers[-1][1]["fallbacks"]
            ):
                time.sleep(0.05)
            back_s = time.monotonic() - killed
            done.set()
            for thread in threads:
                thread.join()
            assert back.is_running()
            for _, told in answers:
                counts["answers"] += 1
                counts["failed"] += told is None
                if told is not None:
                    fallbacks += "similar" in told["fallbacks"]
                    version = told["release"].partition("@")[2]
                    fits = told["retrievers"].get("generator") == f"generator@{version}"
                    same = all(codes[told["release"]][row["item_id"]] == row["semantic_id"] for row in told["results"])
                    counts["mixed"] += not (fits and same)
            table = Table("figure", "must", "measured", title=f"{PROMOTIONS} promotions under load, then the only decoder is killed")
            for name, count in counts.items():
                table.add_row(name, "" if name == "answers" else "0", f"{count:,}")
            table.add_row("answered by similar while it was down", "", f"{fallbacks:,}")
            table.add_row("decoder back, s", f"<= {MUST_BACK_S:g}", f"{back_s:.1f}")
            table.add_row("before the kill, s", "", f"{promoted - answers[0][0]:.1f}")
            screen.print(table)


def bulk(endpoint: Endpoint, workspace: str, retriever: str, rows: Sequence[dict[str, Any]]) -> None:
    """The same contexts by `retrieve_batch` and by the endpoint, at temperature 0."""
    import pyarrow as pa

    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "contexts.parquet", Path(folder) / "lists"
        pq.write_table(pa.Table.from_pylist([{"case_id": str(number), **row} for number, row in enumerate(rows)]), file)
        command = [
            sys.executable,
            str(TESTS.parent / "jobs" / "retrieve_batch.py"),
            "--retriever",
            f"{retriever}@current",
            "--contexts",
            str(file),
        ]
        flags = ["--workspace", workspace, "--out", str(out), "--k", str(K), "--beams", str(BEAMS)]
        subprocess.run([*command, *flags], check=True, capture_output=True, cwd=TESTS.parent)
        lists = {row["case_id"]: row["item_ids"] for part in out.glob("part-*.parquet") for row in pq.read_table(part).to_pylist()}
    asker, same, other = Asker(endpoint.url), 0, []
    for number, row in enumerate(rows):
        _, told = asker.ask("POST", PATH, {**row, "k": K, "beam_width": BEAMS})
        found = [result["item_id"] for result in told["results"]]
        same += found == lists[str(number)]
        if found != lists[str(number)]:
            other.append(len(set(found) ^ set(lists[str(number)])))
    table = Table("figure", "must", "measured", title="lists of retrieve_batch and of the endpoint")
    table.add_row("contexts", "", f"{len(rows):,}")
    table.add_row("the same lists, to the place", "all", f"{same:,}")
    table.add_row("products that differ in the others", "", str(other))
    screen.print(table)


if __name__ == "__main__":
    assert psutil  # the replica is found by its process
    typer.run(main)
