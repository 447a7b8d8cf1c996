"""The review store that a job is pointed at."""

from pathlib import Path

from shelfcode.audit.decisions.desk import Desk, open_desk
from shelfcode.errors import ShelfcodeError
from shelfcode.serving.review.store_address import SQLITE, store_url


def open_review_store(store: str, make: bool = False) -> Desk:
    """Open a review store by its URL, or an SQLite file by its path.

    Args:
        make: whether a file that is not there is made. A job that reads decisions would find none in it, and say that all went well.

    Raises:
        ShelfcodeError: it cannot be opened, or is not there.
    """
    url = store_url(store, Path.cwd())
    file = Path(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and not make and not file.exists():
        raise ShelfcodeError(f"--store {store}: there is no review store at {file}; jobs/serve_surfaces.py makes one, for reviewing")
    return open_desk(url)
