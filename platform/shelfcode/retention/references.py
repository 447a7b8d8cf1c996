"""Which releases of a workspace stay, why, and what they refer to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from shelfcode.attributes.extractor import extractor_name
from shelfcode.catalog.snapshot import Snapshot, load_snapshot
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys
from shelfcode.parallel import TABLES_AT_ONCE, in_order
from shelfcode.quantization.semantic_ids import read_coded_texts
from shelfcode.releases.release import Manifest, current_name, known_releases, previous_version, published_releases, release_recipe
from shelfcode.retention.stored_files import Inventory
from shelfcode.versions import published_versions
from shelfcode.workspace import Workspace
from shelfcode.workspace_layout import LAYOUT_FILE, read_layout

RETRIEVERS = "retrievers"
"""Folder of a workspace in which trained retrievers are published."""


@dataclass(frozen=True)
class KeepRules:
    """What stays, as the user asked for it.

    Attributes:
        newest: how many of the newest releases of each flavor, including those that were never current.
        named, pinned: other releases, such as precision@v0002: those that the user names, and those from which a surface is served.
        older_than: in seconds. Nothing younger goes.
    """

    newest: int
    older_than: float
    named: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()


class ReadInteractions(BaseModel):
    """Where the interactions that a retriever was trained on lie, and the rows of them that were rejected."""

    model_config = ConfigDict(frozen=True)

    folder: str = ""
    rejected_folder: str = ""


class RetrieverNeeds(BaseModel):
    """What the card of a published retriever refers to. All else that it says is left to those who answer with it.

    Attributes:
        release: whose codes, or whose products, it was trained on.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    release: str
    interactions: ReadInteractions = ReadInteractions()


@dataclass(frozen=True)
class Kept:
    """The releases that stay, why each of them does, and those that go.

    Attributes:
        retrievers: all that are published; they stay with the release and the interactions that they were trained on.
    """

    releases: Mapping[str, Manifest]
    why: Mapping[str, str]
    going: Sequence[Manifest]
    retrievers: Sequence[RetrieverNeeds]


@dataclass(frozen=True)
class TableUses:
    """Which of the releases that stay use which table of attributes or embeddings.

    Attributes:
        users: folder of a table -> the releases that use it.
        unnamed: releases whose table of attributes is not in the workspace under the name that its extractor has on this machine.
            On another machine the name may differ (a model's folder is named by its content), so any table may be the one in use.
    """

    users: Mapping[str, Sequence[Manifest]]
    unnamed: Sequence[str]


def check_workspace(workspace: Workspace) -> None:
    """Refuse a folder that is no workspace, before anything in it is written or deleted.

    Raises:
        ShelfcodeError: it has neither layout.json nor a release, or it has a layout that is not known here.
    """
    if workspace.exists(LAYOUT_FILE):
        read_layout(workspace)
    elif not published_releases(workspace):
        raise ShelfcodeError(f"{workspace.url} is no workspace: it has neither {LAYOUT_FILE} nor a release. Nothing was touched")


def choose_kept(workspace: Workspace, rules: KeepRules, inventory: Inventory) -> Kept:
    """Decide for every release whether it stays. One that is too young to go stays with everything that it refers to.

    Raises:
        ShelfcodeError: a release that the user wants to keep does not exist (the message lists those that do), or a manifest is damaged.
    """
    manifests = {manifest.name: manifest for manifest in published_releases(workspace)}
    retrievers = published_retrievers(workspace)
    why = {each.release: f"{each.name}@{each.version} was trained on it" for each in retrievers}
    why |= _newest(list(manifests.values()), rules.newest)
    for flavor in {manifest.flavor for manifest in manifests.values()}:
        why |= _current(workspace, flavor)
    for source, names in (("--keep", rules.named), ("--surfaces", rules.pinned)):
        if unknown := [name for name in names if name not in manifests]:
            raise ShelfcodeError(f"{source}: no release {', '.join(unknown)} in {workspace.url}; {known_releases(workspace)}")
        why |= dict.fromkeys(names, source)
    for manifest in manifests.values():
        if manifest.name not in why and not inventory.are_old(inventory.below(manifest.folder), rules.older_than):
            why[manifest.name] = "too young to go"
    kept = {name: manifest for name, manifest in manifests.items() if name in why}
    going = [manifest for name, manifest in manifests.items() if name not in why]
    return Kept(kept, {name: why[name] for name in kept}, going, retrievers)


def published_retrievers(workspace: Workspace) -> list[RetrieverNeeds]:
    """What all published retrievers refer to, the oldest of each name first.

    Raises:
        ShelfcodeError: a card is damaged.
    """
    names = [f"{RETRIEVERS}/{name}" for name in workspace.names(RETRIEVERS)]
    paths = [f"{name}/{version}/manifest.json" for name in names for version in published_versions(workspace, name)]
    return list(in_order(lambda path: workspace.read_record(path, RetrieverNeeds), paths))


def _newest(manifests: Sequence[Manifest], number: int) -> dict[str, str]:
    """The newest releases of each flavor, given all of them from the oldest to the newest."""
    names: dict[str, list[str]] = {}
    for manifest in manifests:
        names.setdefault(manifest.flavor, []).append(manifest.name)
    return {name: f"of the newest {number}" for flavor in names.values() for name in flavor[-number:]}


def _current(workspace: Workspace, flavor: str) -> dict[str, str]:
    current, previous = current_name(workspace, flavor), previous_version(workspace, flavor)
    return ({f"{flavor}@{previous}": "current before"} if previous else {}) | ({current: "current"} if current else {})


def table_uses(manifests: Iterable[Manifest], inventory: Inventory) -> TableUses:
    """Which tables under attributes/ and embeddings/ these releases use."""
    users: dict[str, list[Manifest]] = {}
    unnamed, there = [], set(inventory.children("attributes"))
    for manifest in manifests:
        users.setdefault(manifest.embeddings, []).append(manifest)
        if release_recipe(manifest).text_view.kind != "attributes":
            continue
        if (folder := _attributes_folder(manifest)) in there:
            users.setdefault(str(folder), []).append(manifest)
        else:
            unnamed.append(manifest.name)
    return TableUses(users, unnamed)


def _attributes_folder(manifest: Manifest) -> str | None:
    """None where the extractor has no name on this machine, because its package is not installed."""
    try:
        return f"attributes/{extractor_name(release_recipe(manifest).extractor)}"
    except ShelfcodeError:
        return None


def coded_texts(workspace: Workspace, manifests: Sequence[Manifest]) -> Keys | None:
    """Row keys of the embeddings from which some releases were coded. None where one of them does not say."""
    known = np.empty(0, np.uint64)
    texts = in_order(lambda manifest: read_coded_texts(workspace, manifest.folder), manifests, TABLES_AT_ONCE)
    for manifest, keys_N in zip(manifests, texts, strict=True):
        if len(keys_N) != manifest.rows.coded:
            return None
        known = np.union1d(known, keys_N)
    return known


def snapshots_of(workspace: Workspace, manifests: Iterable[Manifest]) -> dict[str, Snapshot | None]:
    """The snapshots that some releases name, by folder. None for a snapshot that is gone."""
    folders = sorted({manifest.catalog.snapshot for manifest in manifests})
    return dict(zip(folders, in_order(lambda folder: load_snapshot(workspace, folder), folders), strict=True))


def int8_models_of(manifests: Iterable[Manifest]) -> set[str]:
    """Digests of the models in int8 that some releases were made with."""
    encoders = (release_recipe(manifest).encoder for manifest in manifests)
    return {encoder.int8_model for encoder in encoders if encoder.int8_model}
