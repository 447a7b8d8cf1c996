"""A bucket whose store fails now and then: every operation of a workspace ends right, and each request that was asked again is counted."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
import s3fs
from botocore.retries.standard import ExponentialBackoff
from flaky_store import CUTS, ERRORS, FlakyStore, flaky_store
from tenacity import wait_none

from shelfcode import arrow_store, store
from shelfcode.versions import publish_version, published_versions
from shelfcode.workspace import Workspace


class Listener:
    """Counts how often it was told."""

    def __init__(self) -> None:
        self.told = 0

    def __call__(self) -> None:
        self.told += 1


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has heard the log of s3fs yet; and waits between tries are left out."""
    log = logging.getLogger("s3fs")
    level, filters = log.level, list(log.filters)
    log.filters = []
    log.setLevel(logging.NOTSET)  # jobs that ran in this process before may have changed it
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    monkeypatch.setattr(arrow_store, "WAIT", wait_none())
    yield
    log.filters = filters
    log.setLevel(level)


@pytest.fixture
def flaky(s3: str, tmp_path: Path) -> Iterator[Callable[..., tuple[FlakyStore, Workspace, Listener]]]:
    """Opens a workspace in a bucket whose store fails in the ways given."""
    stores = []

    def open_flaky(*kinds: str, share: float = 1 / 20, listen: bool = True) -> tuple[FlakyStore, Workspace, Listener]:
        listener = Listener()
        store = flaky_store(kinds, share)
        opened = store.__enter__()
        endpoint = opened.as_endpoint()
        endpoint.__enter__()
        stores.extend([store, endpoint])
        return opened, Workspace(f"{s3}/{tmp_path.name}", on_retry=listener if listen else None), listener

    yield open_flaky
    for each in reversed(stores):
        each.__exit__(None, None, None)


def use_all(workspace: Workspace, number: int, made_here: Path, claims_may_burn: bool) -> None:
    """Every operation of a workspace once, in a folder of its own."""
    folder, table = f"round-{number}", pa.table({"item_id": [f"{number}", "ñ"], "price": [1.5, None]})
    data = f"{number}".encode() * 50_000
    workspace.write_bytes(f"{folder}/a/data", b"replaced")
    workspace.write_bytes(f"{folder}/a/data", data)
    workspace.write_table(f"{folder}/a/part-0.parquet", table)
    workspace.put_folder(made_here, f"{folder}/put")
    assert workspace.read_bytes(f"{folder}/a/data") == data
    assert workspace.read_table(f"{folder}/a/part-0.parquet").equals(table)
    assert workspace.read_schema(f"{folder}/a/part-0.parquet") == table.schema
    assert workspace.names(folder) == ["a", "put"]
    assert workspace.names(f"{folder}/nowhere") == []
    assert workspace.parts(f"{folder}/a") == [f"{folder}/a/part-0.parquet"]
    assert workspace.exists(f"{folder}/a")
    assert not workspace.exists(f"{folder}/b")
    won = workspace.claim(f"{folder}/.claim", b"ours")
    assert won or claims_may_burn
    assert not workspace.claim(f"{folder}/.claim", b"another's")
    assert workspace.read_bytes(f"{folder}/.claim") == b"ours"
    workspace.move_folder(f"{folder}/a", f"{folder}/b")
    assert [(file.path, file.bytes) for file in workspace.files(folder)] == [
        (f"{folder}/.claim", 4), (f"{folder}/b/data", len(data)), (f"{folder}/b/part-0.parquet", workspace.files(f"{folder}/b")[1].bytes),
        (f"{folder}/put/below/file", 100_000),
    ]  # fmt: skip
    assert workspace.read_bytes(f"{folder}/b/data") == data
    assert workspace.read_bytes(f"{folder}/put/below/file") == b"x" * 100_000
    assert workspace.clock() >= workspace.written_at(f"{folder}/b/data")
    workspace.remove(f"{folder}/b")
    workspace.remove(f"{folder}/nowhere")
    assert workspace.names(folder) == ["put"]


@pytest.fixture
def made_here(tmp_path: Path) -> Path:
    (tmp_path / "made" / "below").mkdir(parents=True)
    (tmp_path / "made" / "below" / "file").write_bytes(b"x" * 100_000)
    return tmp_path / "made"


@pytest.mark.parametrize("kinds", [*((kind,) for kind in (*ERRORS, *CUTS)), (*ERRORS, *CUTS)], ids=[*ERRORS, *CUTS, "all"])
def test_all_operations_end_right_and_each_retry_is_told(flaky, made_here: Path, kinds: tuple[str, ...]) -> None:
    store, workspace, listener = flaky(*kinds)
    for number in range(6):
        use_all(workspace, number, made_here, claims_may_burn="unanswered" in kinds)
    failures = store.failures.total()
    assert store.requests > 200
    assert set(store.failures) == set(kinds)
    # An HTTP client opens a connection anew by itself where one that it kept turns out to be closed, and tells nobody.
    silent = store.failures["unheard"] + store.failures["unanswered"]
    assert failures - silent <= listener.told <= failures
    assert listener.told > 0


def test_a_store_that_never_fails_is_never_asked_again(flaky, made_here: Path) -> None:
    store, workspace, listener = flaky()
    use_all(workspace, 0, made_here, claims_may_burn=False)
    assert store.requests > 20
    assert listener.told == 0


def test_a_file_that_is_not_there_is_no_retry(flaky) -> None:
    _, workspace, listener = flaky()
    with pytest.raises(FileNotFoundError):
        workspace.read_bytes("nowhere")
    with pytest.raises(FileNotFoundError):
        workspace.written_at("nowhere")
    assert listener.told == 0


def test_a_large_file_is_read_whole_though_its_connection_breaks(flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    """s3fs reads what is larger than a block in pieces side by side, and asks for none of these again."""
    monkeypatch.setattr(s3fs.S3FileSystem, "default_block_size", 2**16)
    store, workspace, listener = flaky("torn", share=1 / 3)
    data = bytes(range(256)) * 2**12
    workspace.write_bytes("large", data)
    for _ in range(12):
        assert workspace.read_bytes("large") == data
    assert listener.told == store.failures["torn"] > 0


@pytest.mark.parametrize("kind", ["unanswered", "unheard", "500"])
def test_a_claim_is_given_to_one_at_the_most(flaky, kind: str) -> None:
    store, workspace, _ = flaky(kind, share=1 / 3)
    # One number after another, not one at the same moment: the tests' S3 server looks for a file and creates it in two steps.
    numbers = [number for _ in range(4) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda number: workspace.claim(f"v{number:04}/.claim"), numbers))
    winners = [number for number, mine in zip(numbers, won, strict=True) if mine]
    assert len(winners) == len(set(winners))
    assert all(workspace.exists(f"v{number:04}/.claim") for number in range(12))
    if kind != "unanswered":
        assert winners == sorted(set(winners)) == list(range(12))
    assert store.failures[kind] > 0


def test_a_version_whose_claim_was_answered_in_vain_is_published_under_the_next_number(flaky) -> None:
    store, workspace, _ = flaky("unanswered", share=1 / 4)
    published = []
    for number in range(6):
        draft = f"runs/{number}/draft"
        workspace.write_bytes(f"{draft}/model", f"{number}".encode())
        published.append(publish_version(workspace, "encoders/shop", draft, lambda version: {"version": version}))
    assert published_versions(workspace, "encoders/shop") == published == sorted(set(published))
    assert [workspace.read_bytes(f"encoders/shop/{version}/model") for version in published] == [f"{n}".encode() for n in range(6)]
    assert store.failures["unanswered"] > 0


def test_nobody_is_told_who_did_not_ask(flaky, made_here: Path) -> None:
    log = logging.getLogger("s3fs")
    before = (log.level, list(log.filters))
    store, workspace, _ = flaky(*ERRORS, *CUTS, listen=False)
    for number in range(3):
        use_all(workspace, number, made_here, claims_may_burn=True)
    assert store.failures.total() > 0
    assert (log.level, list(log.filters)) == before


def test_the_log_of_s3fs_says_no_more_than_before(flaky, made_here: Path) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log = logging.getLogger("s3fs")
    log.addHandler(handler)
    try:
        store, workspace, listener = flaky("torn", share=1 / 4)
        use_all(workspace, 0, made_here, claims_may_burn=False)
        assert listener.told == store.failures["torn"] > 0
        assert records == []
        log.warning("heard")
        assert [record.getMessage() for record in records] == ["heard"]
    finally:
        log.removeHandler(handler)


def test_whoever_listens_twice_is_told_once(flaky, made_here: Path) -> None:
    store, workspace, listener = flaky("503", share=1 / 4)
    again = Workspace(workspace.url, on_retry=listener)
    for each in (workspace, again, Workspace(workspace.url)):
        each.write_bytes("a", b"1")
        assert each.names("") == ["a"]
    use_all(again, 0, made_here, claims_may_burn=False)
    assert listener.told == store.failures["503"] > 0


def test_whoever_sets_the_number_of_tries_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    assert store.retry_options() == {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": 10}}}
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    assert store.retry_options() == {}
