"""Shelfcode: semantic IDs for product catalogs, on Ray."""

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from shelfcode.library_version import LIBRARY_VERSION

if TYPE_CHECKING:
    from shelfcode.job.notebook import Audit, Release, audit_release, encode, load_audit, load_release, train_flavor

__version__ = LIBRARY_VERSION
__all__ = ["Audit", "Release", "audit_release", "encode", "load_audit", "load_release", "train_flavor"]

if importlib.util.find_spec("pyarrow") is None:
    # A bare "No module named pyarrow" would not say which python it is: under `ray job submit` the first on the PATH of the head.
    raise ImportError(
        f"{sys.executable} has none of the libraries that Shelfcode needs (pyarrow is missing). Run the python of the environment that "
        "Shelfcode is installed in: .venv/bin/python in a checkout. Under `ray job submit` that environment must come first on the PATH of "
        "the cluster's nodes, or be named by its path: docs/deploy.md"
    )


def __getattr__(name: str) -> Any:
    """The calls for notebooks, imported when they are asked for: importing shelfcode stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shelfcode.job import notebook

    return getattr(notebook, name)
