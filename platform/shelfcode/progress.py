"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[int], None]
"""Called, in the process that started the work, with how much was done since the last call: rows, unless said otherwise."""
