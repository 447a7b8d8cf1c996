"""What somebody who looks at a page is told of whatever went wrong behind it."""

import logging

from shelfcode.serving.api.problems import Problem

log = logging.getLogger("ray.serve")


def as_problem(error: Exception, unavailable: tuple[type[Exception], ...], request_id: str, what: str) -> Problem:
    """An error as a Problem. One that nobody foresaw is logged, and nothing of it is told.

    Args:
        unavailable: errors that mean that a part of the server is down.
        what: was asked for, for the log.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, unavailable):
        return Problem("unavailable", "a part of the server is down and did not come back in time; try again")
    log.error("request_id=%s: %s failed", request_id, what, exc_info=error)
    return Problem("internal", "this is a fault of the server; its log has the request_id")
