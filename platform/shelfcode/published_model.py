"""Models that a workspace keeps: <folder>/<name>/<version>, versioned as releases are, named in a recipe by `workspace:`.

`workspace:encoders/esci@v0001` is one version; `workspace:encoders/esci@current`, or without the `@`, is the one that CURRENT points to
when a job starts. The job pins it then, so that a release says which version it was made with.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from shelfcode.errors import ShelfcodeError
from shelfcode.model_source import WORKSPACE, model_path
from shelfcode.scratch import made_once
from shelfcode.versions import current_of, library_versions, publish_version, published_versions
from shelfcode.workspace import Workspace

NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class ModelKind:
    """What kind of model it is.

    Attributes:
        folder: of the workspace, which keeps models of this kind.
        field: of a recipe, which names them.
        what: one of them, for messages.
        made_by: the job that publishes them.
    """

    folder: str
    field: str
    what: str
    made_by: str


class ModelCard(BaseModel):
    """What a published model says of itself: its manifest.json. Each kind adds fields of its own."""

    model_config = ConfigDict(frozen=True)
    kind: ClassVar[ModelKind]

    name: str
    version: str = ""
    created: str = ""
    libraries: dict[str, str] = {}

    @property
    def model(self) -> str:
        """As a recipe names it."""
        return f"{WORKSPACE}{self.kind.folder}/{self.name}@{self.version}"

    @property
    def folder(self) -> str:
        return f"{self.kind.folder}/{self.name}/{self.version}"


Card = TypeVar("Card", bound=ModelCard)


def publish_model(workspace: Workspace, draft: str, card: Card) -> Card:
    """Move a draft that holds `model/` to the next free version and make it current."""
    now = datetime.now(UTC).isoformat(timespec="seconds")

    def numbered(version: str) -> Card:
        return card.model_copy(update={"version": version, "created": now, "libraries": library_versions()})

    folder = f"{card.kind.folder}/{card.name}"
    return numbered(publish_version(workspace, folder, draft, lambda version: numbered(version).model_dump(mode="json")))


def check_name(name: str) -> None:
    """Refuse a name that no recipe could speak of.

    Raises:
        ShelfcodeError: it is not in lower case, of letters, digits, _ and -.
    """
    if not NAME.fullmatch(name):
        raise ShelfcodeError(f"--name {name!r}: give lower-case letters, digits, _ and -, a letter first")


def pinned(kind: ModelKind, model: str, workspace: Workspace) -> str:
    """The version that the name of a workspace's model stands for now; a model from elsewhere stays as it is.

    Raises:
        ShelfcodeError: there is no such model in the workspace, or no such package; lists the models that there are.
    """
    if not model.startswith(WORKSPACE):
        model_path(kind.field, model)  # a missing package is better reported before any work
        return model
    folder, version = _folder_and_version(kind, model, workspace)
    return f"{WORKSPACE}{folder}@{version}"


def published_path(kind: ModelKind, model: str, workspace: Workspace | None) -> str:
    """Folder or hub name of a model; one that a bucket keeps is copied to the node's disk, once.

    Raises:
        ShelfcodeError: as `pinned`, or a workspace's model is named where no workspace is known.
    """
    if not model.startswith(WORKSPACE):
        return model_path(kind.field, model)
    if workspace is None:
        raise ShelfcodeError(f"{kind.field} {model!r}: which workspace? Name a folder, a name on the model hub, or package:NAME")
    folder, version = _folder_and_version(kind, model, workspace)
    relative = f"{folder}/{version}/model"
    return workspace.path(relative) if workspace.is_local else str(_fetched(workspace, relative, kind.what))


def published_folder(kind: ModelKind, model: str, workspace: Workspace) -> str:
    """Folder within the workspace of the version that a `workspace:` name stands for.

    Raises:
        ShelfcodeError: as `pinned`.
    """
    return "/".join(_folder_and_version(kind, model, workspace))


def _folder_and_version(kind: ModelKind, model: str, workspace: Workspace) -> tuple[str, str]:
    named = re.fullmatch(rf"{WORKSPACE}{kind.folder}/({NAME.pattern})(?:@(current|v\d{{4,}}))?", model)
    if named is None:
        raise ShelfcodeError(f"{kind.field} {model!r}: expected {WORKSPACE}{kind.folder}/NAME@v0001, or @current")
    folder = f"{kind.folder}/{named[1]}"
    version = named[2] if named[2] not in (None, "current") else current_of(workspace, folder)
    if version is None or not workspace.exists(f"{folder}/{version}/manifest.json"):
        names = workspace.names(kind.folder)
        known = [f"{kind.folder}/{name}@{other}" for name in names for other in published_versions(workspace, f"{kind.folder}/{name}")]
        there = f"there are {', '.join(known)}" if known else f"train one with {kind.made_by} first"
        raise ShelfcodeError(f"{kind.field} {model!r}: no such {kind.what} in {workspace.url}; {there}")
    return folder, version


def _fetched(workspace: Workspace, relative: str, what: str) -> Path:
    """A folder of the workspace on this node's disk; versions never change, so one copy is enough."""
    name = f"{what}-{hashlib.blake2b(workspace.address(relative).encode(), digest_size=8).hexdigest()}"
    return made_once(name, lambda folder: workspace.fs.get(workspace.path(relative) + "/", f"{folder}/", recursive=True))
