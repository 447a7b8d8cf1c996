"""The workspace of a job that writes."""

import contextlib
from collections.abc import Iterator

from shelfcode.job.retry_count import count_retries
from shelfcode.job.screen import say
from shelfcode.lease import Lease, hold_lease
from shelfcode.workspace import Workspace
from shelfcode.workspace_layout import check_layout


@contextlib.contextmanager
def open_workspace(url: str, lease: str, run: str, wait: float = 0) -> Iterator[tuple[Workspace, Lease]]:
    """The workspace of a job that writes, and the lease that it holds meanwhile; tells at the end how often a bucket was asked again.

    Args:
        lease: name of what nobody else may write at the same time: a flavor; or the run itself, to keep out only whoever deletes.
        wait: seconds to wait for whoever holds it.

    Raises:
        ShelfcodeError: the workspace has another layout, its store lets two runs write one file, or another run holds the lease.
    """
    retries = count_retries()
    workspace = Workspace(url, on_retry=retries)
    if told := check_layout(workspace):
        say(told)
    with hold_lease(workspace, lease, run, wait) as held:
        yield workspace, held
    if number := retries.read():
        say(f"the object store failed to answer {number:,} requests; all were asked again")
