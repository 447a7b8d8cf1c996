"""Changes of what retailers have, kept in the workspace in the order in which they count, for every process on every node.

    availability/changes/000000000001.json    one change
    availability/whole/000000001000.parquet   retailer_id, item_id: what all changes up to this number come to; of a retailer that has
                                              nothing, one row without an item_id

The changes are numbered without gaps. A number is taken by creating its file, which a store lets only one writer do: whoever comes second
takes the next. From time to time whoever has taken a number writes all of it, and removes what is no longer needed. This much always
holds, and is what readers go by: every change after the oldest whole is there.
"""

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import Availability, Stock, availability_of, known_ids
from shelfcode.index.availability_whole import distinct_ids, read_whole, whole_bytes, whole_path, wholes, written_at
from shelfcode.keys import Keys, item_keys
from shelfcode.parallel import REQUESTS_AT_ONCE, in_order
from shelfcode.workspace import Workspace

log = logging.getLogger(__name__)

CHANGES = "availability/changes"

WHOLE_EVERY = 1000
"""Changes from one whole to the next: as many as a process that starts may have to read."""

KEPT_SECONDS = 3600.0
"""How long a whole stays, and the changes after it, when there is a newer one. No reader or writer should pause for longer."""

SECOND_LOOK = 0.2
"""Seconds until a damaged file is read once more: where a file can have one name only, it is seen before all of it is written."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a retailer's items.

    Attributes:
        retailer_id: any text.
        kind: replace: it has the items of `add`, and no others. change: it has those of `add` as well, and those of `remove` no longer;
            an item that is among both it has.
        add, remove: item_ids. In the workspace they are written as a catalog has them, without those that no catalog can have.
        at: when it was reported, in seconds since 1970.
        id: tells it from another change that says the same.
    """

    retailer_id: str
    kind: Literal["replace", "change"]
    add: list[str] = []
    remove: list[str] = []
    at: float = msgspec.field(default_factory=time.time)
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)


class DamagedChangeError(ShelfcodeError):
    """A change that cannot be read.

    Attributes:
        number: of the change.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


def append(workspace: Workspace, change: Change, after: int, whole_every: int = WHOLE_EVERY, kept_seconds: float = KEPT_SECONDS) -> int:
    """Write a change after all that were written before.

    Once in `whole_every` times this takes as long as it takes to read and write all that retailers have. Where that fails the change
    counts nonetheless, and the log of this process says why.

    Args:
        after: number of a change that is known to be there, the later the quicker; 0 for none.
        whole_every: 0 for never: `write_whole` is then to be called by somebody else.

    Returns:
        The number of the change. It may be reported twice, under two numbers, where this process was stopped for longer than
        `kept_seconds` while it wrote.

    Raises:
        ShelfcodeError: an id is not Unicode.
        OSError: the store does not answer. The change may have been written, or not.
    """
    number = _take_number(workspace, _text(change), after + 1)
    if whole_every and number % whole_every == 0:
        try:
            write_whole(workspace, number, kept_seconds)
        except (OSError, ShelfcodeError, pa.ArrowException) as error:
            log.warning("%s was not written, the next one will be: %s", workspace.address(whole_path(number)), error)
    return number


def _text(change: Change) -> bytes:
    """A change as it is written. Its ids are put right once, here, and not by each of those who read it."""
    try:
        add, remove = (known_ids(item_ids).to_pylist() for item_ids in (change.add, change.remove))
        return msgspec.json.encode(msgspec.structs.replace(change, add=add, remove=remove))
    except UnicodeEncodeError as error:
        raise ShelfcodeError(f"retailer_id {change.retailer_id!r}: an id in its change is not Unicode: {error}") from error


def _take_number(workspace: Workspace, text: bytes, number: int) -> int:
    """The first number from this one on that nobody has taken, and whose file now is this change's."""
    while True:
        path = _change_path(number)
        if workspace.claim(path, text) or _is_ours(workspace, path, text):
            newest = _newest_before(workspace, number)
            if not newest:
                return number
            _remove(workspace, path)
            number = newest
        number += 1


def _is_ours(workspace: Workspace, path: str, text: bytes) -> bool:
    """Whether a file was created by us though we were told it was there: an answer may get lost, and the store be asked again."""
    try:
        return workspace.read_bytes(path) == text
    except FileNotFoundError:
        return False


def _newest_before(workspace: Workspace, number: int) -> int:
    """The newest whole where a change was written under a number that had been taken and removed long ago, else 0.

    Such a number is below that of a whole which was there before. It is another matter where the whole came after the change.
    """
    later = [whole for whole in wholes(workspace) if whole >= number]
    if not later:
        return 0
    written = written_at(workspace, _change_path(number))
    if written is None:
        return max(later)
    wrote = (written_at(workspace, whole_path(whole)) for whole in later)
    return max(later) if any(at is not None and at < written for at in wrote) else 0


def read_after(workspace: Workspace, number: int) -> Iterator[tuple[int, Change]]:
    """The changes after a number, with theirs, in their order. Where there is none, that costs one request.

    Nothing says whether those after a number were removed: `is_behind` does.

    Raises:
        DamagedChangeError: the next one cannot be read. Those after it can be asked for by its number.
    """
    at_once = 1  # mostly there is none, or one
    while True:
        for each, change in enumerate(in_order(lambda each: _read(workspace, each), range(number + 1, number + 1 + at_once)), number + 1):
            if change is None:
                return
            if isinstance(change, DamagedChangeError):
                raise change
            yield each, change
        number += at_once
        at_once = min(2 * at_once, REQUESTS_AT_ONCE)


def _read(workspace: Workspace, number: int) -> Change | DamagedChangeError | None:
    """A change; None where it is not there."""
    path = _change_path(number)
    with suppress(FileNotFoundError):
        try:
            return _decoded(workspace.read_bytes(path))
        except ValueError:
            time.sleep(SECOND_LOOK)
        try:
            return _decoded(workspace.read_bytes(path))
        except ValueError as error:
            told = f"{workspace.address(path)} is damaged: {error}. What it said of a retailer's items is passed over; report these again"
            return DamagedChangeError(told, number)
    return None


def _decoded(data: bytes) -> Change:
    """Raises ValueError."""
    return msgspec.json.decode(data, type=Change)


def is_behind(workspace: Workspace, number: int) -> bool:
    """Whether changes after a number may have been removed, so that whoever has read up to it has to open the log again."""
    return number < min(wholes(workspace), default=0)


def open_log(workspace: Workspace) -> tuple[Availability, int]:
    """All that retailers have, and the number of the last change that made it so. It ends before a damaged change, of which the next
    `read_after` tells.

    Raises:
        ShelfcodeError: the newest whole is damaged.
    """
    while True:
        reached = whole = max(wholes(workspace), default=0)
        try:
            stock = Stock(availability_of(read_whole(workspace, whole)))
        except FileNotFoundError:  # removed after it was listed
            continue
        with suppress(DamagedChangeError):
            for number, change in read_after(workspace, whole):
                apply(stock, change)
                reached = number
        if not is_behind(workspace, reached):
            return stock.availability, reached


def apply(stock: Stock, change: Change) -> None:
    """Have a stock know of a change."""
    remove_N = None if change.kind == "replace" else _keys(change.remove)
    stock.change_keys(change.retailer_id, _keys(change.add), remove_N)


def _keys(item_ids: list[str]) -> Keys:
    return item_keys(pa.array(item_ids, pa.string()))


def write_whole(workspace: Workspace, number: int, kept_seconds: float = KEPT_SECONDS) -> None:
    """Write what all changes up to a number come to, and remove what is then no longer needed.

    Args:
        number: of a change that is there.
        kept_seconds: the newest whole that was written so long before this one stays, as do all after it; those before it go, and the
            changes up to it. More than a second, since a bucket's clock tells no less.

    Raises:
        ShelfcodeError: the newest whole before it is damaged.
        OSError: the store does not answer, or changes were removed because somebody has written a newer whole.
    """
    start = max((each for each in wholes(workspace) if each <= number), default=0)
    if start < number:
        data = _whole_file(workspace, start, number)
        workspace.write_bytes(whole_path(number), data)
    _trim(workspace, kept_seconds)


def _whole_file(workspace: Workspace, start: int, number: int) -> bytes:
    """A whole as Parquet, from the one before it and the changes since."""
    before = read_whole(workspace, start)
    stock, texts = Stock(availability_of(before)), [distinct_ids(before)]
    for change in _changes(workspace, start, number):
        item_ids = pa.array(change.add, pa.string())
        texts.append(item_ids.filter(pa.array(stock.availability.numbers.get(item_keys(item_ids)) < 0)))
        apply(stock, change)
    return whole_bytes(stock.availability, pa.concat_arrays(texts))


def _changes(workspace: Workspace, start: int, number: int) -> Iterator[Change]:
    """The changes after one number and up to another. Damaged ones are passed over: every process that reads them tells."""
    while start < number:
        reached = start
        try:
            for reached, change in read_after(workspace, start):
                if reached > number:
                    return
                yield change
            if reached < number:
                raise FileNotFoundError(f"{workspace.address(_change_path(reached + 1))} is not there")
        except DamagedChangeError as damaged:
            reached = damaged.number
        start = reached


def _trim(workspace: Workspace, kept_seconds: float) -> None:
    """Remove wholes before the one that stays, then the changes up to it: in this order, so that what readers go by always holds."""
    *earlier, newest = wholes(workspace)
    until = workspace.written_at(whole_path(newest)) - kept_seconds
    stays = next((each for each in reversed(earlier) if (written_at(workspace, whole_path(each)) or np.inf) <= until), 0)
    if not stays:
        return
    changes = [name for name in workspace.names(CHANGES) if name <= f"{stays:012}.json"]
    for paths in ([whole_path(each) for each in earlier if each < stays], [f"{CHANGES}/{name}" for name in changes]):
        for _ in in_order(lambda path: _remove(workspace, path), paths):
            pass


def _remove(workspace: Workspace, path: str) -> None:
    with suppress(FileNotFoundError):  # somebody else has just removed it
        workspace.remove(path)


def _change_path(number: int) -> str:
    return f"{CHANGES}/{number:012}.json"
