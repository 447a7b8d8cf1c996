"""What a source consists of: a file, folder or glob, local or s3://, of Parquet, CSV or JSON, or a Delta or Iceberg table.

A file that is part of a catalog and cannot be read is refused by name: half a catalog must not pass for a whole one.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from shelfcode.catalog.formats.content import COMPRESSED, FORMATS, HEAD_BYTES, format_by_name, format_of_content, holds_no_data
from shelfcode.catalog.formats.lake_tables import list_table, table_folders
from shelfcode.catalog.formats.parquet_rows import open_ranges
from shelfcode.catalog.source_file import SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.parallel import in_order
from shelfcode.store import open_filesystem

SPLIT_ABOVE_BYTES = 256 * 2**20
"""A Parquet file larger than this is split by row groups, so that several tasks read it side by side."""

_POINTER_BYTES_MAX = 512
_GLOB = re.compile(r"[*?\[]")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class _Found:
    """Files below a folder, by their paths within it, with what the store knows of each."""

    fs: AbstractFileSystem
    folder: str
    files: dict[str, dict[str, Any]]

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}" if name else self.folder

    def url(self, name: str) -> str:
        path = self.path(name)
        return path if isinstance(self.fs, LocalFileSystem) else self.fs.unstrip_protocol(path)


def list_source(url: str, split_above_bytes: int = SPLIT_ABOVE_BYTES) -> list[SourceFile]:
    """The files of a source, in the order in which their rows count. Hidden ones, whose name or folder begins with . or _, are left out.

    Raises:
        ShelfcodeError: nothing is there, a file is of a format that is not read, or a table is not given as a whole.
    """
    if url.startswith(("http://", "https://")):
        raise ShelfcodeError(
            f"--catalog {url}: catalogs are not read over HTTP. Download it first (curl -O {url}), or put it into a bucket (s3://)"
        )
    try:
        return _list(url, split_above_bytes)
    except ShelfcodeError as error:
        raise ShelfcodeError(f"--catalog {url}: {error}") from error


def _list(url: str, split_above_bytes: int) -> list[SourceFile]:
    found = _find(url)
    if not found.files:
        raise ShelfcodeError("there is nothing there. Give a file, a folder or a glob of Parquet, CSV or JSON")
    files = []
    tables = table_folders(list(found.files))
    for folder, kind in tables.items():
        files += list_table(kind, found.url(folder))
    _refuse_part_of_table(found)
    names = [name for name in sorted(found.files) if not any(_lies_in(name, folder) for folder in tables)]
    look = partial(_look, found, split_above_bytes=split_above_bytes)
    unread = []
    for name, (shares, problem) in zip(names, in_order(look, names), strict=True):
        files += shares
        unread += [f"{name!r} ({problem})"] if problem else []
    if unread:
        endings = ", ".join(f".{end}" for end in FORMATS)
        listed = ", ".join(unread[:5]) + (", ..." if len(unread) > 5 else "")
        raise ShelfcodeError(
            f"{len(unread)} of its files cannot be read: {listed}. Those that can end in {endings}, compressed or not. "
            "Convert or move the others, or give a glob that leaves them out"
        )
    if not files:
        raise ShelfcodeError(
            f"none of its {len(found.files)} files holds a catalog. Give a file, a folder or a glob of Parquet, CSV or JSON"
        )
    return files


def source_digest(files: list[SourceFile], settings_json: str) -> str:
    """Identifies the content of a source without reading it: by its files' names, sizes and times, and the settings they are read with."""
    lines = [settings_json, *(f"{file.url} {file.version}" for file in files)]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def _find(url: str) -> _Found:
    """All visible files of a source."""
    fs, root = open_filesystem(url)
    root = root.rstrip("/")
    if _GLOB.search(root) and not fs.exists(root):  # a file's name may contain such a sign
        steps = root.split("/")
        folder = "/".join(takewhile(lambda step: not _GLOB.search(step), steps))
        infos, asked = fs.glob(root, detail=True), steps[-1].startswith((".", "_"))
        if all(info.get("type") == "directory" for info in infos.values()):
            infos = {path: info for each in infos for path, info in fs.find(each, detail=True).items()}
    elif fs.isdir(root):
        folder, asked, infos = root, False, fs.find(root, detail=True)
    else:
        folder, asked, infos = root.rpartition("/")[0], True, {root: fs.info(root)} if fs.exists(root) else {}
    files = {path[len(folder) + 1 :]: info for path, info in infos.items() if info.get("type") != "directory"}
    in_logs = re.compile(r"(^|/)_delta_log/")
    return _Found(fs, folder, {name: info for name, info in files.items() if in_logs.search(name) or not _hidden(name, asked)})


def _hidden(name: str, asked: bool) -> bool:
    """Whether a file is hidden by its name or a folder's. `_month=3` names a column. What was asked for by name is not hidden."""
    *folders, last = name.split("/")
    steps = folders if asked else [*folders, last]
    return any(step.startswith(".") or (step.startswith("_") and "=" not in step) for step in steps)


def _lies_in(name: str, folder: str) -> bool:
    return not folder or name.startswith(f"{folder}/")


def _refuse_part_of_table(found: _Found) -> None:
    """Refuse some files of a table, of which only its log says whether they count.

    Raises:
        ShelfcodeError: they lie in a table whose own folder was not given.
    """
    inside = {name.rpartition("/")[0] for name in found.files}
    above = [found.folder, *(found.folder.rsplit("/", depth)[0] for depth in (1, 2))]
    below = [found.path(folder) for folder in sorted(inside)[:100] if folder]
    whole = {found.path(folder) for folder in table_folders(list(found.files))}
    for folder in dict.fromkeys([*above, *below]):
        if folder in whole or not folder:
            continue
        if found.fs.isdir(f"{folder}/_delta_log") or _is_iceberg(found.fs, folder):
            raise ShelfcodeError(f"these are files of the table in {folder}, and only its log says which of them count. Give that folder")


def _is_iceberg(fs: AbstractFileSystem, folder: str) -> bool:
    return fs.isdir(f"{folder}/metadata") and bool(fs.glob(f"{folder}/metadata/*.metadata.json"))


def _look(found: _Found, name: str, split_above_bytes: int) -> tuple[list[SourceFile], str]:
    """A file, or the shares of a large one; none where it holds no data, and what is wrong where it cannot be read."""
    info, path = found.files[name], found.path(name)
    size = int(info.get("size") or 0)
    kind = format_by_name(path)
    if kind is None and (holds_no_data(path) or not size):
        return [], ""
    nameless = re.fullmatch(r"[^.]*(\.[\d_-]*)*", name.rpartition("/")[2]) is not None
    packed = kind == "parquet" and path.lower().endswith(tuple(f".{ending}" for ending in COMPRESSED))
    if kind is None or kind == "json" or packed or size <= _POINTER_BYTES_MAX:
        seen, problem = _content(found.fs, path)
        if "LFS" in problem or (kind is None and not seen) or (packed and seen != "parquet"):
            return [], problem or "no Parquet"
        if kind is None and not nameless:
            return [], "an unknown ending"
        kind = "jsonl" if kind == "json" and seen == "jsonl" else kind or seen
    file = SourceFile(found.url(name), str(kind), _version(info), partitions=_partitions(path))
    return _split(file, found.fs, path, size, split_above_bytes), ""


def _content(fs: AbstractFileSystem, path: str) -> tuple[str | None, str]:
    with fs.open(path, "rb", block_size=4 * HEAD_BYTES) as stream:
        try:
            return format_of_content(stream)
        except (OSError, EOFError, pa.ArrowException) as error:  # whoever reads it says what is wrong
            return None, f"damaged: {error}"


def _version(info: dict[str, Any]) -> str:
    changed = (info.get(key) for key in ("ETag", "mtime", "LastModified", "last_modified", "created"))
    return f"{info.get('size')} {next((each for each in changed if each), None)}"


def _partitions(path: str) -> tuple[tuple[str, str | None], ...]:
    """The columns that folders directly above a file name, outermost first: `brand=Acme`."""
    steps: Iterable[str] = reversed(path.split("/")[:-1])
    pairs = [step.partition("=") for step in takewhile(lambda step: step.find("=") > 0, steps)]
    return tuple((unquote(name), None if value == _NULL_PARTITION else unquote(value)) for name, _, value in reversed(pairs))


def _split(file: SourceFile, fs: AbstractFileSystem, path: str, size: int, above_bytes: int) -> list[SourceFile]:
    """A file as it is, or a large Parquet file as groups of its row groups."""
    if file.format != "parquet" or size <= above_bytes:
        return [file]
    try:
        with open_ranges(fs, path) as stream:
            metadata = pq.read_metadata(stream)
    except (pa.ArrowException, OSError):
        return [file]  # whoever reads it says what is wrong
    shares: list[SourceFile] = []
    groups: list[int] = []
    share_bytes = first_row = row = 0
    for group in range(metadata.num_row_groups):
        groups.append(group)
        share_bytes += metadata.row_group(group).total_byte_size
        row += metadata.row_group(group).num_rows
        if share_bytes > above_bytes or group == metadata.num_row_groups - 1:
            shares.append(replace(file, shares=tuple(groups), first_row=first_row))
            groups, share_bytes, first_row = [], 0, row
    return shares
