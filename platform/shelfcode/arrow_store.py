"""Reading Parquet files: of the columns that are asked for, and no byte of the others.

s3fs reads ahead, so that one narrow column of a part costs the download of all its vectors. pyarrow's own client of S3 asks for just
the ranges that it needs, several at once. It is given the endpoint, region and credentials that s3fs has found, so that both are
always at the same store. It tries each request once: whole reads are repeated here, where retries can be told.
"""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.asyn import sync
from fsspec.implementations.local import LocalFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from shelfcode.parallel import REQUESTS_AT_ONCE
from shelfcode.store import MOST_TRIES, tell_of_retry

Read = TypeVar("Read")

AMAZON = re.compile(r"https://s3[.-]([a-z0-9-]+\.)?amazonaws\.com(\.cn)?/?")
"""Endpoints that botocore chose by itself. There a bucket's region is found by asking, as botocore does when it is redirected."""

FINAL = re.compile(r"ACCESS_DENIED|NO_SUCH_|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|_TOKEN|HTTP status (3\d\d|4(?!08|29)\d\d)")
"""Told by pyarrow of an answer that will be the same next time."""

WAIT = wait_random_exponential(multiplier=0.25, max=20)
"""Between two tries, in seconds."""


def read_parquet(fs: AbstractFileSystem, path: str, columns: list[str] | None = None) -> pa.Table:
    """One Parquet file, or some columns of it, in the order in which they are asked for.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the store does not answer, or the file is damaged.
        pyarrow.ArrowException: it is no Parquet file, or lacks one of the columns.
    """
    files, place = arrow_filesystem(fs, path), _place(fs, path)

    def read() -> pa.Table:
        with files.open_input_file(place) as file:
            return pq.read_table(file, columns=columns)

    return _tried(read)


def read_parquet_schema(fs: AbstractFileSystem, path: str) -> pa.Schema:
    """Columns and types of one Parquet file; raises like `read_parquet`."""
    files, place = arrow_filesystem(fs, path), _place(fs, path)

    def read() -> pa.Schema:
        with files.open_input_file(place) as file:
            return pq.read_schema(file)

    return _tried(read)


def arrow_filesystem(fs: AbstractFileSystem, path: str) -> pafs.FileSystem:
    """pyarrow's own filesystem for reading a path of an fsspec one, where pyarrow has one for its kind."""
    if isinstance(fs, LocalFileSystem):
        return pafs.LocalFileSystem()
    if "s3" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        return pafs.PyFileSystem(pafs.FSSpecHandler(fs))
    endpoint, region = fs.s3.meta.endpoint_url, fs.s3.meta.region_name or "us-east-1"
    style = (fs.s3.meta.config.s3 or {}).get("addressing_style")
    bundle = fs.session.get_config_variable("ca_bundle")
    return _s3(endpoint, region, path.split("/", 1)[0], style == "virtual", bundle, _credentials(fs))


Credentials = tuple[str, str, str | None] | None
"""Access key, secret key and session token; None where the store is asked anonymously."""


def _credentials(fs: AbstractFileSystem) -> Credentials:
    """The credentials that s3fs signs with now. Those of a role change every hour or so, and botocore renews them when they are read."""
    if fs.anon:
        return None
    if fs.key:
        return fs.key, fs.secret, fs.token
    found = sync(fs.loop, fs.session.get_credentials)
    if found is None:
        return None
    frozen = sync(fs.loop, found.get_frozen_credentials)
    return frozen.access_key, frozen.secret_key, frozen.token


@lru_cache(16)
def _s3(endpoint: str, region: str, bucket: str, virtual: bool, ca_bundle: str | None, credentials: Credentials) -> pafs.S3FileSystem:
    from botocore.httpsession import get_cert_path
    from botocore.utils import get_environ_proxies

    if pa.io_thread_count() < REQUESTS_AT_ONCE:
        pa.set_io_thread_count(REQUESTS_AT_ONCE)
    parts = urlsplit(endpoint)
    at_amazon = AMAZON.fullmatch(endpoint) is not None
    if at_amazon:
        region = _region_of(bucket, region)
    key, secret, token = credentials or (None, None, None)
    # A bucket with dots in its name is no host name that a certificate of Amazon's is good for.
    override = None if at_amazon and "." not in bucket else f"s3.{region}.amazonaws.com" if at_amazon else parts.netloc
    return pafs.S3FileSystem(
        access_key=key, secret_key=secret, session_token=token, anonymous=credentials is None, region=region, scheme=parts.scheme,
        endpoint_override=override, force_virtual_addressing=virtual, connect_timeout=10,
        request_timeout=60,  # pyarrow's own 3 s are too few for a store that is busy
        tls_ca_file_path=ca_bundle or get_cert_path(True), proxy_options=get_environ_proxies(endpoint).get(parts.scheme),
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1),
    )  # fmt: skip


def _region_of(bucket: str, otherwise: str) -> str:
    try:
        return pafs.resolve_s3_region(bucket)
    except OSError:  # whoever may read a bucket need not be allowed to ask for its region
        return otherwise


def _place(fs: AbstractFileSystem, path: str) -> str:
    return path if isinstance(fs, LocalFileSystem) else fs._strip_protocol(path)


def _tried(read: Callable[[], Read]) -> Read:
    """The result of a read that is repeated while the store fails to answer."""
    tries = int(os.environ.get("AWS_MAX_ATTEMPTS", MOST_TRIES))
    retrying = Retrying(
        retry=retry_if_exception(_may_pass), stop=stop_after_attempt(tries), wait=WAIT, before_sleep=lambda _: tell_of_retry(), reraise=True
    )
    return retrying(read)


def _may_pass(error: BaseException) -> bool:
    """Whether a read may succeed when it is tried again: a store failed to answer, as pyarrow's message tells."""
    return isinstance(error, OSError) and "AWS Error" in str(error) and not FINAL.search(str(error))
