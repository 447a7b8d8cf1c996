"""Retrievers that the processes of a node share: laid out on its disk by whoever opens one first, and mapped by all.

What a process adds to that is the model at work and the batch that it answers, some tens of megabytes, however large the catalog.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import torch
from filelock import FileLock

from shelfcode.errors import ShelfcodeError
from shelfcode.index.item_store import file_digest
from shelfcode.index.layout import map_layout, write_layout
from shelfcode.keys import item_key
from shelfcode.recipe_file import validate_settings
from shelfcode.releases.release import load_manifest
from shelfcode.retrieval.published_retriever import RetrieverCard, open_retriever, speaks
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever
from shelfcode.retrieval.retriever_layout import laid_out, mapped
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

LAYOUT = 1
"""Version of the files. Raise it with whatever changes how they are built or read, so that older ones are not read."""
LAYOUTS_KEPT = 4
"""Layouts of a retriever that stay on a node's disk, those that were opened last; each is as large as what it answers with."""
CPU = torch.device("cpu")


def open_mapped(
    workspace: Workspace, card: RetrieverCard, device: torch.device, release: str | None = None, translate: bool = False
) -> Retriever:
    """A published retriever, ready to answer, as `open_retriever` opens it without a table of availability; its arrays are mapped.

    The first process of a node to open it reads it and lays it out, which takes a minute or so for a million products; those that come
    meanwhile wait.

    Args:
        release: whose products are answered with, instead of those it was trained on; of the same quantizer.
        translate: whether the products of a release with other codes go by those that the retriever speaks (translated.py).

    Raises:
        ShelfcodeError: the release has other codes than the retriever speaks, a file is damaged, or the node's disk is full.
    """
    manifest, trained_on = load_manifest(workspace, release or card.release), load_manifest(workspace, card.release)
    translate = translate and not speaks(card, trained_on, manifest)
    recipe = validate_settings(RetrieverRecipe, card.recipe, f"recipe of {card.label}")
    scratch, retriever = scratch_folder(), file_digest(workspace.url, card.name)
    decides = (card.label, card.created, manifest.model_dump_json(), trained_on.model_dump_json(), translate)
    # Item keys lie in the files, so those of another hash are not read.
    folder = scratch / f"retriever-{retriever}-{file_digest(LAYOUT, item_key('a product'), *decides)}"
    scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(scratch / f"retriever-{retriever}.lock"):
        opened = _opened(folder, recipe, device)
        if opened is None:
            _lay_out(folder, workspace, card, manifest.name, translate)
            opened = _opened(folder, recipe, device)
        if opened is None:
            raise ShelfcodeError(f"{card.label} cannot be read from {folder}, where it was just laid out: is this disk failing?")
        os.utime(folder)
        _forget_earlier(scratch.glob(f"retriever-{retriever}-*"))
    return opened


def _opened(folder: Path, recipe: RetrieverRecipe, device: torch.device) -> Retriever | None:
    """What is laid out in a folder; None where nothing is, or a file is missing or cut short."""
    try:
        return mapped(recipe, *map_layout(folder, "c"), device)
    except (OSError, ValueError, KeyError):
        return None


def _lay_out(folder: Path, workspace: Workspace, card: RetrieverCard, release: str, translate: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    arrays, told = laid_out(open_retriever(workspace, card, CPU, release, translate=translate))
    try:
        write_layout(folder, arrays, told)
    except OSError as error:
        raise ShelfcodeError(
            f"{card.label} cannot be laid out in {folder.parent} (SHELFCODE_SCRATCH names another folder): {error}"
        ) from error
    del arrays
    pa.default_memory_pool().release_unused()


def _forget_earlier(folders: Iterable[Path]) -> None:
    """Remove what was opened longest ago; a process that has it mapped keeps it until it ends."""
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)[LAYOUTS_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
