"""A node's own disk, for what it can make again: matrices, quantised models, copies of a bucket's encoders."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from shelfcode.errors import ShelfcodeError

OWNERS_ALONE = 0o700


def scratch_folder() -> Path:
    """Where a node keeps what it can make again: SHELFCODE_SCRATCH, else a folder of the user's own under the system's.

    Everybody may write under the system's folder, and could have put one of this name there before; models and matrices are read from it
    later. So it is made, or found, as one that only the user can look into.

    Raises:
        ShelfcodeError: it is somebody else's, or no folder.
    """
    if named := os.environ.get("SHELFCODE_SCRATCH"):
        return Path(named)
    folder = Path(tempfile.gettempdir()) / f"shelfcode-{os.getuid()}"
    with contextlib.suppress(FileExistsError):  # something else of this name, which is told below
        folder.mkdir(mode=OWNERS_ALONE, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ShelfcodeError(f"{folder} is not a folder of this user's own: remove it, or name another one in SHELFCODE_SCRATCH")
    if stat.S_IMODE(found.st_mode) != OWNERS_ALONE:
        folder.chmod(OWNERS_ALONE)
    return folder


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder within the scratch folder that is made whole, or not at all, by whichever process asks for it first.

    Args:
        make: fills the folder that it is given the path of, which does not exist yet.
    """
    target = scratch_folder() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            draft = target.with_name(f"{name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            make(draft)
            draft.rename(target)
    return target
