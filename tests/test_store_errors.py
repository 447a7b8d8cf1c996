"""A store that cannot be used is told within seconds, with what to set; one that fails now and then gets its chance."""

import pickle
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import s3fs
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.retries.standard import ExponentialBackoff
from s3fs.errors import translate_boto_error

from shelfcode.errors import ShelfcodeError
from shelfcode.store_errors import check_store, store_problem


class Answering(BaseHTTPRequestHandler):
    """Answers everything in one way."""

    status, code, page, headers_too = 200, "", "", {}

    def do_GET(self) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>no</Message></Error>" if self.code else self.page
        self.send_response(self.status)
        for name, value in {
            **self.headers_too,
            "Content-Length": str(len(body)),
            "Content-Type": "application/xml" if self.code else "text/html",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Answering]]:
    """A store that the environment names, and that answers as the test says."""
    handler = type("Handler", (Answering,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    s3fs.S3FileSystem.clear_instance_cache()
    yield handler
    server.shutdown()
    server.server_close()


REFUSED = {
    "AuthorizationHeaderMalformed": (400, "signed for another region: set AWS_DEFAULT_REGION"),
    "InvalidAccessKeyId": (403, "does not know the access key: set AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, "the secret key does not fit the access key: set AWS_ACCESS_KEY_ID"),
    "ExpiredToken": (400, "the session token has expired"),
    "RequestTimeTooSkewed": (403, "the clock of this machine is wrong"),
    "NoSuchBucket": (404, "there is no such bucket: create it"),
    "PermanentRedirect": (301, "in another region: set AWS_DEFAULT_REGION .* The bucket's region is eu-west-1"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_a_store_refuses_says_what_to_set(code: str) -> None:
    status, told = REFUSED[code]
    assert re.search(told.split(" .*")[0], store_problem(refused(code, status)) or "")


@pytest.mark.parametrize("code", ["NoSuchBucket", "PermanentRedirect"])
def test_a_store_that_refuses_is_told_before_any_work(answering: type[Answering], code: str) -> None:
    answering.status, told = REFUSED[code]
    answering.code, answering.headers_too = code, {"x-amz-bucket-region": "eu-west-1"} if code == "PermanentRedirect" else {}
    with pytest.raises(ShelfcodeError, match=rf"^s3://shop/x: .*{told}"):
        check_store("s3://shop/x")


@pytest.mark.parametrize("page", ["<html>hello</html>", "<html><br>hello"])
def test_what_is_no_store_at_all_is_told_as_such(answering: type[Answering], page: str) -> None:
    answering.page = page
    with pytest.raises(ShelfcodeError, match="there is no object store that answers: set AWS_ENDPOINT_URL"):
        check_store("s3://shop/x")


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (503, "SlowDown")])
def test_who_may_not_list_and_a_store_that_fails_now_and_then_go_on(answering: type[Answering], status: int, code: str) -> None:
    """The first may be allowed to read one file; the second is asked again when work begins, for longer."""
    answering.status, answering.code = status, code
    check_store("s3://shop/catalog.parquet")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://nowhere.invalid:9000"])
def test_an_endpoint_that_is_not_there_is_told_within_a_minute(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.5)  # the mean
    started = time.perf_counter()
    with pytest.raises(ShelfcodeError, match=f"set AWS_ENDPOINT_URL .*{endpoint}"):
        check_store("s3://shop/x")
    assert time.perf_counter() - started < 60


def test_without_credentials_it_says_which_to_set(answering: type[Answering], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(ShelfcodeError, match="no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"):
        check_store("s3://shop/x")


def test_what_is_not_in_s3_is_not_looked_at() -> None:
    for url in ("/nowhere/at/all", "relative", "memory://x", "precision"):
        check_store(url)


def refused(code: str, status: int = 403) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


ERRORS = {
    "as botocore raises it": (refused("AccessDenied"), "access is denied"),
    "as s3fs translates it": (translate_boto_error(refused("AccessDenied")), "access is denied"),
    "without a body": (refused("403"), "access is denied"),
    "from another process": (pickle.loads(pickle.dumps(translate_boto_error(refused("AccessDenied")))), "access is denied"),
    "as pyarrow tells it": (OSError("When reading 'x': AWS Error ACCESS_DENIED during HeadObject operation"), "access is denied"),
    "a status to pyarrow": (OSError("AWS Error UNKNOWN (HTTP status 301) during HeadObject operation"), "another region"),
    "a redirect, translated": (translate_boto_error(refused("PermanentRedirect", 301)), "another region"),
    "not implemented": (translate_boto_error(refused("NotImplemented", 501)), "conditional writes"),
    "not answered to the end": (translate_boto_error(refused("SlowDown", 503)), "start the same command again later"),
    "no credentials": (NoCredentialsError(), "no credentials"),
    "nobody there": (EndpointConnectionError(endpoint_url="http://a"), "set AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_of_a_store_is_known_wherever_it_was_raised(case: str) -> None:
    error, told = ERRORS[case]
    assert told in (store_problem(error) or "")


@pytest.mark.parametrize(
    "error",
    [
        refused("NoSuchKey", 404), FileNotFoundError("x"), OSError(28, "No space left on device"), ValueError("invalid literal"),
        PermissionError(13, "Permission denied", "/etc/shadow"), KeyError("AccessDenied"), ConnectionResetError("x"),
    ],
)  # fmt: skip
def test_an_error_of_another_kind_is_none_of_a_store(error: BaseException) -> None:
    assert store_problem(error) is None
