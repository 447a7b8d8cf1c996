"""jobs/sweep_workspace.py, run as its user would, on workspaces that several nights ran in."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from running import Done
from shelf import ATTRIBUTES, EMBEDDINGS, Shelf, found_once

import shelfcode.retention.pipeline
from shelfcode.lease import SWEEP, hold_lease
from shelfcode.releases.check import check_release
from shelfcode.releases.release import Manifest, published_releases
from shelfcode.workspace import Workspace

Sweep = Callable[..., Done]


@pytest.fixture
def shelf(workspace_url: str, publish_small: Callable[..., Manifest]) -> Shelf:
    """Four nights, locally and in a bucket; a table of nobody's and a training that was broken off."""
    shelf = Shelf(Workspace(workspace_url), publish_small)
    for _ in range(4):
        shelf.night(changed=range(10), view="attributes")
    shelf.workspace.write_bytes("embeddings/of-nobody/part-0.parquet", b"x")
    shelf.workspace.write_bytes("runs/small-0123/train/model.pt", b"x")
    return shelf


@pytest.fixture
def local_shelf(tmp_path: Path, publish_small: Callable[..., Manifest]) -> Shelf:
    return Shelf(Workspace(str(tmp_path / "ws")), publish_small)


@pytest.fixture
def sweep(run_job: Callable[..., Done]) -> Sweep:
    return lambda shelf, *flags: run_job("sweep_workspace", "--workspace", shelf.workspace.url, "--keep-releases", "2", *flags)


def whole(shelf: Shelf) -> bool:
    """Whether every release is what its manifest says, and finds the embedding of each of its products once."""
    for manifest in published_releases(shelf.workspace):
        check_release(shelf.workspace, manifest)
        if not found_once(shelf.workspace, EMBEDDINGS, shelf.referred[manifest.name]):
            return False
    return True


def test_a_dry_run_changes_nothing_and_apply_does_what_it_told(shelf: Shelf, sweep: Sweep) -> None:
    before = shelf.files()
    told = sweep(shelf, "--older-than", "0")
    assert told.code == 0, told.told
    assert shelf.files() == before
    assert not shelf.workspace.exists("leases")
    assert "a dry run, nothing was changed" in told.told
    assert told.result["applied"] is False
    assert told.result["kept"] == ["small@v0003", "small@v0004"]
    assert {removal["path"] for removal in told.result["removed"]} == {
        "releases/small/v0001", "releases/small/v0002", "catalog/1", "catalog/2", "rejected/night-1", "rejected/night-2",
        "catalog/3/part-000000-000000.parquet", "catalog/4/part-000000-000000.parquet", "embeddings/of-nobody", "runs/small-0123",
    }  # fmt: skip
    assert told.result["compacted"] == {"tables": 2, "parts_before": 10, "parts_after": 2, "rows_dropped": 40}

    done = sweep(shelf, "--older-than", "0", "--apply")
    assert done.code == 0, done.told
    assert done.result == {**told.result, "applied": True}
    gone = {
        path
        for path in before
        if any(path == removal["path"] or path.startswith(removal["path"] + "/") for removal in done.result["removed"])
    }
    tables = tuple(f"{folder}/" for folder in (EMBEDDINGS, ATTRIBUTES))
    after = {path: data for path, data in shelf.files().items() if not path.startswith(tables) and path != "layout.json"}
    assert after == {path: data for path, data in before.items() if path not in gone and not path.startswith(tables)}
    assert (len(gone), sum(len(before[path]) for path in gone)) == (done.result["files"], done.result["bytes"])
    assert [len(shelf.workspace.parts(folder)) for folder in (EMBEDDINGS, ATTRIBUTES)] == [1, 1]
    assert whole(shelf)

    again = sweep(shelf, "--older-than", "0", "--apply").result
    assert (again["removed"], again["compacted"]["tables"], again["kept"]) == ([], 0, ["small@v0003", "small@v0004"])


def test_killed_before_the_old_parts_went_the_same_command_ends_right(
    local_shelf: Shelf, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        local_shelf.night(changed=range(10))
    with monkeypatch.context() as patch:
        patch.setattr(shelfcode.retention.pipeline, "remove_files", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            sweep(local_shelf, "--older-than", "0", "--apply")
    assert whole(local_shelf)
    assert sweep(local_shelf, "--older-than", "0", "--apply").code == 0
    assert len(local_shelf.workspace.parts(EMBEDDINGS)) == 1
    assert whole(local_shelf)


def test_what_is_younger_than_a_week_stays(local_shelf: Shelf, sweep: Sweep) -> None:
    for _ in range(3):
        local_shelf.night(changed=range(10))
    before = local_shelf.files()
    young = sweep(local_shelf, "--apply").result
    assert (young["removed"], young["compacted"]["tables"], len(young["kept"])) == ([], 0, 3)
    assert {path: data for path, data in local_shelf.files().items() if path != "layout.json"} == before
    local_shelf.age(8)
    old = sweep(local_shelf, "--apply").result
    assert "releases/small/v0001" in [removal["path"] for removal in old["removed"]]
    assert old["compacted"]["tables"] == 1


def test_pinned_and_named_releases_stay(local_shelf: Shelf, sweep: Sweep, tmp_path: Path) -> None:
    for _ in range(6):
        local_shelf.night()
    surfaces = {"search": {"flavor": "small", "release": "v0001"}, "homepage": {"flavor": "small", "split": {"current": 0.9, "v0003": 0.1}}}
    (tmp_path / "surfaces.yaml").write_text(yaml.safe_dump({"auth": "none", "surfaces": surfaces}))
    flags = ("--older-than", "0", "--surfaces", str(tmp_path / "surfaces.yaml"))
    kept = sweep(local_shelf, *flags, "--keep", "small@v0002").result["kept"]
    assert kept == [f"small@v000{number}" for number in (1, 2, 3, 5, 6)]
    refused = sweep(local_shelf, *flags, "--keep", "small@v0099")
    assert refused.code == 2
    assert "--keep: no release small@v0099" in refused.told
    assert "there are small@v0001, small@v0002" in refused.told


def test_a_sweep_and_whoever_writes_keep_each_other_out(
    local_shelf: Shelf, sweep: Sweep, run_job: Callable[..., Done], sample: Path
) -> None:
    for _ in range(3):
        local_shelf.night()
    with hold_lease(local_shelf.workspace, "precision", "20260131T093000-train-precision-1a2b3c"):
        refused = sweep(local_shelf, "--older-than", "0", "--apply")
        assert refused.code == 2
        assert "20260131T093000-train-precision-1a2b3c holds the lease on precision" in refused.told
        assert sweep(local_shelf, "--older-than", "0").code == 0  # a dry run is in nobody's way
        assert local_shelf.workspace.exists("releases/small/v0001/manifest.json")
    with hold_lease(local_shelf.workspace, SWEEP, "20260131T093000-sweep-1a2b3c"):
        training = run_job("train_flavor", "--flavor", "precision", "--catalog", str(sample), "--workspace", local_shelf.workspace.url)
        assert training.code == 2
        assert "20260131T093000-sweep-1a2b3c holds the lease on sweep" in training.told
    assert sweep(local_shelf, "--older-than", "0", "--apply").code == 0
    assert not local_shelf.workspace.exists("releases/small/v0001")


@pytest.mark.parametrize("flags", [(), ("--apply",)])
def test_a_folder_that_is_no_workspace_is_not_touched(flags: tuple[str, ...], tmp_path: Path, run_job: Callable[..., Done]) -> None:
    (tmp_path / "catalog/of-mine").mkdir(parents=True)
    (tmp_path / "catalog/of-mine/photo.jpeg").write_bytes(b"x")
    done = run_job("sweep_workspace", "--workspace", str(tmp_path), "--older-than", "0", *flags)
    assert done.code == 2
    assert "is no workspace" in done.told
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["catalog", "of-mine", "photo.jpeg"]
