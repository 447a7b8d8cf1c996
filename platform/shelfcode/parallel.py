"""Many small requests side by side: an object store takes a while to answer, but answers many at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

REQUESTS_AT_ONCE = 32
"""For what takes little memory: some columns of a part, the copy of an object, a manifest."""

TABLES_AT_ONCE = 8
"""For whole parts with their vectors, of which one may take a hundred megabytes."""


def in_order(function: Callable[[Item], Result], items: Iterable[Item], at_once: int = REQUESTS_AT_ONCE) -> Iterator[Result]:
    """`function` of each item, in the order of the items, computed by threads.

    No more than `at_once` results wait to be taken, so memory stays bounded however many items there are. Whoever stops taking
    results, or meets an error of `function`, waits only for the calls that have begun.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(at_once) as threads:
        try:
            for item in items:
                if len(waiting) == at_once:
                    yield waiting.popleft().result()
                waiting.append(threads.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
