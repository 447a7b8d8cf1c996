"""What nothing refers to any more: first a plan that lists it, then its deletion. No file is deleted that the plan does not list.

Never touched: audits/, encoders/, extractors/, retrievers/, encoded/, leases/, CURRENT and its history, layout.json, and everything that
is not known to belong to a workspace.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.int8_models import INT8_MODELS, pointed_model
from shelfcode.errors import ShelfcodeError
from shelfcode.parts import is_part
from shelfcode.progress import Progress
from shelfcode.releases.release import Manifest
from shelfcode.retention.references import Kept, TableUses, int8_models_of, snapshots_of
from shelfcode.retention.stored_files import Inventory, remove_files
from shelfcode.versions import VERSION, current_of
from shelfcode.workspace import StoredFile, Workspace

DAY = 86_400.0
DRAFT = re.compile(r"\..+\.[0-9a-f]{8}|\.clock-[0-9a-f]{32}")
"""Names of files that a killed process leaves beside others."""

SWEPT = (
    "attributes", "availability", "catalog", "embeddings", "evaluations", "impressions", "interactions", "judgments", "models",
    "rejected", "releases", "runs",
)  # fmt: skip
"""Folders of a workspace in which such files are looked for."""

EVALUATION = re.compile(r"([^@]+@v\d{4,})(-against-.+)?")


@dataclass(frozen=True)
class Removal:
    """Files that are deleted together.

    Attributes:
        path: the folder or file, within the workspace.
        stored: its files.
    """

    path: str
    reason: str
    stored: tuple[StoredFile, ...]

    @property
    def files(self) -> int:
        return len(self.stored)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.stored)

    def summary(self) -> dict[str, Any]:
        """What a job says about it, as values for JSON."""
        return {"path": self.path, "reason": self.reason, "files": self.files, "bytes": self.bytes}


def plan_removals(workspace: Workspace, inventory: Inventory, kept: Kept, uses: TableUses, older_than: float) -> list[Removal]:
    """Everything that may be deleted, in an order in which nothing goes before what refers to it."""
    snapshots = snapshots_of(workspace, kept.releases.values())
    candidates = [
        *_releases(inventory, kept.going),
        *_broken_versions(inventory),
        *_evaluations(inventory, kept),
        *_snapshots(inventory, snapshots),
        *_interactions(inventory, kept),
        *_rejected(inventory, kept, snapshots),
        *_tables(inventory, uses),
        *_int8_models(workspace, inventory, kept),
        *_whole(inventory, "runs", "a training or coding that was broken off"),
    ]
    removals = [removal for removal in candidates if removal.stored and inventory.are_old(removal.stored, older_than)]
    planned = {file.path for removal in removals for file in removal.stored}
    drafts = (removal for removal in _drafts(inventory) if inventory.are_old(removal.stored, min(older_than, DAY)))
    return [*removals, *(removal for removal in drafts if removal.path not in planned)]


def carry_out(workspace: Workspace, removals: Sequence[Removal], check: Callable[[], None], progress: Progress) -> None:
    """Delete what was planned.

    Args:
        check: raises where nothing more may be deleted.
        progress: called with the number of files deleted.

    Raises:
        ShelfcodeError: a release that was to be deleted has been promoted since, or the store refuses to delete.
    """
    for removal in removals:
        _check_not_current(workspace, removal.path)
        remove_files(workspace, removal.path, [file.path for file in removal.stored], check)
        progress(removal.files)


def _check_not_current(workspace: Workspace, path: str) -> None:
    """Look once more, because a promotion takes no lease. Once the manifest is gone, no promotion finds the release."""
    folder, _, version = path.rpartition("/")
    if VERSION.fullmatch(version) and current_of(workspace, folder) == version:
        raise ShelfcodeError(f"{workspace.address(path)} became current in the meantime; start the same command again")


def _releases(inventory: Inventory, going: Sequence[Manifest]) -> Iterator[Removal]:
    for manifest in going:
        yield Removal(manifest.folder, "a release that nothing keeps", inventory.below(manifest.folder))


def _broken_versions(inventory: Inventory) -> Iterator[Removal]:
    """Versions without a manifest. The one with the highest number stays, so that no number is ever used again."""
    for flavor in inventory.children("releases"):
        versions = [path for path in inventory.children(flavor) if VERSION.fullmatch(path.rsplit("/", 1)[-1])]
        versions.sort(key=lambda path: int(path.rsplit("/v", 1)[-1]))
        for folder in versions[:-1]:
            if not inventory.has(f"{folder}/manifest.json"):
                yield Removal(folder, "a version without a manifest", inventory.below(folder))


def _evaluations(inventory: Inventory, kept: Kept) -> Iterator[Removal]:
    for path in inventory.children("evaluations"):
        match = EVALUATION.fullmatch(path.rsplit("/", 1)[-1])
        if match and match[1] not in kept.releases:
            yield Removal(path, "the evaluation of a release that is gone", inventory.below(path))


def _snapshots(inventory: Inventory, named: Mapping[str, Snapshot | None]) -> Iterator[Removal]:
    """Snapshots that no release names, and parts that were replaced by ones without duplicates."""
    for folder in inventory.children("catalog"):
        if folder not in named:
            yield Removal(folder, "a snapshot that no release names", inventory.below(folder))
        elif snapshot := named[folder]:
            listed = {part.path for part in snapshot.parts}
            for file in inventory.below(folder):
                if file.path not in listed and is_part(file.path, folder):
                    yield Removal(file.path, "a part that its snapshot does not list", (file,))


def _interactions(inventory: Inventory, kept: Kept) -> Iterator[Removal]:
    """Logs that were read and that no retriever was trained on, or whose reading was broken off."""
    named = {retriever.interactions.folder for retriever in kept.retrievers}
    for removal in _whole(inventory, "interactions", "interactions that no retriever was trained on"):
        if removal.path not in named:
            yield removal


def _rejected(inventory: Inventory, kept: Kept, snapshots: Mapping[str, Snapshot | None]) -> Iterator[Removal]:
    """Rejected rows of neither a snapshot nor interactions that stay."""
    named = {snapshot.rejected_folder for snapshot in snapshots.values() if snapshot}
    named |= {retriever.interactions.rejected_folder for retriever in kept.retrievers}
    for removal in _whole(inventory, "rejected", "rejected rows of nothing that is kept"):
        if removal.path not in named:
            yield removal


def _tables(inventory: Inventory, uses: TableUses) -> Iterator[Removal]:
    for kind in ("embeddings", *(() if uses.unnamed else ("attributes",))):
        for removal in _whole(inventory, kind, "a table that no release uses"):
            if removal.path not in uses.users:
                yield removal


def _int8_models(workspace: Workspace, inventory: Inventory, kept: Kept) -> Iterator[Removal]:
    """Models in int8 that no release was made with: first the files that point to them, then the models."""
    used = int8_models_of(kept.releases.values())
    paths = inventory.children(INT8_MODELS)
    for path in sorted(paths, key=lambda path: not path.endswith(".json")):
        model = path.rsplit("/", 1)[-1] if not path.endswith(".json") else pointed_model(workspace, path)
        if model not in used:
            yield Removal(path, "a model in int8 that no release uses", inventory.below(path))


def _whole(inventory: Inventory, folder: str, reason: str) -> Iterator[Removal]:
    for path in inventory.children(folder):
        yield Removal(path, reason, inventory.below(path))


def _drafts(inventory: Inventory) -> Iterator[Removal]:
    for file in inventory.files:
        *folders, name = file.path.split("/")
        if DRAFT.fullmatch(name) and (not folders or folders[0] in SWEPT) and "history" not in folders:
            yield Removal(file.path, "left by a process that was killed", (file,))
