"""A running endpoint, as a user has one: jobs/serve_surfaces.py on a cluster of its own, over a small shop."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml
from released import Shop
from running import ROOT, RayCluster, free_ports, job_command, ray_cluster

from shelfcode.serving.api.access import key_hash

T = TypeVar("T")

KEYS = {"all": "shelf_all", "search": "shelf_search", "gone": "shelf_gone", "slow": "shelf_slow", "stock": "shelf_stock"}
SURFACES = {
    "surfaces": {
        "search": "precision", "substitution": "precision", "homepage": "discovery",
        "inspiration": {"blend": {"discovery": 0.7, "precision": 0.3}},
        "pinned": {"flavor": "precision", "release": "v0001"},
        "trial": {"flavor": "precision", "split": {"current": 0.5, "v0001": 0.5}},
    },
    "auth": "keys",
    "keys": [
        {"name": "all", "sha256": key_hash(KEYS["all"]), "review": "reviewer"},
        {"name": "search", "sha256": key_hash(KEYS["search"]), "surfaces": ["search"]},
        {"name": "gone", "sha256": key_hash(KEYS["gone"]), "disabled": True},
        {"name": "slow", "sha256": key_hash(KEYS["slow"]), "requests_per_second": 2},
        {"name": "stock", "sha256": key_hash(KEYS["stock"]), "retailers": ["7", "8"], "availability": True},
    ],
    "retrieve": {"retriever": "generator", "seconds": 20},
    "poll_seconds": 0.1, "limits": {"requests_per_second": 1_000_000, "body_seconds": 3},
}  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """What came back; status 0 where nothing did."""

    status: int
    headers: Message
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Endpoint:
    """A running endpoint, what it serves, where it runs, and the key that `ask` sends."""

    url: str
    shop: Shop
    cluster: RayCluster
    printed: list[str] = field(default_factory=list)
    key: str = ""

    def ask(self, path: str, body: Any = None, key: str | None = None, method: str | None = None, **headers: str) -> Answered:
        """GET, or POST where there is a body: bytes as they are, anything else as JSON. An empty key is none."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        key = self.key if key is None else key
        sent = {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.build_opener(_Direct).open(request, timeout=120) as answer:
                return Answered(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answered(error.code, error.headers, error.read().decode())
        except (OSError, http.client.HTTPException) as error:
            return Answered(0, Message(), repr(error))

    def until(self, path: str, holds: Any, seconds: float = 300) -> Any:
        """Ask until the answer is as wanted."""
        end = time.monotonic() + seconds
        while not holds(answered := self.ask(path).json):
            assert time.monotonic() < end, answered
            time.sleep(0.05)
        return answered


class _Direct(urllib.request.HTTPRedirectHandler):
    """Redirects are answers, too."""

    def redirect_request(self, *_: Any) -> None:
        return None


@contextlib.contextmanager
def serving_cluster(cpus: int = 8) -> Iterator[RayCluster]:
    """A cluster whose HAProxy shares no port with another's."""
    names = ("RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT")
    ports = {name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    settings = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_worker_niceness": "0",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": os.environ.get("RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE", "1"),
        "RAY_metrics_report_interval_ms": "1000",  # of 10,000
    }
    settings["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = "shelfcode.serving.api.request_ids.middlewares"
    settings["PYTHONPATH"] = f"{ROOT}:{ROOT / 'platform'}"  # as on nodes that hold the repository
    with ray_cluster(cpus, **ports, **settings, RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S="0") as cluster:
        yield cluster


@contextlib.contextmanager
def serve_shop(shop: Shop, folder: Path, surfaces: dict[str, Any], key: str = "") -> Iterator[Endpoint]:
    """Serve a shop until the test is done."""
    (folder / "surfaces.yaml").write_text(yaml.safe_dump(surfaces))
    port = free_ports(1)[0]
    flags = ("--workspace", shop.workspace.url, "--surfaces", str(folder / "surfaces.yaml"), "--port", str(port))
    with serving_cluster() as cluster:
        server = subprocess.Popen(
            job_command("serve_surfaces", *flags), cwd=ROOT, env={**os.environ, "RAY_ADDRESS": cluster.address},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.extend(iter(server.stderr.readline, "")), daemon=True)  # type: ignore[union-attr]
        reader.start()
        try:
            printed = [server.stdout.readline().strip() for _ in range(4)]  # type: ignore[union-attr]
            assert server.poll() is None, "".join(told[-40:])
            yield Endpoint(f"http://127.0.0.1:{port}", shop, cluster, printed, key)
        finally:
            server.kill()
            server.wait()


def serve_deploy(running: Endpoint, folder: Path, surfaces: dict[str, Any], name: str, wait_for: Sequence[str]) -> Endpoint:
    """Another application on the same cluster and port, under /<name>, by `serve deploy` with the shipped config.yaml.

    Args:
        wait_for: deployments that must be up; the command itself returns before anything runs.
    """
    path, config = folder / f"{name}.yaml", yaml.safe_load((ROOT / "serve_apps" / "config.yaml").read_text())
    path.write_text(yaml.safe_dump(surfaces))
    config["http_options"] = {"host": "127.0.0.1", "port": int(running.url.rsplit(":", 1)[-1])}
    config["applications"][0] |= {"name": name, "route_prefix": f"/{name}"}
    config["applications"][0]["args"] = {"workspace": running.shop.workspace.url, "surfaces": str(path)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    _serve("deploy", "--address", running.cluster.dashboard, str(folder / "config.yaml"))
    end = time.monotonic() + 900
    while not all(_deployments(running.cluster, name).get(part) == "HEALTHY" for part in wait_for):
        assert time.monotonic() < end, _deployments(running.cluster, name)
        time.sleep(0.2)
    return Endpoint(f"{running.url}/{name}", running.shop, running.cluster)


def serve_withdraw(running: Endpoint, folder: Path) -> None:
    """End what `serve deploy` started: an engine that waits still takes a core from other tests."""
    config = yaml.safe_load((folder / "config.yaml").read_text()) | {"applications": []}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    _serve("deploy", "--address", running.cluster.dashboard, str(folder / "config.yaml"))


def _deployments(cluster: RayCluster, application: str) -> dict[str, str]:
    """Deployment of an application -> its status."""
    with urllib.request.urlopen(f"{cluster.dashboard}/api/serve/applications/", timeout=60) as answer:
        found = json.load(answer)["applications"].get(application, {})
    assert found.get("status") != "DEPLOY_FAILED", found
    return {name: each["status"] for name, each in found.get("deployments", {}).items()}


SERVE = [str(Path(sys.executable).with_name("serve"))]


def _serve(*arguments: str) -> None:
    environment = {**os.environ, "RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    done = subprocess.run([*SERVE, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@contextlib.contextmanager
def asking(ask: Callable[[], T], number: int) -> Iterator[list[T]]:
    """Ask all the time, from several threads; yields what came back. A request that fails fails the test."""
    seen: list[T] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def client() -> None:
        while not done.is_set():
            try:
                seen.append(ask())
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=client) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failed == []


def wait_for(endpoint: Endpoint, release: str) -> None:
    endpoint.until("/v1/ready", lambda told: told.get("live", {}).get("precision") == release)


def replica(endpoint: Endpoint, part: str, besides: int | None = None, application: str = "surfaces") -> psutil.Process:
    """The process of a deployment's replica on this cluster, another than a dead one; waits until there is one."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        for process in psutil.process_iter(["cmdline"]):
            title = " ".join(process.info["cmdline"] or [])
            if process.pid != besides and title.startswith(f"ray::ServeReplica:{application}:{part}") and _is_of(endpoint, process):
                return process
        time.sleep(0.1)
    raise AssertionError(f"no replica of {part} in a minute")


def _is_of(endpoint: Endpoint, process: psutil.Process) -> bool:
    """Whether a process belongs to the endpoint's cluster, by the folder that it logs to."""
    try:
        return any(file.path.startswith(endpoint.cluster.folder) for file in process.open_files())
    except psutil.Error:
        return False
