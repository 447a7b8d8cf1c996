"""A node's own disk, for what it can make again: matrices, quantised models, copies of a bucket's encoders."""

import os
import tempfile
from pathlib import Path


def scratch_folder() -> Path:
    """Where a node keeps what it can make again: SHELFCODE_SCRATCH, else a folder of the user's under the system's own."""
    return Path(os.environ.get("SHELFCODE_SCRATCH") or Path(tempfile.gettempdir()) / f"shelfcode-{os.getuid()}")
