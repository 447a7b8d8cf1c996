"""The folder or bucket prefix in which everything lives, local or s3://. A file appears there whole or not at all.

Layout (the contract is in docs/workspace.md):

    <workspace>/catalog/<snapshot>/       the catalog as it was read: part-*.parquet, manifest.json
    <workspace>/attributes/<extractor>/   part-*.parquet
    <workspace>/embeddings/<encoder>/     part-*.parquet
    <workspace>/encoders/<name>/          one folder per version, CURRENT and history/
    <workspace>/extractors/<name>/        the same
    <workspace>/interactions/<digest>/    a log of sessions, joined to a release's products: part-*.parquet, manifest.json
    <workspace>/retrievers/<name>/        one folder per version, CURRENT and history/
    <workspace>/models/int8/<digest>/     an encoder in int8: model.xml, model.bin, manifest.json
    <workspace>/availability/             what retailers have: changes/*.json, whole/*.parquet
    <workspace>/impressions/<day>/        what was shown and chosen: part-*.parquet
    <workspace>/rejected/<run>/           part-*.parquet
    <workspace>/runs/<run>/               work in progress: checkpoints and the draft of a release or an audit
    <workspace>/releases/<flavor>/        one folder per version, CURRENT and history/
    <workspace>/audits/<audit>/           findings/part-*.parquet, patterns.parquet, categories.parquet, report.html, manifest.json
    <workspace>/leases/<name>/            which run may write now
    <workspace>/layout.json               version of this layout (workspace_layout.py)
"""

import errno
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel

from shelfcode.arrow_store import read_parquet, read_parquet_schema
from shelfcode.errors import ShelfcodeError
from shelfcode.parallel import REQUESTS_AT_ONCE, in_order
from shelfcode.parts import is_part
from shelfcode.store import OnRetry, listen_for_retries, open_filesystem

Record = TypeVar("Record", bound=BaseModel)


def new_run(job: str) -> str:
    """Name of one run of a job. Such names sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{job}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True)
class StoredFile:
    """A file of a workspace: its path within the workspace, its size, and when it was written, by the clock of the store."""

    path: str
    bytes: int
    written: float


def _written(info: dict[str, Any]) -> float:
    """When a file was written, from fsspec's facts about it, which each store names in its own way."""
    return float(info["mtime"]) if "mtime" in info else float(info["LastModified"].timestamp())


@dataclass(frozen=True)
class Workspace:
    """A folder or bucket prefix. It holds only the URL, so that it can be sent to any worker. Paths are relative to it.

    Attributes:
        on_retry: called each time that a bucket's store is asked again, in whichever process. Must be picklable.
    """

    url: str
    on_retry: OnRetry | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if "://" not in self.url:  # workers run in other folders, where a relative path would mean another place
            object.__setattr__(self, "url", str(Path(self.url).expanduser().absolute()))

    @property
    def fs(self) -> AbstractFileSystem:
        fs = open_filesystem(self.url)[0]
        if self.on_retry and not isinstance(fs, LocalFileSystem):
            listen_for_retries(fs, self.on_retry)
        return fs

    @property
    def is_local(self) -> bool:
        return "://" not in self.url or isinstance(self.fs, LocalFileSystem)

    @property
    def arrow_filesystem(self) -> pafs.FileSystem:
        """The same filesystem for pyarrow and Ray Train."""
        return pafs.LocalFileSystem() if self.is_local else pafs.PyFileSystem(pafs.FSSpecHandler(self.fs))

    def path(self, relative: str) -> str:
        """Full path within the filesystem."""
        root = open_filesystem(self.url)[1].rstrip("/")
        return f"{root}/{relative}" if relative else root

    def address(self, relative: str) -> str:
        """Full path as a user would write it, with its scheme."""
        return self.path(relative) if self.is_local else self.fs.unstrip_protocol(self.path(relative))

    def exists(self, relative: str) -> bool:
        return bool(self.fs.exists(self.path(relative)))

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders directly in a folder, sorted and without hidden ones. Empty where there is no such folder."""
        try:
            entries = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for name in (entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries) if not name.startswith("."))

    def parts(self, folder: str) -> list[str]:
        """The part files of a table, relative to the workspace, sorted by name."""
        return [path for name in self.names(folder) if is_part(path := f"{folder}/{name}", folder)]

    def read_bytes(self, relative: str) -> bytes:
        # s3fs reads large files in several pieces at once, and fails when one of their connections breaks. It repeats one request for all.
        options = {} if self.is_local else {"max_concurrency": 1}
        data: bytes = self.fs.cat_file(self.path(relative), **options)
        return data

    def read_json(self, relative: str) -> Any:
        return json.loads(self.read_bytes(relative))

    def read_record(self, relative: str, record: type[Record]) -> Record:
        """A JSON file as the model that says what is in it.

        Raises:
            ShelfcodeError: it is damaged.
        """
        try:
            return record.model_validate(self.read_json(relative))
        except ValueError as error:
            raise ShelfcodeError(f"{self.address(relative)} is damaged: {str(error).splitlines()[0]}") from error

    def read_table(self, relative: str, columns: list[str] | None = None) -> pa.Table:
        """One Parquet file, or some columns of it; no more of the others than a few bytes is read."""
        return read_parquet(self.fs, self.path(relative), columns)

    def read_tables(self, parts: Iterable[str], columns: list[str] | None = None, at_once: int = REQUESTS_AT_ONCE) -> Iterator[pa.Table]:
        """Several Parquet files, or some columns of them, in their order; `at_once` of them are read side by side, and wait in memory."""
        return in_order(lambda part: self.read_table(part, columns), parts, at_once)

    def read_schema(self, relative: str) -> pa.Schema:
        """Columns and types of one Parquet file."""
        return read_parquet_schema(self.fs, self.path(relative))

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Write or replace a file. Readers see it whole or not at all."""
        path = self.path(relative)
        if not self.is_local:
            self.fs.pipe_file(path, data)  # an object appears when its upload is complete
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def write_json(self, relative: str, value: Any) -> None:
        self.write_bytes(relative, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode())

    def write_table(self, relative: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write_bytes(relative, sink.getvalue().to_pybytes())

    def put_folder(self, source: Path, folder: str) -> None:
        """Copy a folder of this machine into the workspace, file by file, several at once."""
        fs, is_local = self.fs, self.is_local

        def put(path: Path) -> None:
            target = self.path(f"{folder}/{path.relative_to(source).as_posix()}")
            if is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
            fs.put_file(str(path), target)

        for _ in in_order(put, sorted(path for path in source.rglob("*") if path.is_file())):
            pass

    def files(self, folder: str) -> list[StoredFile]:
        """All files in and below a folder, hidden ones included, sorted by path. Empty where there is no such folder."""
        root = self.path("")
        facts = self.fs.find(self.path(folder), detail=True, withdirs=False)
        return [StoredFile(path[len(root) :].lstrip("/"), int(info["size"]), _written(info)) for path, info in sorted(facts.items())]

    def written_at(self, relative: str) -> float:
        """When a file was written, in seconds since 1970, by the clock of the store."""
        return _written(self.fs.info(self.path(relative)))

    def clock(self) -> float:
        """The time by the clock of the store, which may differ from that of this machine."""
        probe = f".clock-{uuid.uuid4().hex}"
        self.write_bytes(probe, b"")
        try:
            return self.written_at(probe)
        finally:
            self.remove(probe)

    def claim(self, relative: str, data: bytes = b"") -> bool:
        """Create a file that did not exist. False where somebody else was first. Readers see it whole or not at all."""
        try:
            if self.is_local:
                self._claim_local(relative, data)
            else:
                self.fs.pipe_file(self.path(relative), data, mode="create")  # a conditional put
        except FileExistsError:
            return False
        return True

    def _claim_local(self, relative: str, data: bytes) -> None:
        """Write a hidden file and give it the name as well, which only one can do.

        Raises:
            FileExistsError: somebody else was first.
        """
        target = Path(self.path(relative))
        if target.exists():
            raise FileExistsError(relative)  # found without writing anything
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            self.write_bytes(f"{relative.rpartition('/')[0]}/{draft.name}".lstrip("/"), data)
            os.link(draft, target)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            with target.open("xb") as file:  # where a file can have one name only, a reader may see half of what is written
                file.write(data)
        finally:
            draft.unlink(missing_ok=True)

    def move_folder(self, source: str, target: str) -> None:
        """Rename a folder; in a bucket, which cannot rename, copy it, several files at once, and delete it."""
        if self.is_local:
            destination = Path(self.path(target))
            destination.parent.mkdir(parents=True, exist_ok=True)
            Path(self.path(source)).rename(destination)
            return
        fs, prefix, place = self.fs, self.path(source), self.path(target)
        for _ in in_order(lambda path: fs.copy(path, place + path[len(prefix) :]), fs.find(prefix)):
            pass
        self.remove(source)

    def remove(self, relative: str) -> None:
        """Delete a file or folder. Nothing happens where there is none."""
        if self.exists(relative):
            self.fs.rm(self.path(relative), recursive=True)
