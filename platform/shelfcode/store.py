"""The filesystem behind a path or URL, local or an object store, and how often an object store had to be asked again.

A store may fail now and then. botocore repeats a request that fails, and s3fs one whose answer breaks off half way. Neither says so;
`listen_for_retries` has a function called each time.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from shelfcode.errors import ShelfcodeError

MOST_TRIES = 10
"""How often one request is sent at most, unless AWS_MAX_ATTEMPTS says otherwise. Waits in between double, up to 20 s."""

OnRetry = Callable[[], None]
"""Called, from another thread, each time that a store is asked again."""

_listeners: set[OnRetry] = set()


def open_filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem behind a local path or URL, and the path within it.

    S3 settings (endpoint, region, credentials) come from the environment and the AWS config files, as boto reads them.

    Raises:
        ShelfcodeError: nothing here knows such URLs.
    """
    if "://" not in url:
        url = str(Path(url).expanduser().absolute())
    # Listings are not cached, since other processes write to the same store.
    options = {"use_listings_cache": False, **retry_options()} if is_s3(url) else {}
    try:
        fs, path = url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ShelfcodeError(f"cannot open {url}: {error}") from error
    return fs, path


def is_s3(url: str) -> bool:
    """Whether a URL names something in S3, or in a store that speaks its language."""
    return url.startswith(("s3://", "s3a://"))


def retry_options() -> dict[str, Any]:
    """Options of an S3 filesystem that bears a store which fails now and then."""
    if "AWS_MAX_ATTEMPTS" in os.environ:
        return {}
    return {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": MOST_TRIES}}}


def listen_for_retries(fs: AbstractFileSystem, on_retry: OnRetry) -> None:
    """Have a function called whenever this process asks S3 again. It is called once per retry, however often it was registered."""
    _listeners.add(on_retry)
    fs.s3.meta.events.register("needs-retry.s3", _request_failed, unique_id="shelfcode-retries")
    _FailedAnswers.listen()


def _request_failed(response: Any = None, caught_exception: Exception | None = None, **_: object) -> None:
    """botocore's event after every answer. botocore asks again in just these cases."""
    if caught_exception is not None or (response is not None and response[0].status_code >= 500):
        tell_of_retry()


class _FailedAnswers(logging.Filter):
    """Hears of the retries of s3fs in its log, the only place where it mentions them, and at a level that is normally off.

    The filter is named after the log's level before it came. Records below that level end here, so the log says no more than before.
    """

    @classmethod
    def listen(cls) -> None:
        log = logging.getLogger("s3fs")
        if not any(isinstance(each, cls) for each in log.filters):
            log.addFilter(cls(str(log.getEffectiveLevel())))
            log.setLevel(logging.DEBUG)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg.startswith("Retryable error"):
            tell_of_retry()
        return record.levelno >= int(self.name)


def tell_of_retry() -> None:
    """Tell all who listen that a store was asked again."""
    for listener in tuple(_listeners):  # a copy, since another thread may register one meanwhile
        listener()
