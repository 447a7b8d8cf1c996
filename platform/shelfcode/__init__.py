"""Shelfcode: semantic IDs for product catalogs, on Ray."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shelfcode.job.notebook import Release, encode, load_release, train_flavor

__version__ = "0.1.0"
__all__ = ["Release", "encode", "load_release", "train_flavor"]


def __getattr__(name: str) -> Any:
    """The calls for notebooks, imported when they are asked for: importing shelfcode stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shelfcode.job import notebook

    return getattr(notebook, name)
