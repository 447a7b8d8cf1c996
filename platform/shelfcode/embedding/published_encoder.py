"""Encoders that a workspace keeps: encoders/<name>/<version>, versioned as releases are, named in a recipe by `workspace:`.

`workspace:encoders/esci@v0001` is one version; `workspace:encoders/esci@current`, or without the `@`, is the one that
CURRENT points to when a job starts. The job pins it then, so that a release says which version it was trained with.
"""

import hashlib
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from shelfcode.embedding.settings import EncoderSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.model_source import WORKSPACE, model_path
from shelfcode.scratch import scratch_folder
from shelfcode.versions import current_of, library_versions, publish_version, published_versions
from shelfcode.workspace import Workspace

ENCODERS = "encoders"
NAME = re.compile(r"[a-z][a-z0-9_-]*")
NAMED = re.compile(rf"{WORKSPACE}{ENCODERS}/({NAME.pattern})(?:@(current|v\d{{4,}}))?")


class EncoderCard(BaseModel):
    """What a published encoder says of itself: its manifest.json.

    Attributes:
        base: the model that it was trained from.
        recipe: of the training.
        data: where catalog and judgments were read from, and their counts.
        training: how long it took, and which step was kept.
        figures: set of queries -> figure -> its value for the base and for the encoder, and the difference.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: str = ""
    created: str = ""
    base: str
    recipe: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    figures: dict[str, Any]
    libraries: dict[str, str] = {}

    @property
    def model(self) -> str:
        """As a recipe names it."""
        return f"{WORKSPACE}{ENCODERS}/{self.name}@{self.version}"

    @property
    def folder(self) -> str:
        return f"{ENCODERS}/{self.name}/{self.version}"


def publish_encoder(workspace: Workspace, draft: str, card: EncoderCard) -> EncoderCard:
    """Move a draft that holds `model/` to the next free version and make it current."""
    now = datetime.now(UTC).isoformat(timespec="seconds")

    def numbered(version: str) -> EncoderCard:
        return card.model_copy(update={"version": version, "created": now, "libraries": library_versions()})

    folder = f"{ENCODERS}/{card.name}"
    return numbered(publish_version(workspace, folder, draft, lambda version: numbered(version).model_dump(mode="json")))


def check_name(name: str) -> None:
    """Refuse a name that no recipe could speak of.

    Raises:
        ShelfcodeError: it is not in lower case, of letters, digits, _ and -.
    """
    if not NAME.fullmatch(name):
        raise ShelfcodeError(f"--name {name!r}: give lower-case letters, digits, _ and -, a letter first")


def pin_encoder(encoder: EncoderSettings, workspace: Workspace) -> EncoderSettings:
    """The settings with the version that a workspace's encoder stands for now; a model from elsewhere stays as it is.

    Raises:
        ShelfcodeError: there is no such encoder in the workspace, or no such package; lists the encoders that there are.
    """
    if not encoder.model.startswith(WORKSPACE):
        model_path("encoder.model", encoder.model)  # a missing package is better reported before any work
        return encoder
    folder, version = _folder_and_version(encoder.model, workspace)
    return encoder.model_copy(update={"model": f"{WORKSPACE}{folder}@{version}"})


def encoder_path(model: str, workspace: Workspace | None) -> str:
    """Folder or hub name of an encoder's model; one that a bucket keeps is copied to the node's disk, once.

    Raises:
        ShelfcodeError: as `pin_encoder`, or a workspace's encoder is named where no workspace is known.
    """
    if not model.startswith(WORKSPACE):
        return model_path("encoder.model", model)
    if workspace is None:
        raise ShelfcodeError(f"encoder.model {model!r}: which workspace? Name a folder, a name on the model hub, or package:NAME")
    folder, version = _folder_and_version(model, workspace)
    relative = f"{folder}/{version}/model"
    return workspace.path(relative) if workspace.is_local else str(_fetched(workspace, relative))


def _folder_and_version(model: str, workspace: Workspace) -> tuple[str, str]:
    named = NAMED.fullmatch(model)
    if named is None:
        raise ShelfcodeError(f"encoder.model {model!r}: expected {WORKSPACE}{ENCODERS}/NAME@v0001, or @current")
    folder = f"{ENCODERS}/{named[1]}"
    version = named[2] if named[2] not in (None, "current") else current_of(workspace, folder)
    if version is None or not workspace.exists(f"{folder}/{version}/manifest.json"):
        known = [f"{ENCODERS}/{name}@{other}" for name in workspace.names(ENCODERS) for other in _versions(workspace, name)]
        there = f"there are {', '.join(known)}" if known else "train one with jobs/train_encoder.py first"
        raise ShelfcodeError(f"encoder.model {model!r}: no such encoder in {workspace.url}; {there}")
    return folder, version


def _versions(workspace: Workspace, name: str) -> list[str]:
    return published_versions(workspace, f"{ENCODERS}/{name}")


def _fetched(workspace: Workspace, relative: str) -> Path:
    """A folder of the workspace on this node's disk; versions never change, so one copy is enough."""
    target = scratch_folder() / f"encoder-{hashlib.blake2b(workspace.address(relative).encode(), digest_size=8).hexdigest()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            draft = target.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            workspace.fs.get(workspace.path(relative) + "/", f"{draft}/", recursive=True)
            draft.rename(target)
    return target
