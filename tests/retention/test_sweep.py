"""The plan names what nothing refers to, and carrying it out deletes that and nothing else."""

from pathlib import Path

import pytest
from shelf import ATTRIBUTES, DAY, EMBEDDINGS, Shelf

from shelfcode.errors import ShelfcodeError
from shelfcode.releases.check import check_release
from shelfcode.releases.promotion import promote
from shelfcode.releases.release import published_releases
from shelfcode.retention.references import KeepRules, choose_kept, table_uses
from shelfcode.retention.stored_files import take_inventory
from shelfcode.retention.sweep import Removal, carry_out, plan_removals
from shelfcode.retrieval.published_retriever import RetrieverCard
from shelfcode.workspace import Workspace


def plan(workspace: Workspace, newest: int = 2, older_than: float = 0, named: tuple[str, ...] = ()) -> list[Removal]:
    inventory = take_inventory(workspace)
    kept = choose_kept(workspace, KeepRules(newest, older_than, named), inventory)
    return plan_removals(workspace, inventory, kept, table_uses(kept.releases.values(), inventory), older_than)


def paths(removals: list[Removal]) -> list[str]:
    return [removal.path for removal in removals]


def sweep(workspace: Workspace, removals: list[Removal]) -> None:
    carry_out(workspace, removals, lambda: None, lambda _: None)


LEFT_ALONE = (
    "encoders/mine/v0001/manifest.json", "encoders/mine/.CURRENT.0123abcd", "extractors/mine/v0001/model/config.json",
    "retrievers/mine/.CURRENT.0123abcd", "encoded/small@v0001/run/semantic_ids/part-0.parquet",
    "leases/small/000001.json", "leases/small/.000001.json.0123abcd", "layout.json", "releases/small/history/.x.json.0123abcd",
    "releases/small/README", "notes/.secret.0123abcd", "notes/todo.txt", "evaluations/notes.txt", ".keep", "catalog/3/notes.txt",
)  # fmt: skip

GOES = {
    "releases/small/v0001": "a release that nothing keeps",
    "evaluations/small@v0001": "the evaluation of a release that is gone",
    "evaluations/small@v0001-against-small@v0002": "the evaluation of a release that is gone",
    "evaluations/small@v0001-against-small@v0003.html": "the evaluation of a release that is gone",
    "catalog/1": "a snapshot that no release names",
    "catalog/2/part-000000-000000.parquet": "a part that its snapshot does not list",
    "catalog/3/part-000000-000000.parquet": "a part that its snapshot does not list",
    "catalog/broken-off": "a snapshot that no release names",
    "interactions/of-nobody": "interactions that no retriever was trained on",
    "interactions/broken-off": "interactions that no retriever was trained on",
    "rejected/night-1": "rejected rows of nothing that is kept",
    "rejected/of-a-training": "rejected rows of nothing that is kept",
    "embeddings/of-nobody": "a table that no release uses",
    "attributes/of-nobody": "a table that no release uses",
    "runs/small-0123": "a training or coding that was broken off",
    ".clock-0123456789abcdef0123456789abcdef": "left by a process that was killed",
    "embeddings/x/.part-1.parquet.0123abcd": "left by a process that was killed",
    "releases/small/.CURRENT.0123abcd": "left by a process that was killed",
}


def fill(shelf: Shelf) -> Shelf:
    """Three nights, and whatever else may lie in a workspace."""
    for night in range(3):
        shelf.night(changed=[night], view="attributes" if night == 2 else "raw")
    for path in (
        *LEFT_ALONE, *(path for path in GOES if ".html" in path or "/." in path or path.startswith(".")),
        "evaluations/small@v0001/report.html", "evaluations/small@v0002/report.html", "evaluations/small@v0003-against-small@v0001.html",
        "evaluations/small@v0001-against-small@v0002/churn.json", "catalog/broken-off/part-000000-000000.parquet",
        "interactions/of-nobody/manifest.json", "interactions/of-nobody/part-000000.parquet", "interactions/broken-off/part-000000.parquet",
        "rejected/of-a-training/part-0.parquet", "embeddings/of-nobody/part-0.parquet", "attributes/of-nobody/part-0.parquet",
        "runs/small-0123/train/checkpoint/model.pt", "runs/small-0123/draft/manifest.json",
    ):  # fmt: skip
        shelf.workspace.write_bytes(path, b"x")
    return shelf


@pytest.fixture
def three(shelf: Shelf) -> Shelf:
    return fill(shelf)


def test_what_nothing_refers_to_is_told_and_only_that_goes(three: Shelf) -> None:
    assert_only_what_nothing_refers_to_goes(three)


def test_the_same_in_a_bucket(shelf_in_bucket: Shelf) -> None:
    assert_only_what_nothing_refers_to_goes(fill(shelf_in_bucket))


def assert_only_what_nothing_refers_to_goes(three: Shelf) -> None:
    before = three.files()
    removals = plan(three.workspace)
    assert {removal.path: removal.reason for removal in removals} == GOES
    assert three.files() == before
    told = {file.path for removal in removals for file in removal.stored}
    assert sum(removal.files for removal in removals) == len(told)
    assert sum(removal.bytes for removal in removals) == sum(len(before[path]) for path in told)

    sweep(three.workspace, removals)
    assert three.files() == {path: data for path, data in before.items() if path not in told}
    assert plan(three.workspace) == []
    for manifest in published_releases(three.workspace):
        check_release(three.workspace, manifest)
    assert three.workspace.names("releases/small") == ["CURRENT", "README", "history", "v0002", "v0003"]
    assert {EMBEDDINGS, ATTRIBUTES} <= {path.rsplit("/", 1)[0] for path in three.files()}


def test_files_that_are_young_stay_and_old_ones_beside_them(three: Shelf) -> None:
    """What one young file belongs to stays whole; what was left by a killed process goes after a day."""
    assert plan(three.workspace, older_than=7 * DAY) == []
    three.age(2)
    assert paths(plan(three.workspace, older_than=7 * DAY)) == [path for path in GOES if path.rsplit("/", 1)[-1].startswith(".")]
    three.age(6)
    for path in ("runs/small-0123/train/checkpoint/model.pt", "catalog/1/manifest.json"):
        Path(three.workspace.path(path)).touch()
    assert set(GOES) - set(paths(plan(three.workspace, older_than=7 * DAY))) == {"runs/small-0123", "catalog/1"}


def test_a_release_too_young_to_go_keeps_its_snapshot_and_its_rejected_rows(three: Shelf) -> None:
    three.age(8)
    Path(three.workspace.path("releases/small/v0001/report.html")).touch()
    kept = {"releases/small/v0001", "catalog/1", "rejected/night-1"}
    assert not any(path in kept or path.startswith("evaluations") for path in paths(plan(three.workspace, older_than=7 * DAY)))


def test_what_a_retriever_was_trained_on_stays_as_long_as_the_retriever(shelf: Shelf) -> None:
    """The release with its snapshot and its embeddings, and the interactions with their rejected rows."""
    first = shelf.night()
    for night in range(3):
        shelf.night(changed=[night])
    interactions = {"folder": "interactions/of-mine", "rejected_folder": "rejected/of-mine", "sessions": 7}
    card = RetrieverCard(
        name="mine", version="v0001", retriever="generator", release=first.name, recipe={}, interactions=interactions, training={},
        parameters={}, figures={},
    )  # fmt: skip
    shelf.workspace.write_json("retrievers/mine/v0001/manifest.json", card.model_dump(mode="json"))
    shelf.workspace.write_bytes("retrievers/mine/v0001/model.safetensors", b"x")
    for path in ("interactions/of-mine/part-000000.parquet", "interactions/of-mine/manifest.json", "rejected/of-mine/part-0.parquet"):
        shelf.workspace.write_bytes(path, b"x")
    sweep(shelf.workspace, plan(shelf.workspace))
    assert [manifest.name for manifest in published_releases(shelf.workspace)] == ["small@v0001", "small@v0003", "small@v0004"]
    check_release(shelf.workspace, first)
    assert shelf.workspace.names("catalog") == ["1", "3", "4"]
    kept = choose_kept(shelf.workspace, KeepRules(2, 0), take_inventory(shelf.workspace)).releases
    assert first in table_uses(kept.values(), take_inventory(shelf.workspace)).users[EMBEDDINGS]
    assert plan(shelf.workspace) == []

    shelf.workspace.remove("retrievers/mine/v0001")
    goes = {"releases/small/v0001", "catalog/1", "rejected/night-1", "interactions/of-mine", "rejected/of-mine"}
    assert set(paths(plan(shelf.workspace))) == goes


def test_a_version_without_a_manifest_goes_unless_its_number_is_the_highest(shelf: Shelf) -> None:
    shelf.publish_small(shelf.workspace)
    for version in ("v0002", "v0003", "v0004"):
        shelf.workspace.write_bytes(f"releases/small/{version}/.claim", b"")
        shelf.workspace.write_bytes(f"releases/small/{version}/model.safetensors", b"half")
    removals = [removal for removal in plan(shelf.workspace) if removal.path.startswith("releases")]
    assert [(removal.path, removal.reason, removal.files) for removal in removals] == [
        ("releases/small/v0002", "a version without a manifest", 2),
        ("releases/small/v0003", "a version without a manifest", 2),
    ]
    sweep(shelf.workspace, removals)
    assert shelf.publish_small(shelf.workspace).name == "small@v0005"
    assert "releases/small/v0004" in paths(plan(shelf.workspace))


def test_no_version_is_given_out_twice(shelf: Shelf) -> None:
    for _ in range(4):
        shelf.publish_small(shelf.workspace, make_current=False)
    sweep(shelf.workspace, plan(shelf.workspace, newest=1))
    assert [manifest.name for manifest in published_releases(shelf.workspace)] == ["small@v0004"]
    assert shelf.publish_small(shelf.workspace).name == "small@v0005"


def test_killed_between_two_releases_the_next_sweep_goes_on(shelf: Shelf) -> None:
    for _ in range(4):
        shelf.publish_small(shelf.workspace)
    removals, checks = plan(shelf.workspace), 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 4:  # the manifest of the second release is gone, its other files are not
            raise ShelfcodeError("the lease on sweep is lost")

    with pytest.raises(ShelfcodeError, match="lost"):
        carry_out(shelf.workspace, removals, check, lambda _: None)
    assert [manifest.name for manifest in published_releases(shelf.workspace)] == ["small@v0003", "small@v0004"]
    assert shelf.workspace.exists("releases/small/v0002/model.safetensors")
    sweep(shelf.workspace, plan(shelf.workspace))
    assert shelf.workspace.names("releases/small") == ["CURRENT", "history", "v0003", "v0004"]
    assert plan(shelf.workspace) == []


def test_a_release_that_was_promoted_in_the_meantime_stays(shelf: Shelf) -> None:
    for _ in range(4):
        shelf.publish_small(shelf.workspace)
    removals = plan(shelf.workspace)
    promote(shelf.workspace, "small@v0002")
    with pytest.raises(ShelfcodeError, match="v0002 became current in the meantime"):
        sweep(shelf.workspace, removals)
    assert "small@v0002" in [manifest.name for manifest in published_releases(shelf.workspace)]


def test_no_table_of_attributes_goes_where_the_name_of_one_is_not_known(shelf: Shelf) -> None:
    """Its extractor's model is a folder that this machine lacks: it is named after the folder's content elsewhere."""
    manifest = shelf.night(view="attributes")
    shelf.workspace.write_bytes("attributes/qwen-0123abcd/part-0.parquet", b"")
    assert paths(plan(shelf.workspace)) == ["catalog/1/part-000000-000000.parquet", "attributes/qwen-0123abcd"]
    extractor = manifest.recipe["extractor"] | {"engine": "vllm", "model": "/models/qwen"}
    told = manifest.model_dump(mode="json") | {"recipe": manifest.recipe | {"extractor": extractor}}
    shelf.workspace.write_json(f"{manifest.folder}/manifest.json", told)
    assert paths(plan(shelf.workspace)) == ["catalog/1/part-000000-000000.parquet"]


def test_a_damaged_manifest_stops_the_sweep(shelf: Shelf) -> None:
    first = shelf.night()
    shelf.night()
    shelf.workspace.write_bytes(f"{first.folder}/manifest.json", b"{")
    with pytest.raises(ShelfcodeError, match=r"v0001/manifest\.json is damaged"):
        plan(shelf.workspace)


def test_a_model_in_int8_stays_with_the_releases_that_were_made_with_it(shelf: Shelf) -> None:
    """The files that point to a model go before it, so that none points to half a model."""
    manifest = shelf.publish_small(shelf.workspace)
    recipe = manifest.recipe | {"encoder": {**manifest.recipe["encoder"], "int8_model": "00aa"}}
    shelf.workspace.write_json(f"{manifest.folder}/manifest.json", manifest.model_dump(mode="json") | {"recipe": recipe})
    for digest, source in (("00aa", "05"), ("00bb", "06")):
        for name in ("model.xml", "model.bin", "manifest.json"):
            shelf.workspace.write_bytes(f"models/int8/{digest}/{name}", b"x")
        shelf.workspace.write_json(f"models/int8/{source}.json", {"digest": digest})
    shelf.workspace.write_bytes("models/int8/00aa/.model.bin.0123abcd", b"half")
    reason = "a model in int8 that no release uses"
    removals = [removal for removal in plan(shelf.workspace) if removal.path.startswith("models")]
    assert [(removal.path, removal.reason, removal.files) for removal in removals] == [
        ("models/int8/06.json", reason, 1), ("models/int8/00bb", reason, 3),
        ("models/int8/00aa/.model.bin.0123abcd", "left by a process that was killed", 1),
    ]  # fmt: skip
    sweep(shelf.workspace, removals)
    assert shelf.workspace.names("models/int8") == ["00aa", "05.json"]
