"""Files appear whole or not at all, the same in a folder and in a bucket. A workspace of another layout is never touched."""

import io
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.store import open_filesystem
from shelfcode.workspace import Workspace, new_run


@pytest.fixture
def workspace(workspace_url: str) -> Workspace:
    return Workspace(workspace_url)


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def test_what_is_written_is_read_back_and_replaces_what_was_there(workspace: Workspace) -> None:
    for text in ("first", "second"):
        workspace.write_bytes("a/b/file.txt", text.encode())
        assert workspace.read_bytes("a/b/file.txt") == text.encode()
    workspace.write_json("a/value.json", {"name": "Ñandú", "list": [1, None]})
    assert workspace.read_json("a/value.json") == {"name": "Ñandú", "list": [1, None]}
    table = pa.table({"item_id": ["1", "2"], "price": [1.5, None]})
    workspace.write_table("a/part-0.parquet", table)
    assert workspace.read_table("a/part-0.parquet").equals(table)
    assert workspace.read_table("a/part-0.parquet", columns=["price"]).column_names == ["price"]


def test_a_write_leaves_nothing_but_the_file(workspace: Workspace) -> None:
    workspace.write_bytes("a/file.txt", b"x" * 100_000)
    workspace.write_bytes("a/file.txt", b"y")
    entries = [entry.rsplit("/", 1)[-1] for entry in workspace.fs.find(workspace.path("a"))]
    assert entries == ["file.txt"]


def test_a_value_that_cannot_be_written_keeps_the_old_file(workspace: Workspace) -> None:
    workspace.write_json("value.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON compliant"):
        workspace.write_json("value.json", {"loss": float("nan")})
    assert workspace.read_json("value.json") == {"loss": 1.0}


def test_a_disk_that_fills_up_midway_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(str(tmp_path))
    workspace.write_bytes("a/CURRENT", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        workspace.write_bytes("a/CURRENT", b"new")
    assert workspace.read_bytes("a/CURRENT") == b"old"
    assert os.listdir(tmp_path / "a") == ["CURRENT"]  # noqa: PTH208 - hidden files too


def test_a_reader_never_sees_half_a_file(workspace: Workspace) -> None:
    contents = [bytes([65 + number]) * 300_000 for number in range(4)]
    workspace.write_bytes("file", contents[0])
    with ThreadPoolExecutor(2) as pool:
        writes = [pool.submit(workspace.write_bytes, "file", content) for content in contents * 5]
        seen = [workspace.read_bytes("file") for _ in range(40)]
        for write in writes:
            write.result()
    assert set(seen) <= set(contents)


def test_only_one_of_many_wins_a_claim(workspace: Workspace) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: workspace.claim("releases/precision/v0001/.claim"), range(8)))
    assert sum(won) == 1
    assert workspace.exists("releases/precision/v0001/.claim")
    assert workspace.claim("releases/precision/v0002/.claim")


def test_names_are_sorted_and_leave_out_hidden_files(workspace: Workspace) -> None:
    for path in ("t/b.txt", "t/a/x.txt", "t/.hidden", "t/.claim/x"):
        workspace.write_bytes(path, b"1")
    assert workspace.names("t") == ["a", "b.txt"]
    assert workspace.names("nowhere") == []


def test_a_claim_may_say_who_made_it_and_the_first_one_stays(workspace: Workspace) -> None:
    assert workspace.claim("a/b/.claim", b"first")
    assert not workspace.claim("a/b/.claim", b"second")
    assert workspace.read_bytes("a/b/.claim") == b"first"
    workspace.write_bytes("a/written", b"there")
    assert not workspace.claim("a/written", b"second")
    assert workspace.read_bytes("a/written") == b"there"


def test_a_reader_never_sees_half_a_claim_and_it_leaves_nothing_else(workspace: Workspace) -> None:
    contents, seen = [bytes([65 + number]) * 300_000 for number in range(4)], set()
    with ThreadPoolExecutor(4) as pool:
        claims = [pool.submit(workspace.claim, f"t/{turn}", content) for turn in range(5) for content in contents]
        while not all(claim.done() for claim in claims):
            seen |= {workspace.read_bytes(f"t/{name}") for name in workspace.names("t")}
    assert sum(claim.result() for claim in claims) == 5
    assert seen <= set(contents)
    assert [(file.path, file.bytes) for file in workspace.files("t")] == [(f"t/{turn}", 300_000) for turn in range(5)]


def test_a_disk_that_fills_up_while_something_is_claimed_leaves_the_name_free(folder: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            folder.claim("a/.claim", b"mine")
    assert folder.files("a") == []
    assert folder.claim("a/.claim", b"mine")


def test_where_a_file_can_have_one_name_only_one_of_many_wins_a_claim(folder: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: folder.claim("a/.claim", b"mine"), range(8)))
    assert sum(won) == 1
    assert [(file.path, file.bytes) for file in folder.files("a")] == [("a/.claim", 4)]
    assert folder.claim("at the top", b"mine")


def test_files_are_all_below_a_folder_with_their_sizes_hidden_ones_too(workspace: Workspace) -> None:
    sizes = {"t/a": 3, "t/b/c/d": 0, "t/b/.hidden": 1, "t/.claim": 2, "t2/x": 1}
    for path, size in sizes.items():
        workspace.write_bytes(path, b"x" * size)
    found = workspace.files("t")
    assert [(file.path, file.bytes) for file in found] == sorted((path, size) for path, size in sizes.items() if path.startswith("t/"))
    assert [file.path for file in workspace.files("")] == sorted(sizes)
    assert workspace.files("nowhere") == []
    assert all(file.written == workspace.written_at(file.path) for file in found)


def test_the_clock_is_that_of_the_store_and_leaves_nothing_behind(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.write_bytes("t/a", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 0.0)
        assert abs(workspace.clock() - workspace.written_at("t/a")) < 60
    assert [file.path for file in workspace.files("")] == ["t/a"]
    assert workspace.clock() >= workspace.written_at("t/a")


def test_a_file_that_is_written_again_is_younger(workspace: Workspace) -> None:
    workspace.write_bytes("a", b"1")
    before = workspace.written_at("a")
    time.sleep(0.01 if workspace.is_local else 1.1)  # a bucket tells whole seconds
    workspace.write_bytes("a", b"1")
    assert workspace.written_at("a") > before
    with pytest.raises(FileNotFoundError):
        workspace.written_at("nowhere")


def test_whoever_counts_retries_travels_with_the_workspace_and_is_no_part_of_what_it_is(workspace: Workspace) -> None:
    told = Workspace(workspace.url, on_retry=print)
    assert told == workspace
    assert hash(told) == hash(workspace)
    assert pickle.loads(pickle.dumps(told)).on_retry is print
    assert "print" not in repr(told)


def test_parts_leave_out_what_is_no_part_file(workspace: Workspace) -> None:
    for name in ("part-b.parquet", "part-a.parquet", "manifest.json", "part-c.parquet.tmp", ".part-d.parquet", "other.parquet"):
        workspace.write_bytes(f"t/{name}", b"1")
    assert workspace.parts("t") == ["t/part-a.parquet", "t/part-b.parquet"]
    assert workspace.parts("nowhere") == []


def test_a_file_that_another_process_wrote_is_seen_at_once(workspace: Workspace) -> None:
    workspace.write_bytes("t/a", b"1")
    assert workspace.names("t") == ["a"]
    other = open_filesystem(workspace.url)[0].__class__(skip_instance_cache=True)
    other.pipe_file(workspace.path("t/b"), b"2")
    assert workspace.names("t") == ["a", "b"]
    assert workspace.exists("t/b")


def test_a_moved_folder_arrives_whole_and_is_gone_where_it_was(workspace: Workspace) -> None:
    for path in ("draft/model.safetensors", "draft/semantic_ids/part-0.parquet"):
        workspace.write_bytes(path, path.encode())
    workspace.move_folder("draft", "releases/precision/v0001")
    assert not workspace.exists("draft")
    assert workspace.read_bytes("releases/precision/v0001/semantic_ids/part-0.parquet") == b"draft/semantic_ids/part-0.parquet"
    assert workspace.read_bytes("releases/precision/v0001/model.safetensors") == b"draft/model.safetensors"


def test_a_folder_of_this_machine_is_copied_with_all_below(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "made here"
    names = {"model.safetensors", ".hidden", "1_Pooling/config.json", "a/b/c/odd [1] ñ.txt"}
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    (source / "empty file").touch()
    (source / "link").symlink_to(source / "model.safetensors")
    workspace.write_bytes("draft/model/model.safetensors", b"replaced")
    workspace.write_bytes("draft/model/other", b"kept")
    workspace.put_folder(source, "draft/model")
    copied = {
        path.removeprefix(workspace.path("draft/model/")): workspace.fs.cat_file(path)
        for path in workspace.fs.find(workspace.path("draft"))
    }
    assert copied == {name: name.encode() for name in names} | {"empty file": b"", "link": b"model.safetensors", "other": b"kept"}
    assert (source / "1_Pooling/config.json").exists()


def test_a_copied_folder_can_be_published_in_one_move(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "model" / "below").mkdir(parents=True)
    (tmp_path / "model" / "below" / "file").write_bytes(b"1")
    workspace.put_folder(tmp_path / "model", "runs/a/draft/model")
    workspace.move_folder("runs/a/draft", "encoders/shop/v0001")
    assert workspace.read_bytes("encoders/shop/v0001/model/below/file") == b"1"
    assert not workspace.exists("runs/a/draft")


def test_removing_takes_a_folder_with_all_below_and_nothing_beside_it(workspace: Workspace) -> None:
    for path in ("runs/a/x", "runs/a/b/y", "runs/ab/z"):
        workspace.write_bytes(path, b"1")
    workspace.remove("runs/a")
    workspace.remove("runs/a")
    assert workspace.names("runs") == ["ab"]
    workspace.remove("runs/ab/z")
    assert not workspace.exists("runs/ab/z")


def test_pyarrow_and_ray_train_reach_the_same_files(workspace: Workspace) -> None:
    table = pa.table({"item_id": ["1"]})
    workspace.write_table("t/part-0.parquet", table)
    assert pq.read_table(workspace.path("t/part-0.parquet"), filesystem=workspace.arrow_filesystem).equals(table)


def test_an_address_can_be_given_to_a_job_again(workspace: Workspace) -> None:
    workspace.write_bytes("t/a", b"1")
    again = Workspace(workspace.address("t"))
    assert again.read_bytes("a") == b"1"
    assert again.address("").startswith("/" if workspace.is_local else "s3://")


def test_a_relative_workspace_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Workspace("ws").path("t/a") == str(tmp_path / "ws/t/a")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Workspace("~/ws").path("a") == str(tmp_path / "home/ws/a")


def test_an_unknown_scheme_is_told_in_the_users_words() -> None:
    with pytest.raises(ShelfcodeError, match="cannot open shelf://x"):
        open_filesystem("shelf://x")


def test_runs_of_one_job_have_names_of_their_own() -> None:
    names = [new_run("train-precision") for _ in range(50)]
    assert len(set(names)) == 50
    assert all("-train-precision-" in name for name in names)


def test_a_written_table_is_plain_parquet(workspace: Workspace) -> None:
    workspace.write_table("t/part-0.parquet", pa.table({"item_id": ["1"]}))
    assert pq.read_table(io.BytesIO(workspace.read_bytes("t/part-0.parquet"))).to_pydict() == {"item_id": ["1"]}


def test_a_relative_workspace_is_the_same_folder_from_wherever_a_worker_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = pickle.loads(pickle.dumps(Workspace("shelf")))
    monkeypatch.chdir("/")
    workspace.write_bytes("note", b"here")
    assert (tmp_path / "shelf" / "note").read_bytes() == b"here"
