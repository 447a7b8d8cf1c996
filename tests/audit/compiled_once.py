"""Desks that share their compiled statements. Each would compile its own anew, which takes longer than what most tests do with it."""

from typing import Any

from shelfcode.audit.decisions.desk import Desk, open_desk

_COMPILED: dict[Any, Any] = {}


def open_compiled(url: str) -> Desk:
    """A review store opened as `open_desk` does."""
    desk = open_desk(url)
    for engine in (desk.database.engine, desk.database._writes):
        engine.update_execution_options(compiled_cache=_COMPILED)
    return desk
