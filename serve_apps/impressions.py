"""Writes down what was shown and what was chosen, in a Ray Serve deployment of its own, so that no answer waits for a store."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from cachetools import LRUCache

from shelfcode.interactions.impressions import Chosen, Shown, chosen_table, shown_table, write_impressions
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")

KEPT_BATCHES = 10
"""While the store takes nothing, so many times `rows_max` rows wait in memory; what comes then is dropped."""

LISTS_KNOWN = 20_000
"""The latest lists, by which a choice gets its user and its position: about 60 MB of lists of 20 products."""


class ImpressionsDeployment:
    """Collects rows, and writes them as one file every now and then.

    A write that fails is kept and tried again. Rows are lost where the process is killed, or where more wait than may; the latter are
    counted in a warning. All replicas of it may write into one workspace, but each knows only the lists that came through it.

    Args:
        seconds: the longest that a row waits for others.
        rows_max: so many rows are written without waiting any longer.
    """

    def __init__(self, workspace: str, seconds: float, rows_max: int) -> None:
        self.workspace, self.seconds, self.rows_max = Workspace(workspace), seconds, rows_max
        self.fresh: list[pa.Table] = []
        self.batches: deque[pa.Table] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.known: LRUCache[str, Shown] = LRUCache(LISTS_KNOWN)
        self.dropped = 0
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="impressions")  # one: files are written in their order
        self.writing = threading.Lock()  # the end comes in another thread than this one

    async def write(self, shown: Sequence[Shown], chosen: Sequence[Chosen]) -> None:
        """Take rows; returns before they are written.

        Raises:
            UnicodeEncodeError: a text is none, such as half of a surrogate pair; none of these rows is taken.
        """
        for each in shown:
            self.known[each.request_id] = each
        rows = pa.concat_tables([shown_table(shown), chosen_table(chosen, self.known)])
        if self._waiting() + len(rows) > KEPT_BATCHES * self.rows_max:
            self.dropped += len(rows)
        elif len(rows):
            self.fresh.append(rows)
        if sum(map(len, self.fresh)) >= self.rows_max:
            self._flush()
        else:
            self._flush_later()

    def _waiting(self) -> int:
        """Rows that are not written yet."""
        return sum(map(len, self.fresh)) + sum(map(len, tuple(self.batches)))

    def _flush_later(self) -> None:
        if self.timer is None and (self.fresh or self.batches):
            self.timer = asyncio.get_running_loop().call_later(self.seconds, self._flush)

    def _flush(self) -> None:
        """Have another thread write what waits, and see to it that what could not be written is tried again."""
        self._close_batch()
        writing = asyncio.get_running_loop().run_in_executor(self.thread, self._write_batches)
        writing.add_done_callback(lambda _: self._flush_later())

    def _close_batch(self) -> None:
        """Rows that are tried together stay together, so that each file is the same however often it is tried."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.dropped:
            log.warning("%s impressions were dropped: the store takes none, and no more may wait", f"{self.dropped:,}")
            self.dropped = 0
        if self.fresh:
            self.batches.append(pa.concat_tables(self.fresh))
            self.fresh = []

    def _write_batches(self) -> None:
        with self.writing:
            while self.batches:
                try:
                    write_impressions(self.workspace, self.batches[0])
                except Exception as error:  # whatever a store may raise: rows that wait are better than rows that are lost
                    log.warning("impressions could not be written to %s, and are kept: %s", self.workspace.url, error)
                    return
                self.batches.popleft()

    def __del__(self) -> None:
        """Write what waits. Ray Serve calls this before it ends a replica, and Python once more when the object goes."""
        self._close_batch()
        self._write_batches()
