"""Arrays on a node's own disk that its processes map: whoever needs them first lays them out, and all share the same memory."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
TOLD = "told.json"


def write_layout(folder: Path, arrays: Arrays, told: Mapping[str, Any]) -> None:
    """Write arrays, and what else is to be known of them, into a folder that is there only when it is whole.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, values in arrays.items():
        np.save(draft / f"{name}.npy", values, allow_pickle=False)
    (draft / TOLD).write_text(json.dumps(told))
    draft.rename(folder)


def map_layout(folder: Path, mode: Literal["r", "c"] = "r") -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a folder, mapped, and what is known of them.

    Args:
        mode: r: they cannot be written. c: what a process writes is its own, and never in the file; pages that nobody writes are shared.

    Raises:
        OSError: it is not there.
        ValueError: a file is damaged.
    """
    told = json.loads((folder / TOLD).read_text())
    return {path.stem: _mapped(path, mode) for path in folder.glob("*.npy")}, told


def _mapped(path: Path, mode: Literal["r", "c"]) -> NDArray[Any]:
    return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))  # plain: numpy's class for mapped arrays is slow at single values
