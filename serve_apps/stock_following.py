"""How a process learns what retailers have: it reads the availability table again when that changes, or the changes that callers report."""

import asyncio
import logging

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import Stock, availability_version, read_availability
from shelfcode.index.live_stock import LiveStock
from shelfcode.serving.api.item_index import ItemIndex
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")


class StockFollower:
    """Keeps an index's stock as it is in the world. Needs a running event loop."""

    def __init__(self, index: ItemIndex, workspace: Workspace, settings: SurfaceSettings) -> None:
        self.index, self.workspace, self.table, self.seconds = index, workspace, settings.availability, settings.availability_seconds
        self.version = ""
        self.live: LiveStock | None = None
        self.reading = asyncio.Lock()

    async def start(self) -> None:
        """Read what there is, and follow it from then on.

        Raises:
            ShelfcodeError: it cannot be read.
        """
        if self.table is None:
            self.live = await asyncio.to_thread(LiveStock, self.workspace)
            await asyncio.to_thread(self.index.use_stock, self.live.stock)
        await self.catch_up()
        self.following = asyncio.ensure_future(self._follow())

    async def catch_up(self) -> int:
        """Take up what has changed, and say up to which change everything is known; 0 of a table.

        Raises:
            ShelfcodeError: it cannot be read.
        """
        if self.live is not None:
            await asyncio.to_thread(self.live.catch_up)
            return self.live.number
        async with self.reading:
            await self._read_table(str(self.table))
        return 0

    async def _read_table(self, url: str) -> None:
        version = await asyncio.to_thread(availability_version, url)
        if version == self.version:
            return
        availability = await asyncio.to_thread(read_availability, url)
        if self.index.stock is None:
            await asyncio.to_thread(self.index.use_stock, Stock(availability))
        else:
            await asyncio.to_thread(self.index.stock.become, availability)
        self.version = version

    async def _follow(self) -> None:
        """Look again and again, for ever: what retailers have changes more often than releases do."""
        told = ""
        while True:
            await asyncio.sleep(self.seconds)
            try:
                await self.catch_up()
                told = ""
            except Exception as error:  # a store that cannot be reached now must not end this
                if str(error) != told or not isinstance(error, ShelfcodeError):
                    log.warning("what retailers have was not read again: %s: %s", type(error).__name__, error)
                told = str(error)
