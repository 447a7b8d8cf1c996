"""Models in int8 that a workspace keeps: quantised once, on one node, so that all nodes and all nights embed with the same one.

    models/int8/<digest>/model.xml, model.bin     named by their content
    models/int8/<digest>/manifest.json            written last: without it there is no model
    models/int8/<source>.json                     which of them was made of a source: {"digest": ...}

Quantised on two kinds of CPU, or by two versions of a library, one source may give two models. The first that is kept counts, and
embeddings are named by its digest. Nodes copy it to their own disk.
"""

import hashlib
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from shelfcode.embedding.published_encoder import ENCODERS
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.model_source import WORKSPACE, content_digest, model_path
from shelfcode.published_model import published_folder
from shelfcode.scratch import scratch_folder
from shelfcode.versions import library_versions
from shelfcode.workspace import Workspace

INT8_MODELS = "models/int8"
MODEL_FILES = ("model.bin", "model.xml")
LIBRARIES = ("openvino", "nncf")
CALIBRATION_FILE = Path(__file__).with_name("int8_calibration.txt")
"""Texts of products, one per line. Every int8 vector depends on them: whoever changes one raises INT8_VECTORS (encoder.py)."""
TEXTS = 256
"""How many of them the ranges are taken from; the others check the result."""
ADVICE = "set encoder.backend: torch"


def calibration_texts() -> tuple[list[str], list[str]]:
    """Texts that the ranges are taken from, and others to check with; fixed, or nodes and runs would differ."""
    texts = CALIBRATION_FILE.read_text(encoding="utf-8").splitlines()
    return texts[:TEXTS], texts[TEXTS:]


def int8_source(settings: EncoderSettings, prompt_by_name: str, workspace: Workspace | None) -> str:
    """Hash of all that a model in int8 is made of: the encoder, what it is given, and the texts that its ranges are taken from.

    Args:
        prompt_by_name: put before a text where neither the recipe nor the model says; the model's name may decide it.

    Raises:
        ShelfcodeError: there is no such package, or no such encoder in the workspace.
    """
    parts = (_encoder_content(settings, workspace), settings.max_tokens, settings.prompt, prompt_by_name, calibration_texts())
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _encoder_content(settings: EncoderSettings, workspace: Workspace | None) -> str:
    """What tells an encoder from all others, found without loading it."""
    if settings.model.startswith(WORKSPACE) and workspace is not None:  # a version never changes, and no two have the same manifest
        return hashlib.blake2b(workspace.read_bytes(f"{published_folder(ENCODERS, settings.model, workspace)}/manifest.json")).hexdigest()
    path = Path(model_path("encoder.model", settings.model))
    return content_digest(path) if path.is_dir() else f"{settings.model} {settings.revision}"


def built_folder(source: str, libraries: Sequence[str] = LIBRARIES) -> Path:
    """Where a node keeps what it has quantised itself; named by whatever that depends on.

    Raises:
        ShelfcodeError: a library is missing.
    """
    try:
        versions = [metadata.version(library) for library in libraries]
    except metadata.PackageNotFoundError as error:
        raise ShelfcodeError(f"encoder.backend int8: the package {error.name} is not installed; install it, or {ADVICE}") from error
    return scratch_folder() / f"int8-{hashlib.blake2b(repr((source, versions)).encode(), digest_size=8).hexdigest()}"


def digest_of(folder: Path) -> str | None:
    """Digest of the model that lies whole in a folder of this node; None where there is none, or a damaged one."""
    noted = folder / "digest"
    digest = noted.read_text() if noted.is_file() else None
    return digest if digest and digest == content_digest(folder / "model") else None


def place(model: Path, folder: Path) -> str:
    """Move the files of a model into a folder of this node, which appears whole or not at all; the model's digest."""
    digest = content_digest(model)
    draft = folder.with_suffix(".placed")
    for left in (draft, folder):
        shutil.rmtree(left, ignore_errors=True)
    draft.mkdir(parents=True)
    model.rename(draft / "model")
    (draft / "digest").write_text(digest)
    draft.rename(folder)
    return digest


def kept_model(workspace: Workspace, source: str) -> str | None:
    """Digest of the model that the workspace keeps of a source; None where it keeps none."""
    pointer = f"{INT8_MODELS}/{source}.json"
    digest = pointed_model(workspace, pointer) if workspace.exists(pointer) else None
    return digest if digest and is_kept(workspace, digest) else None


def pointed_model(workspace: Workspace, pointer: str) -> str | None:
    """Digest of the model that a file points to; None where a process was killed while it wrote the file."""
    try:
        return str(workspace.read_json(pointer)["digest"])
    except (ValueError, KeyError, TypeError):
        return None


def is_kept(workspace: Workspace, digest: str) -> bool:
    """Whether the workspace holds a model of this digest."""
    return workspace.exists(f"{INT8_MODELS}/{digest}/manifest.json")


def keep_model(workspace: Workspace, source: str, folder: Path, model: str) -> str:
    """Copy a model that this node has quantised into the workspace; the digest of the one that counts from now on.

    Of two nodes that do so at the same time, one is the first: its model counts for both.

    Args:
        folder: as `place` has left it.
        model: name of the encoder, for the manifest.
    """
    digest = digest_of(folder)
    if digest is None:
        raise RuntimeError(f"{folder} holds no whole model")
    kept = f"{INT8_MODELS}/{digest}"
    if not is_kept(workspace, digest):
        for name in MODEL_FILES:
            workspace.write_bytes(f"{kept}/{name}", (folder / "model" / name).read_bytes())
        workspace.write_json(f"{kept}/manifest.json", {"encoder": model, "source": source, "libraries": library_versions(LIBRARIES)})
    pointer = f"{INT8_MODELS}/{source}.json"
    if workspace.claim(pointer, f'{{"digest": "{digest}"}}'.encode()):
        return digest
    first = kept_model(workspace, source)
    if first is None:  # it is half written, or points to a model that somebody deleted
        workspace.write_json(pointer, {"digest": digest})
    return first or digest


def fetch_model(workspace: Workspace | None, digest: str) -> Path:
    """The model on this node's disk, copied there where it is not yet; files model.xml and model.bin.

    Raises:
        ShelfcodeError: the workspace does not keep it, or what it keeps is damaged.
    """
    folder = scratch_folder() / f"int8-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if digest_of(folder) != digest:
            draft = folder.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            _copy(workspace, digest, draft)
            if place(draft, folder) != digest:
                shutil.rmtree(folder)
                raise ShelfcodeError(f"{_address(workspace, digest)} is damaged: its files are not what its name says. {RESTORE}")
    return folder / "model"


RESTORE = "Put the folder back from a copy, or train a new release"


def _copy(workspace: Workspace | None, digest: str, target: Path) -> None:
    if workspace is None or not is_kept(workspace, digest):
        raise ShelfcodeError(f"encoder.int8_model {digest}: {_address(workspace, digest)} is not there. {RESTORE}")
    for name in MODEL_FILES:
        (target / name).write_bytes(workspace.read_bytes(f"{INT8_MODELS}/{digest}/{name}"))


def _address(workspace: Workspace | None, digest: str) -> str:
    return workspace.address(f"{INT8_MODELS}/{digest}") if workspace else f"{INT8_MODELS}/{digest}, of which workspace,"


def check_kept(workspace: Workspace, encoder: EncoderSettings) -> None:
    """Say early that the int8 model that a release was made with is gone.

    Raises:
        ShelfcodeError: the workspace does not hold it.
    """
    if encoder.chosen_backend == "int8" and encoder.int8_model and not is_kept(workspace, encoder.int8_model):
        raise ShelfcodeError(f"encoder.int8_model {encoder.int8_model}: {_address(workspace, encoder.int8_model)} is not there. {RESTORE}")
