"""What is wrong with a model's folder, seen without loading the model: files that are missing, cut off, or only stand for others.

A model that was cloned without Git LFS, or whose download broke off, otherwise shows hours later and deep inside a library, or never:
without the files of its tokenizer a model still loads, and gives the same vector for all words.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from shelfcode.errors import ShelfcodeError

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
SAFETENSORS_HEADER_MAX = 100_000_000
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")
CONFIGS = ("config.json", "params.json")
TOKENIZERS = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "*.spm", "*.bpe.model", "*.tiktoken", "tekken.json",
    "*.gguf",
)  # fmt: skip
"""Files that hold a vocabulary, any one of which is enough."""

CONFIGURED = ("Pooling", "Dense", "StaticEmbedding", "WordEmbeddings")
"""Modules of sentence-transformers, beside the transformer, that cannot be made without the files of their folder."""


def check_model_folder(field: str, model: str, path: str, alternative: str = "") -> None:
    """Say what is wrong with a model's folder. A name on the model hub is not looked at.

    Args:
        field: the recipe's field that names the model, for messages.
        model: as the recipe names it.
        path: where it is, from `model_path` or `encoder_path`.
        alternative: what else the user can do, for the end of a message.

    Raises:
        ShelfcodeError: the folder is not there, or one of its files is missing, cut off, unreadable, or a Git LFS pointer.
    """
    problem = folder_problem(Path(path)) if is_folder_name(path) else None
    if problem:
        raise ShelfcodeError(f"{field} {model!r}: {problem}" + (f"; or {alternative}" if alternative else ""))


def is_folder_name(path: str) -> bool:
    """Whether a model's name can only mean a folder of this machine, or is one."""
    return path.startswith(("/", "./", "../", "~")) or Path(path).exists()


def folder_problem(folder: Path) -> str | None:
    """What is wrong, in words that say what to do; None where nothing can be seen."""
    if not folder.is_dir():
        return f"{folder} is {'a file' if folder.exists() else 'not there'}. Give a folder, a name on the model hub, or package:NAME"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    for file in files:
        if problem := _file_problem(file):
            return problem
    return _missing_in(folder)


def _file_problem(file: Path) -> str | None:
    size = file.stat().st_size
    with file.open("rb") as opened:
        if opened.read(len(LFS_POINTER)) == LFS_POINTER:
            return f"{file} is a Git LFS pointer and not the file itself: run git lfs pull in its folder"
    if file.suffix == ".safetensors":
        return _safetensors_problem(file, size)
    if file.suffix == ".json":
        return _json_problem(file)
    if file.suffix == ".bin" and not zipfile.is_zipfile(file) and _begins_as_zip(file):
        return f"{file} is cut off: it has {size:,} bytes, and its directory at the end is missing. Fetch it again"
    return f"{file} is empty. Fetch it again" if size == 0 and file.suffix in (".bin", ".model", ".gguf", ".txt") else None


def _safetensors_problem(file: Path, size: int) -> str | None:
    """A file of safetensors begins with the length of a header, which says where each tensor lies."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, SAFETENSORS_HEADER_MAX):
            return f"{file} is cut off or no file of safetensors: it has {size:,} bytes. Fetch it again"
        try:
            header: dict[str, Any] = json.loads(opened.read(length))
            ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return f"{file} is damaged: its header cannot be read. Fetch it again"
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        return (
            f"{file} is {'cut off' if size < expected else 'damaged'}: it has {size:,} bytes and should have {expected:,}. Fetch it again"
        )
    return None


def _json_problem(file: Path) -> str | None:
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        return f"{file} is cut off or damaged: {error}. Fetch it again"
    shards = content.get("weight_map") if isinstance(content, dict) and file.name.endswith(".index.json") else None
    for shard in sorted(set(shards.values())) if isinstance(shards, dict) else ():
        if not (file.parent / str(shard)).is_file():
            return f"{file.parent / str(shard)} is missing, which {file.name} names. Fetch it again"
    return None


def _begins_as_zip(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"PK"


def _missing_in(folder: Path) -> str | None:
    """What the folder lacks: of a transformer configuration, weights and tokenizer; of a module its configuration."""
    listed = folder / "modules.json"
    if not listed.is_file():
        return _missing_of_transformer(folder)
    for module in json.loads(listed.read_bytes()):
        kind, place = str(module.get("type", "")).rsplit(".", 1)[-1], folder / str(module.get("path", ""))
        if kind == "Transformer" and (problem := _missing_of_transformer(place)):
            return problem
        if kind in CONFIGURED and not any(place.glob("*")):
            return f"{place} is missing or empty, which {listed} names. Fetch it again"
    return None


def _missing_of_transformer(folder: Path) -> str | None:
    for what, names in (("configuration", CONFIGS), ("weights", WEIGHTS), ("tokenizer", TOKENIZERS)):
        if not any(path for name in names for path in folder.glob(name)):
            return f"{folder} holds no {what}: expected {' or '.join(names[:2])}. Give the folder of a whole model"
    return None
