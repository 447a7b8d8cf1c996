"""The files of a table: part-<name>.parquet in one folder. A reader takes all of them, in the order of their names.

A name follows from what is stored, never from chance or time: a task that runs again after a fault writes the same file again.
"""

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

_PART = re.compile(r"(.*)/part-([^/]*)\.parquet", re.DOTALL)


def part_path(folder: str, name: str) -> str:
    """Path of a part that is named by its place in the work, such as 000003."""
    return f"{folder}/part-{name}.parquet"


def is_part(path: str, folder: str) -> bool:
    """Whether a file is one of the parts of the table in a folder."""
    match = _PART.fullmatch(path)
    return match is not None and match[1] == folder


def part_name(path: str) -> str:
    """What `part_path` was given as the name."""
    return path.rsplit("/part-", 1)[-1].removesuffix(".parquet")


def name_of_rows(keys_N: NDArray[np.uint64]) -> str:
    """Name of a part by the rows in it, for tables to which every run adds."""
    return hashlib.blake2b(keys_N.tobytes(), digest_size=8).hexdigest()
