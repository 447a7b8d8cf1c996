"""Where things live, local or s3://, and how a file appears there: whole or not at all.

Layout (the contract is in docs/workspace.md):

    <workspace>/catalog/<snapshot>/       the catalog as it was read: part-*.parquet, manifest.json
    <workspace>/attributes/<extractor>/   part-*.parquet
    <workspace>/embeddings/<encoder>/     part-*.parquet
    <workspace>/encoders/<name>/          one folder a version, CURRENT and history/
    <workspace>/rejected/<run>/           part-*.parquet
    <workspace>/runs/<run>/               work in progress: checkpoints and the draft of a release
    <workspace>/releases/<flavor>/        one folder a version, CURRENT and history/
    <workspace>/leases/<name>/            who writes now
    <workspace>/layout.json               version of this layout
"""

import json
import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from shelfcode.errors import ShelfcodeError
from shelfcode.parts import is_part
from shelfcode.store import OnRetry, open_filesystem, tell_retries

LAYOUT = 1
"""Of this version of the library. Workspaces from before the layout was numbered have this one too."""

LAYOUT_FILE = "layout.json"


def new_run(job: str) -> str:
    """Name of one run of a job; such names sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{job}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True)
class StoredFile:
    """A file of a workspace: its path within it, its size, and when it was written, by the clock of the store."""

    path: str
    bytes: int
    written: float


def _written(info: dict[str, Any]) -> float:
    """fsspec's facts about a file name the time as the store does."""
    return float(info["mtime"]) if "mtime" in info else float(info["LastModified"].timestamp())


@dataclass(frozen=True)
class Workspace:
    """A folder or bucket prefix. Holds only its URL, so that it travels to any worker; paths given to it are relative.

    Attributes:
        on_retry: called each time that a bucket's store is asked again, in whichever process; has to travel too.
    """

    url: str
    on_retry: OnRetry | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if "://" not in self.url:  # workers run in folders of their own, where a relative path means another place
            object.__setattr__(self, "url", str(Path(self.url).expanduser().absolute()))

    @property
    def fs(self) -> AbstractFileSystem:
        fs = open_filesystem(self.url)[0]
        if self.on_retry and not isinstance(fs, LocalFileSystem):
            tell_retries(fs, self.on_retry)
        return fs

    @property
    def is_local(self) -> bool:
        return "://" not in self.url or isinstance(self.fs, LocalFileSystem)

    @property
    def arrow_filesystem(self) -> pafs.FileSystem:
        """The same filesystem as pyarrow and Ray Train want it."""
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
        """Names of what lies directly in a folder, sorted; empty when there is no such folder."""
        try:
            entries = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for name in (entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries) if not name.startswith("."))

    def parts(self, folder: str) -> list[str]:
        """The part files of a table, relative to the workspace, sorted by name."""
        return [path for name in self.names(folder) if is_part(path := f"{folder}/{name}", folder)]

    def read_bytes(self, relative: str) -> bytes:
        # s3fs reads large files in pieces side by side, and fails when the connection of one of them breaks; as a whole it asks again.
        options = {} if self.is_local else {"max_concurrency": 1}
        data: bytes = self.fs.cat_file(self.path(relative), **options)
        return data

    def read_json(self, relative: str) -> Any:
        return json.loads(self.read_bytes(relative))

    def read_table(self, relative: str, columns: list[str] | None = None) -> pa.Table:
        """One Parquet file."""
        with self.fs.open(self.path(relative), "rb") as file:
            return pq.read_table(file, columns=columns)

    def read_schema(self, relative: str) -> pa.Schema:
        """Columns and types of one Parquet file."""
        with self.fs.open(self.path(relative), "rb") as file:
            return pq.read_schema(file)

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Write a file that readers see whole or not at all; replaces one of that name."""
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
        """Copy a folder of this machine into the workspace, file by file."""
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            target = self.path(f"{folder}/{path.relative_to(source).as_posix()}")
            if self.is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
            self.fs.put_file(str(path), target)

    def files(self, folder: str) -> list["StoredFile"]:
        """All files below a folder, those whose names begin with a dot too, sorted by path; empty when there is no such folder."""
        root = self.path("")
        found = self.fs.find(self.path(folder), detail=True, withdirs=False)
        return [StoredFile(path[len(root) :].lstrip("/"), int(info["size"]), _written(info)) for path, info in sorted(found.items())]

    def written_at(self, relative: str) -> float:
        """When a file was written, in seconds since 1970, by the clock of the store."""
        return _written(self.fs.info(self.path(relative)))

    def clock(self) -> float:
        """What time it is by the clock of the store: that of a machine may differ."""
        probe = f".clock-{uuid.uuid4().hex}"
        self.write_bytes(probe, b"")
        try:
            return self.written_at(probe)
        finally:
            self.remove(probe)

    def claim(self, relative: str, data: bytes = b"") -> bool:
        """Create a file that did not exist; False when somebody else was first."""
        path = self.path(relative)
        try:
            if self.is_local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with Path(path).open("xb") as file:
                    file.write(data)
            else:
                self.fs.pipe_file(path, data, mode="create")  # a conditional put
        except FileExistsError:
            return False
        return True

    def move_folder(self, source: str, target: str) -> None:
        """Rename where the filesystem can, copy and delete where it cannot (a bucket)."""
        if self.is_local:
            destination = Path(self.path(target))
            destination.parent.mkdir(parents=True, exist_ok=True)
            Path(self.path(source)).rename(destination)
            return
        prefix = self.path(source)
        for path in self.fs.find(prefix):
            self.fs.copy(path, self.path(target) + path[len(prefix) :])
        self.remove(source)

    def remove(self, relative: str) -> None:
        """Delete a file or folder; nothing happens when there is none."""
        if self.exists(relative):
            self.fs.rm(self.path(relative), recursive=True)


def check_layout(workspace: Workspace) -> None:
    """Note the layout in a workspace that has none noted.

    Raises:
        ShelfcodeError: the workspace has another layout; says how to go on.
    """
    if not workspace.exists(LAYOUT_FILE):
        workspace.write_json(LAYOUT_FILE, {"layout": LAYOUT})
        return
    try:
        found = workspace.read_json(LAYOUT_FILE)["layout"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found == LAYOUT:
        return
    address = workspace.address(LAYOUT_FILE)
    if not isinstance(found, int):
        raise ShelfcodeError(f'{address} is damaged: expected {{"layout": {LAYOUT}}}')
    if found > LAYOUT:
        raise ShelfcodeError(
            f"{address} says layout {found}, and this version of shelfcode knows {LAYOUT}: install a newer one. Nothing was touched"
        )
    raise ShelfcodeError(
        f"{address} says layout {found}, older than {LAYOUT}. To migrate: make a new workspace and train in it from the same catalog; "
        "embeddings/ and attributes/ may be copied there first, their layout never changed, so that nothing is embedded or extracted "
        "again (docs/workspace.md, Migrating). Nothing was touched"
    )
