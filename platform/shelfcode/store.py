"""The filesystem behind a path or URL, local or an object store, and how often a store had to be asked again.

botocore asks again when a request fails, and s3fs when the body of an answer breaks off. Both do so without a word.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from shelfcode.errors import ShelfcodeError

MOST_TRIES = 10
"""Of one request, unless AWS_MAX_ATTEMPTS says otherwise; with waits that double, up to 20 s."""

OnRetry = Callable[[], None]
"""Called each time that a store is asked again; from another thread."""

_watched: WeakSet[AbstractFileSystem] = WeakSet()
_listeners: set[OnRetry] = set()


def open_filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem behind a local path or URL, and the path within it.

    S3 settings (endpoint, region, credentials) come from the environment and the AWS config files, as boto reads them.
    """
    if "://" not in url:
        url = str(Path(url).expanduser().absolute())
    # Other processes write here too: a cached listing would hide their files.
    options = {"use_listings_cache": False, **retry_options()} if url.startswith(("s3://", "s3a://")) else {}
    try:
        fs, path = url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ShelfcodeError(f"cannot open {url}: {error}") from error
    return fs, path


def retry_options() -> dict[str, Any]:
    """Options for S3 that let it fail now and then."""
    if "AWS_MAX_ATTEMPTS" in os.environ:
        return {}
    return {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": MOST_TRIES}}}


def tell_retries(fs: AbstractFileSystem, on_retry: OnRetry) -> None:
    """Have a function called whenever S3 is asked again from this process; once, however often this is said."""
    _listeners.add(on_retry)
    if fs not in _watched:
        _watched.add(fs)
        fs.s3.meta.events.register("needs-retry.s3", _request_failed)
        _BodyFailed.attach()


def _request_failed(response: Any = None, caught_exception: Exception | None = None, **_: object) -> None:
    """botocore's event after every answer; whether it is asked again follows from the same facts."""
    if caught_exception is not None or (response is not None and response[0].status_code >= 500):
        _tell()


class _BodyFailed(logging.Filter):
    """s3fs tells of its own tries only in its log, at a level that nobody reads; here they are heard, and go no further."""

    @classmethod
    def attach(cls) -> None:
        log = logging.getLogger("s3fs")
        if not any(isinstance(each, cls) for each in log.filters):
            log.addFilter(cls(str(log.getEffectiveLevel())))
            log.setLevel(logging.DEBUG)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg.startswith("Retryable error"):
            _tell()
        return record.levelno >= int(self.name)


def _tell() -> None:
    for listener in tuple(_listeners):  # another thread may open a workspace meanwhile
        listener()
