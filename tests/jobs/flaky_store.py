"""An object store that fails now and then: a proxy in front of the tests' S3 server that leaves some requests without a good answer."""

import contextlib
import http.client
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch
from urllib.parse import urlsplit

import s3fs

ERRORS = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
}
CUTS = ("unheard", "unanswered", "torn")
"""The connection ends before the store hears of a request, after it did what was asked, or in the middle of its answer's body."""


class FlakyStore:
    """The proxy: how many requests it saw, how often it failed in which way, and how many bytes it served.

    Attributes:
        delay: seconds that each answer takes.
        most_waiting: how many requests have waited for their answers at the same time, at the most.
        conditional_writes: kept; or ignored, or unknown, as by stores that have none.
    """

    def __init__(self, behind: str, kinds: Sequence[str], share: float, seed: int) -> None:
        self.behind, self.kinds, self.share = behind, kinds, share
        self.requests, self.failures, self.served = 0, Counter[str](), 0
        self.delay, self.conditional_writes = 0.0, "kept"
        self.waiting, self.most_waiting = 0, 0
        self._random, self._lock = random.Random(seed), threading.Lock()
        store = self

        class Handler(_Handler):
            flaky = store

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @contextlib.contextmanager
    def as_endpoint(self) -> Iterator[None]:
        """Whoever opens a bucket in this process reaches it through this proxy."""
        with patch.dict(os.environ, {"AWS_ENDPOINT_URL": self.url}):
            s3fs.S3FileSystem.clear_instance_cache()
            try:
                yield
            finally:
                s3fs.S3FileSystem.clear_instance_cache()

    def close(self) -> None:
        """Nobody answers any more."""
        self._server.shutdown()
        self._server.server_close()
        self.kinds, self.share = ("unheard",), 1.0

    def failure(self, has_body: bool | None = None) -> str:
        """How this request fails; nothing when it does not. `torn` is known only once there is a body to tear."""
        with self._lock:
            if has_body is None:
                self.requests += 1
            kinds = [kind for kind in self.kinds if (kind == "torn") == bool(has_body)]
            if not kinds or self._random.random() >= self.share:
                return ""
            kind = self._random.choice(kinds)
            self.failures[kind] += 1
            return kind

    def wait(self) -> None:
        """The time that an answer takes."""
        with self._lock:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
        time.sleep(self.delay)
        with self._lock:
            self.waiting -= 1

    def count_served(self, size: int) -> None:
        with self._lock:
            self.served += size


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms between head and body
    flaky: FlakyStore

    def do(self) -> None:
        body = self._read_body()
        failure = self.flaky.failure()
        if failure in ERRORS:
            self._fail(*ERRORS[failure])
            return
        if failure == "unheard":
            self._cut()
            return
        self.flaky.wait()
        if "If-None-Match" in self.headers and self.command == "PUT" and self.flaky.conditional_writes != "kept":
            if self.flaky.conditional_writes == "unknown":
                self._fail(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
                return
            del self.headers["If-None-Match"]
        status, headers, answer = self._forward(body)
        if failure == "unanswered":
            self._cut()
            return
        torn = len(answer) > 1 and status < 300 and self.flaky.failure(has_body=True)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), None)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(answer)))
        self.end_headers()
        self.flaky.count_served(len(answer))
        self.wfile.write(answer[: len(answer) // 2] if torn else answer)
        if torn:
            self._cut()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        behind = http.client.HTTPConnection(urlsplit(self.flaky.behind).netloc, timeout=60)
        hop = ("connection", "transfer-encoding", "content-length", "expect")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in hop}
        try:
            behind.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = behind.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            behind.close()

    def _fail(self, status: int, code: str, message: str) -> None:
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def flaky_store(kinds: Sequence[str] = (), share: float = 1 / 20, seed: int = 0) -> Iterator[FlakyStore]:
    """A proxy in front of the S3 server that the environment names; one request in twenty fails, in one of the ways given."""
    store = FlakyStore(os.environ["AWS_ENDPOINT_URL"], kinds, share, seed)
    try:
        yield store
    finally:
        store.close()
