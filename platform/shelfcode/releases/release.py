"""Releases: versions of a flavor (versions.py), found by name."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from shelfcode.attributes.extractor import extractor_name
from shelfcode.catalog.snapshot import AppliedLabels, Snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.embedding.encoder import embeddings_folder, encoder_name, name_before_pinning
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.parallel import in_order
from shelfcode.recipe_file import apply_overrides, validate_recipe
from shelfcode.versions import Move, current_of, library_versions, previous_of, publish_version, published_versions, read_history
from shelfcode.workspace import Workspace


class CatalogRecord(BaseModel):
    """Which catalog a release was trained on, and which decided labels were laid over it; None without any."""

    model_config = ConfigDict(frozen=True)

    snapshot: str
    source: str
    fingerprint: str
    labels: AppliedLabels | None = None


class EngagementRecord(BaseModel):
    """What customers take together, by which a release was trained.

    Attributes:
        source: where it was read from.
        pairs: of two products that were taken together, those of a basket counted one by one.
        products: coded products in these pairs; the others have no history.
        unknown_products: products that were named and are not coded.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    pairs: int
    products: int
    unknown_products: int


class RowCounts(BaseModel):
    """Rows of the catalog: coded and rejected add up to read."""

    model_config = ConfigDict(frozen=True)

    read: int
    coded: int
    rejected: int


class Manifest(BaseModel):
    """What a release says of itself; `embeddings` and `catalog.snapshot` are paths within the workspace.

    Attributes:
        parent: the release that was current before.
        model_from: the release whose model this one has, where it was not trained itself but its products were coded again.
        churn: what changed against the parent (evaluation/stability/churn.py); None without one.
        engagement: what customers take together, where the release was trained by it.
        files: bytes of each file of the release, by its path within the release's folder; empty before this was recorded.
    """

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
    model_from: str | None = None
    churn: dict[str, Any] | None = None
    engagement: EngagementRecord | None = None
    files: dict[str, int] = {}

    @property
    def name(self) -> str:
        return f"{self.flavor}@{self.version}"

    @property
    def folder(self) -> str:
        return release_folder(self.flavor, self.version)

    def facts(self) -> dict[str, object]:
        """What a report tells of a release besides its recipe and its figures; decided labels have a section of their own there."""
        told = {"catalog", "parent", "model_from", "embeddings", "rows", "libraries"}
        return self.model_dump(mode="json", include=told, exclude={"catalog": {"labels"}})


def release_folder(flavor: str, version: str) -> str:
    return f"releases/{flavor}/{version}"


def versions(workspace: Workspace, flavor: str) -> list[str]:
    """Published versions of a flavor, oldest first."""
    return published_versions(workspace, f"releases/{flavor}")


def current_version(workspace: Workspace, flavor: str) -> str | None:
    """The version that CURRENT points to; None before the first release."""
    return current_of(workspace, f"releases/{flavor}")


def current_name(workspace: Workspace, flavor: str) -> str | None:
    """The release that CURRENT points to, such as `precision@v0001`; None before the first."""
    version = current_version(workspace, flavor)
    return f"{flavor}@{version}" if version else None


def current_release(workspace: Workspace, flavor: str) -> Manifest | None:
    """Manifest of the release that CURRENT points to; None before the first."""
    name = current_name(workspace, flavor)
    return load_manifest(workspace, name) if name else None


def previous_version(workspace: Workspace, flavor: str) -> str | None:
    """The version that CURRENT pointed to before; None before the second release that was made current."""
    return previous_of(workspace, f"releases/{flavor}")


def release_history(workspace: Workspace, flavor: str) -> list[Move]:
    """The moves of a flavor's CURRENT, oldest first."""
    return read_history(workspace, f"releases/{flavor}")


def published_releases(workspace: Workspace, flavor: str | None = None) -> list[Manifest]:
    """Manifests of all releases, or of one flavor's, oldest first a flavor.

    Raises:
        ShelfcodeError: the flavor has no release; lists the releases that there are.
    """
    names = [name for name in _names(workspace) if flavor is None or name.startswith(f"{flavor}@")]
    if flavor is not None and not names:
        raise ShelfcodeError(f"no release of {flavor} in {workspace.url}; {known_releases(workspace)}")
    return list(in_order(lambda name: load_manifest(workspace, name), names))


def known_releases(workspace: Workspace) -> str:
    """For a message: the releases that there are, or what to do where there is none."""
    names = _names(workspace)
    return f"there are {', '.join(names)}" if names else "train a flavor first"


def _names(workspace: Workspace) -> list[str]:
    return [f"{flavor}@{version}" for flavor in workspace.names("releases") for version in versions(workspace, flavor)]


def load_manifest(workspace: Workspace, name: str) -> Manifest:
    """Manifest of `precision@v0001`, or of the current release for `precision` and `precision@current`.

    Raises:
        ShelfcodeError: there is no such release, or none is current; lists those there are. Or its manifest is damaged.
    """
    flavor, _, version = name.partition("@")
    if not version or version == "current":
        version = current_version(workspace, flavor) or ""
    path = f"{release_folder(flavor, version)}/manifest.json"
    if not version or not workspace.exists(path):
        held = not version and versions(workspace, flavor)
        missing = f"no release of {flavor} is current" if held else f"no release {name}"
        raise ShelfcodeError(f"{missing} in {workspace.url}; {known_releases(workspace)}")
    return workspace.read_record(path, Manifest)


def draft_manifest(
    recipe: Recipe, snapshot: Snapshot, embedded: EmbeddedCatalog, metrics: dict[str, float], parent: str | None,
    model_from: str | None = None, churn: BaseModel | None = None,
) -> Manifest:  # fmt: skip
    """The manifest of a release before it has a version."""
    coded = len(embedded.keys_N)
    return Manifest(
        flavor=recipe.name, version="", created="", recipe=recipe.model_dump(mode="json"),
        catalog=CatalogRecord(
            snapshot=snapshot.folder, source=snapshot.source, fingerprint=snapshot.fingerprint, labels=snapshot.labels
        ),
        parent=parent, embeddings=embedded.folder, rows=RowCounts(read=snapshot.read, coded=coded, rejected=snapshot.read - coded),
        metrics=metrics, libraries=library_versions(), model_from=model_from, churn=churn and churn.model_dump(mode="json"),
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


def check_encoder(manifest: Manifest, recipe: Recipe) -> None:
    """Refuse to code with a release whose encoder is no longer what it was.

    Raises:
        ShelfcodeError: the recipe's encoder and view give other embeddings than those that the release was trained on.
    """
    now, trained = embeddings_folder(recipe), validate_recipe(manifest.recipe, f"of {manifest.name}")
    before = f"embeddings/{name_before_pinning(trained.encoder, trained.text_view)}"  # the same encoder, named by an earlier version
    if manifest.embeddings not in (now, before):
        raise ShelfcodeError(
            f"{manifest.name} was trained on {manifest.embeddings}, and encoder.model {recipe.encoder.model} gives {now} now: the encoder "
            "changed. Put the old one back, or train a new release"
        )


def publish(workspace: Workspace, draft: str, manifest: Manifest, make_current: bool = True) -> Manifest:
    """Move a complete draft to the next free version.

    Args:
        draft: folder within the workspace that holds all files of the release but the manifest.
        manifest: its version is set here.
        make_current: whether CURRENT moves to it; a release that is held is there by its name alone.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    files = {file.path.removeprefix(f"{draft}/"): file.bytes for file in workspace.files(draft)}
    files.pop("manifest.json", None)  # of a try that was broken off

    def numbered(version: str) -> Manifest:
        return manifest.model_copy(update={"version": version, "created": now, "files": files})

    folder = f"releases/{manifest.flavor}"
    return numbered(publish_version(workspace, folder, draft, lambda version: numbered(version).model_dump(mode="json"), make_current))
