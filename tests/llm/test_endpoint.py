"""An endpoint that fails, refuses, or gives no log-probabilities; a real server of vLLM answers as the engine does."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from running import free_ports, wait_until_it_answers

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.endpoint import Endpoint
from shelfcode.llm.engine import cpu_environment
from shelfcode.llm.likelihood import Choice, Passage
from shelfcode.model_source import model_path

PASSAGE = Passage(("list:", "\n-", " oat milk", "\n-", " rye bread", "\n"), (2, 4))
CHOICE = Choice("judge", "which?", ("A", "B"))


class Flaky(BaseHTTPRequestHandler):
    """Answers every question with the statuses that it was given, one after another, and then with what it was given last."""

    statuses: ClassVar[list[int]] = []
    answer: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[int] = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Flaky.asked += 1
        status = Flaky.statuses.pop(0) if Flaky.statuses else 200
        body = json.dumps(Flaky.answer if status == 200 else {"error": {"message": f"status {status}"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("retry-after", "0.01")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def completion(logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "1", "object": "text_completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "text": PASSAGE.text, "finish_reason": "length", "logprobs": logprobs}],
    }  # fmt: skip


WORDS = ["list", ":\n-", " oat", " milk", "\n-", " rye bread", "\n", "and"]
WHOLE = completion({
    "tokens": WORDS, "text_offset": [len("".join(WORDS[:place])) for place in range(len(WORDS))],
    "token_logprobs": [None, -1.0, -2.0, -3.0, -1.0, -5.0, -1.0, -9.0], "top_logprobs": None,
})  # fmt: skip


@pytest.fixture
def flaky() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Flaky.statuses, Flaky.answer, Flaky.asked = [], WHOLE, 0
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.mark.live
def test_an_endpoint_that_is_busy_or_broken_for_a_while_is_asked_again(flaky: str) -> None:
    Flaky.statuses = [429, 500, 503]
    ((_, reply),) = Endpoint(flaky, "m", "NO_KEY", tries=4, at_once=2).replies([PASSAGE])
    assert reply.values == (-5.0, -5.0)
    assert Flaky.asked == 4


@pytest.mark.live
@pytest.mark.parametrize(
    ("statuses", "said"),
    [([500] * 9, "still answers 500 after several tries"), ([401], "Check the key's variable"), ([404], "Check the key's variable")],
)
def test_an_endpoint_that_stays_broken_or_refuses_is_named(flaky: str, statuses: list[int], said: str) -> None:
    Flaky.statuses = statuses
    with pytest.raises(ShelfcodeError, match=said) as error:
        list(Endpoint(flaky, "m", "NO_KEY", tries=1, at_once=2).replies([PASSAGE]))
    assert flaky in str(error.value)


@pytest.mark.live
def test_a_question_that_is_refused_alone_has_a_problem_and_no_values(flaky: str) -> None:
    Flaky.statuses = [400]
    (_, refused), (_, answered) = Endpoint(flaky, "m", "NO_KEY", tries=1, at_once=1).replies([PASSAGE, PASSAGE])
    assert refused.values is None
    assert "status 400" in str(refused.problem)
    assert answered.values is not None


@pytest.mark.live
def test_an_endpoint_without_log_probabilities_cannot_judge(flaky: str) -> None:
    Flaky.answer = completion(None)
    with pytest.raises(ShelfcodeError, match="gives no log-probabilities of a prompt"):
        list(Endpoint(flaky, "m", "NO_KEY", tries=1, at_once=1).replies([PASSAGE]))


def test_an_endpoint_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    with pytest.raises(ShelfcodeError, match="cannot be reached"):
        list(Endpoint(url, "m", "NO_KEY", tries=1, at_once=1).replies([PASSAGE]))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real server of vLLM, with the small extractor."""
    (port,) = free_ports(1)
    folder = model_path("judge.model", "package:shelfcode.attributes.small_extractor")
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--served-model-name", "small", "--port", str(port),
        "--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager", "--max-model-len", "256", "--max-num-seqs", "8",
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, **cpu_environment(1)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.live
@pytest.mark.xdist_group("ray")
def test_a_real_server_gives_log_probabilities_of_pieces_and_of_choices(server: str) -> None:
    endpoint = Endpoint(server, "small", "NO_KEY", tries=2, at_once=4)
    longer = Passage((*PASSAGE.parts[:3], "\n-", " oat milk", "\n"), (2, 4))
    replies = dict(endpoint.replies([PASSAGE, longer, CHOICE]))
    first, second = replies[PASSAGE].values, replies[longer].values
    assert first is not None
    assert second is not None
    assert first[0] == pytest.approx(second[0], abs=0.05)  # what stands before is the same
    assert all(value < 0 for value in (*first, *second))
    assert replies[CHOICE].tokens > 0
    with pytest.raises(ShelfcodeError, match="Check the key's variable, --model and the URL"):
        list(Endpoint(server, "other", "NO_KEY", tries=1, at_once=1).replies([PASSAGE]))
