"""What retailers have as this process knows it, kept up to the changes in the workspace."""

from threading import Lock

from shelfcode.index.availability import Stock
from shelfcode.index.availability_log import DamagedChangeError, apply, is_behind, open_log, read_after
from shelfcode.lease import uptime
from shelfcode.workspace import Workspace

LOOK_SECONDS = 60.0
"""How often it is looked whether changes were removed before this process read them. They stay for longer than that."""


class LiveStock:
    """A stock, and how far in the log it is.

    Args:
        look_seconds: see LOOK_SECONDS.

    Attributes:
        stock: changed in place.
        number: of the last change that the stock knows of.

    Raises:
        ShelfcodeError: the newest whole is damaged.
    """

    def __init__(self, workspace: Workspace, look_seconds: float = LOOK_SECONDS) -> None:
        self.workspace, self.look_seconds = workspace, look_seconds
        availability, self.number = open_log(workspace)
        self.stock = Stock(availability)
        self._looked = uptime()
        self._reading = Lock()

    def catch_up(self) -> int:
        """Have the stock know of all changes that are there now. In several threads at once, one waits for the other.

        Returns:
            How many changes were new; mostly none, which costs one request.

        Raises:
            DamagedChangeError: one cannot be read. It is told once: the next call goes on after it.
            OSError: the store does not answer; the next call tries again.
        """
        with self._reading:
            before = self.number
            self._open_again_if_behind()
            try:
                for number, change in read_after(self.workspace, self.number):
                    apply(self.stock, change)
                    self.number = number
            except DamagedChangeError as damaged:
                self.number = damaged.number
                raise
            return self.number - before

    def _open_again_if_behind(self) -> None:
        """A process that was stopped for an hour would take changes that were removed for changes that are still to come."""
        if uptime() - self._looked < self.look_seconds:
            return
        if is_behind(self.workspace, self.number):
            availability, number = open_log(self.workspace)
            self.stock.become(availability)
            self.number = number
        self._looked = uptime()
