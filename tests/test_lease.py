"""One run at a time for each name, and none that is dead or cut off keeps the others out."""

import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from flaky_store import flaky_store
from lease_runs import ask, race, said, start_holder, take_turns

from shelfcode.errors import ShelfcodeError
from shelfcode.lease import SWEEP, Holder, Timing, hold_lease, this_process, uptime
from shelfcode.workspace import Workspace

YEARS = 10 * 365 * 86_400.0


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder: the rules are the same everywhere. What only a bucket can show stands at the end of this file."""
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def bucket(s3: str, tmp_path: Path) -> Workspace:
    return Workspace(f"{s3}/{tmp_path.parent.name}-{tmp_path.name}")


class Clock:
    """How much time has passed for a run, which a test may set ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return uptime() + self.ahead


@pytest.fixture
def holder() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts processes that hold leases, and ends them."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **settings: float | str) -> "subprocess.Popen[str]":
        started.append(start_holder(*arguments, **settings))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Later(Workspace):
    """The same workspace a minute later, by the clock of its store."""

    seconds = 61.0

    def clock(self) -> float:
        return super().clock() + self.seconds


class SomewhatLater(Later):
    seconds = 50.0


QUICK = Timing(beat=0.05, retry=0.05)


def refused(workspace: Workspace, name: str, wait: float = 0, timing: Timing = QUICK) -> str:
    """What a run is told that wants a lease in vain."""
    with pytest.raises(ShelfcodeError) as raised, hold_lease(workspace, name, "the second run", wait, timing):
        pass
    return str(raised.value)


def is_free(workspace: Workspace, name: str) -> bool:
    with hold_lease(workspace, name, "whoever") as held:
        held.check()
    return True


def write_lease(workspace: Workspace, name: str, number: int = 1, **fields: object) -> None:
    """The file of a lease that another run took."""
    text = json.dumps({**asdict(this_process("an earlier run")), "released": False, **fields})
    workspace.write_bytes(f"leases/{name}/{number:06d}.json", text.encode())


def test_a_second_run_is_refused_and_told_who_holds_it_where_and_for_how_long(workspace: Workspace) -> None:
    with hold_lease(workspace, "precision", "20260131T093000-train-precision-1f2e3d") as held:
        told = refused(workspace, "precision")
        assert "20260131T093000-train-precision-1f2e3d holds the lease on precision" in told
        assert f"process {os.getpid()} on {this_process('').machine.split()[0]}," in told
        assert "last heard of" in told
        assert "--wait SECONDS" in told
        told = refused(SomewhatLater(workspace.url), "precision")
        assert any(f"last heard of {age} s ago; if it died, the lease ends {60 - age} s from now" in told for age in range(49, 56))
        held.check()
    assert is_free(workspace, "precision")


def test_another_name_is_free_and_so_is_one_that_was_given_back_by_an_error(workspace: Workspace) -> None:
    with hold_lease(workspace, "precision", "first") as held:
        assert is_free(workspace, "discovery")
        held.check()
    with pytest.raises(KeyError), hold_lease(workspace, "precision", "fails"):
        raise KeyError
    assert is_free(workspace, "precision")
    assert workspace.names("leases/precision") == ["000003.json"]


def test_whoever_waits_gets_the_lease_as_soon_as_it_is_given_back(workspace: Workspace) -> None:
    end, held = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_lease(workspace, "precision", "first"):
            held.set()
            end.wait()

    first = threading.Thread(target=hold)
    first.start()
    held.wait()
    started = time.monotonic()
    assert "first holds" in refused(workspace, "precision", wait=0.2)
    assert time.monotonic() - started > 0.2
    threading.Timer(0.2, end.set).start()
    with hold_lease(workspace, "precision", "second", wait=600, timing=QUICK) as second:
        assert end.is_set()
        assert time.monotonic() - started < 300
        second.check()
    first.join()


@pytest.mark.parametrize(("held", "wanted"), [(SWEEP, "precision"), ("precision", SWEEP), (SWEEP, SWEEP)])
def test_a_sweep_keeps_everything_out_and_everything_keeps_a_sweep_out(workspace: Workspace, held: str, wanted: str) -> None:
    with hold_lease(workspace, held, "first") as first:
        assert f"first holds the lease on {held}" in refused(workspace, wanted)
        refused(workspace, wanted, wait=0.1)
        first.check()
    assert is_free(workspace, wanted)
    assert len(workspace.names(f"leases/{wanted}")) == 1, "tries leave files behind"


def test_a_run_without_a_sign_of_life_loses_its_lease_and_may_not_publish(workspace: Workspace) -> None:
    with hold_lease(workspace, "precision", "cut off") as old, hold_lease(Later(workspace.url), "precision", "new") as new:
        with pytest.raises(ShelfcodeError, match=r"the lease on precision is lost: new took it over\. Nothing was published"):
            old.check()
        new.check()
        old.give_back()
        assert "new holds" in refused(workspace, "precision")
        with pytest.raises(ShelfcodeError, match="is lost"):
            old.check()
        new.check()


def test_a_lease_lasts_while_its_holder_shows_signs_of_life(workspace: Workspace) -> None:
    written = []
    with hold_lease(workspace, "precision", "first", timing=QUICK) as held:
        until = time.monotonic() + 30
        while len(set(written)) < 3 and time.monotonic() < until:
            written.append(workspace.written_at("leases/precision/000001.json"))
        held.check()
    assert len(set(written)) == 3, "nothing was written again"
    assert written == sorted(written)


def test_a_process_that_stands_still_loses_its_lease_and_learns_of_it(workspace: Workspace, holder) -> None:
    process = holder(workspace.url, "precision", expires_after=3, beat=0.1)
    timing = Timing(expires_after=3, retry=0.05)
    assert said(process) == "held"
    assert ask(process) == "mine"
    process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    assert "holder-of-precision holds" in refused(workspace, "precision", timing=timing)
    with hold_lease(workspace, "precision", "second", wait=600, timing=timing) as second:
        assert 1 < time.monotonic() - started < 300
        process.send_signal(signal.SIGCONT)
        assert "the lease on precision is lost: second took it over" in ask(process)
        second.check()


def test_a_process_that_was_killed_on_this_machine_frees_its_lease_at_once(workspace: Workspace, holder) -> None:
    process = holder(workspace.url, "precision")
    assert said(process) == "held"
    refused(workspace, "precision")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked for its exit code
    assert is_free(workspace, "precision")


def test_whether_a_run_is_dead_is_known_of_this_machine_alone() -> None:
    ours = this_process("a")
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert not ours.is_dead()
    assert replace(ours, process=gone.pid).is_dead()
    assert replace(ours, started=ours.started - 100).is_dead(), "its number was given to another process"
    assert not Holder("a", f"another-{ours.machine}", gone.pid, 0).is_dead()
    assert len(ours.machine.split()) >= 3, "two machines may have one host name"


def test_a_clock_that_is_set_right_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of a process as the time of day moves with the clock: Linux counts it from a start of the machine that moves too."""
    ours = this_process("a")
    create_time, boot_time = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time() + 3600)
    assert not ours.is_dead()


@pytest.mark.parametrize("before", ["nobody", "a run that died"])
def test_of_many_processes_that_want_one_lease_exactly_one_holds_it(workspace: Workspace, before: str) -> None:
    if before != "nobody":
        write_lease(workspace, "precision", started=-1000.0)
    assert race(workspace.url, ["precision"] * 8) == ["precision"]
    assert is_free(workspace, "precision")


def assert_sweeps_have_the_workspace_to_themselves(url: str) -> None:
    """All get their turn, and no other lease is held while a sweep is."""
    names = [SWEEP, "a", "b", SWEEP, "c", "d"]
    turns = sorted(take_turns(url, names), key=lambda turn: turn[1])
    assert sorted(name for name, _, _ in turns) == sorted(names)
    for (name, _, end), (later, begin, _) in itertools.combinations(turns, 2):
        assert begin >= end or SWEEP not in (name, later)


def test_a_sweep_never_runs_beside_others_however_close_they_come(workspace: Workspace) -> None:
    assert_sweeps_have_the_workspace_to_themselves(workspace.url)
    held = race(workspace.url, [SWEEP, "a", "b", SWEEP, "c", "d"])  # without waiting, it may be that each keeps the others out
    assert SWEEP not in held or held == [SWEEP]
    assert all(is_free(workspace, name) for name in (SWEEP, "a", "b", "c", "d"))


def test_runs_of_different_names_start_at_once(workspace: Workspace) -> None:
    assert sorted(race(workspace.url, ["a", "b", "c"])) == ["a", "b", "c"]


def assert_a_clock_decides_nothing(workspace: Workspace, holder: Callable[..., "subprocess.Popen[str]"], clock: float) -> None:
    """The store's own clock decides: a lease from a machine with a wrong clock lasts as long as any, and that machine sees others' ages."""
    with hold_lease(workspace, "ours", "here") as here:
        process = holder(workspace.url, "theirs", clock=clock, wanted="ours")
        ours = said(process)
        assert said(process) == "held"
        theirs = refused(workspace, "theirs")
        assert "here holds the lease on ours" in ours
        assert "holder-of-theirs holds the lease on theirs" in theirs
        ages = [float(each.split("last heard of ")[1].split(" s ago")[0]) for each in (ours, theirs)]
        assert max(ages) < 20
        assert ask(process) == "mine"
        assert is_free(Later(workspace.url), "theirs")
        assert "is lost: whoever took it over" in ask(process)
        here.check()


@pytest.mark.parametrize("clock", [YEARS, -YEARS], ids=["years ahead", "years behind"])
def test_the_clock_of_a_machine_decides_nothing(workspace: Workspace, holder, clock: float) -> None:
    assert_a_clock_decides_nothing(workspace, holder, clock)


@pytest.mark.parametrize("text", [b"", b'{"run": "first", "mach', b"{}", b"[]", b'{"released": false, "run": "first"}'])
def test_half_a_file_of_a_lease_keeps_others_out_for_as_long_as_a_whole_one(workspace: Workspace, text: bytes) -> None:
    workspace.write_bytes("leases/precision/000001.json", text)
    assert "another run has just taken the lease on precision" in refused(workspace, "precision")
    assert is_free(Later(workspace.url), "precision")


def test_strange_files_among_the_leases_hurt_nobody(workspace: Workspace) -> None:
    for name in ("README.txt", "old.json", "000007.json.bak", "folder/000009.json"):
        workspace.write_bytes(f"leases/precision/{name}", b"?")
    assert is_free(workspace, "precision")
    assert "000001.json" in workspace.names("leases/precision")


class LostAnswer(Workspace):
    """Creates a file and is asked again, as after an answer that got lost: the file is there already."""

    def claim(self, relative: str, data: bytes = b"") -> bool:
        super().claim(relative, data)
        return False


def test_a_lease_is_ours_when_only_the_answer_got_lost(workspace: Workspace) -> None:
    with hold_lease(LostAnswer(workspace.url), "precision", "first") as held:
        held.check()
        refused(workspace, "precision")
        refused(LostAnswer(workspace.url), "precision")


class Beaten(Workspace):
    """Another run is faster by the moment between looking and creating."""

    def claim(self, relative: str, data: bytes = b"") -> bool:
        Workspace(self.url).claim(relative, data.replace(b"the second run", b"a faster run"))
        return super().claim(relative, data)


def test_a_lease_is_not_ours_when_another_run_created_the_file(workspace: Workspace) -> None:
    assert "another run has just taken the lease on precision" in refused(Beaten(workspace.url), "precision")
    assert "a faster run holds" in refused(workspace, "precision")


class Slow(Workspace):
    """Between looking and creating, two other runs come and go, and the last clears away what the first left."""

    def claim(self, relative: str, data: bytes = b"") -> bool:
        for run in ("first", "last"):
            with hold_lease(Workspace(self.url), "precision", run):
                pass
        return super().claim(relative, data)


def test_a_number_that_was_cleared_away_is_held_by_nobody(workspace: Workspace) -> None:
    assert "has just taken the lease" in refused(Slow(workspace.url), "precision")
    assert is_free(workspace, "precision")


def test_a_holder_that_wakes_up_while_its_lease_is_taken_over_shares_it_with_nobody(workspace: Workspace) -> None:
    ages = iter([61.0])

    class Waking(Workspace):
        def clock(self) -> float:
            return super().clock() + next(ages, 0)

        def claim(self, relative: str, data: bytes = b"") -> bool:
            old.check()
            return super().claim(relative, data)

    with hold_lease(workspace, "precision", "first") as old:
        refused(Waking(workspace.url), "precision")


@pytest.mark.parametrize("swept", [False, True])
def test_a_run_that_was_away_keeps_its_lease_only_where_nobody_came_meanwhile(workspace: Workspace, swept: bool) -> None:
    clock = Clock()
    with hold_lease(workspace, "precision", "away", timing=Timing(uptime=clock)) as held:
        if swept:
            assert is_free(Later(workspace.url), SWEEP)
        clock.ahead = 61
        if swept:
            with pytest.raises(ShelfcodeError, match="gave no sign of life for 60 s, and a run that it keeps out came meanwhile"):
                held.check()
        else:
            held.check()


class GoneError(Exception):
    """As botocore has it: no OSError."""


def test_a_store_out_of_reach_lets_nobody_publish_once_the_lease_has_ended(workspace: Workspace, monkeypatch) -> None:
    away = threading.Event()

    class Cut(Workspace):
        def names(self, folder: str) -> list[str]:
            if away.is_set():
                raise GoneError
            return super().names(folder)

    clock, errors = Clock(), []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    with hold_lease(Cut(workspace.url), "precision", "cut off", timing=Timing(beat=0.05, uptime=clock)) as held:
        away.set()
        held.check()
        clock.ahead = 61
        with pytest.raises(ShelfcodeError, match="precision is lost: the workspace could not be reached for 60 s"):
            held.check()
    assert errors == []


def test_in_a_bucket_a_lease_is_held_by_one_seen_by_all_and_ends_by_the_clock_of_the_store(bucket: Workspace) -> None:
    with hold_lease(bucket, "precision", "first") as first:
        told = refused(SomewhatLater(bucket.url), "precision")
        assert any(f"last heard of {age} s ago; if it died, the lease ends {60 - age} s from now" in told for age in range(49, 56))
        assert "first holds the lease on precision" in refused(bucket, SWEEP)
        first.check()
        assert is_free(Later(bucket.url), "precision")
        with pytest.raises(ShelfcodeError, match="precision is lost: whoever took it over"):
            first.check()
    assert is_free(bucket, SWEEP)


def test_in_a_bucket_the_clock_of_a_machine_decides_nothing(bucket: Workspace, holder) -> None:
    assert_a_clock_decides_nothing(bucket, holder, YEARS)


def test_in_a_bucket_exactly_one_of_many_processes_takes_over_from_a_run_that_died(bucket: Workspace) -> None:
    write_lease(bucket, "precision", started=-1000.0)
    assert race(bucket.url, ["precision"] * 8) == ["precision"]
    assert is_free(bucket, "precision")


def test_in_a_bucket_a_sweep_never_runs_beside_others(bucket: Workspace) -> None:
    assert_sweeps_have_the_workspace_to_themselves(bucket.url)


def test_in_a_bucket_a_lease_is_ours_when_only_the_answer_got_lost(bucket: Workspace) -> None:
    with hold_lease(LostAnswer(bucket.url), "precision", "first") as held:
        held.check()
        refused(LostAnswer(bucket.url), "precision")


def test_a_bucket_out_of_reach_lets_nobody_publish_and_breaks_nothing(bucket: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    clock = Clock()
    with flaky_store() as store, store.as_endpoint(), hold_lease(bucket, "precision", "cut off", timing=Timing(uptime=clock)) as held:
        held.check()
        store.close()
        clock.ahead = 61
        with pytest.raises(ShelfcodeError, match="could not be reached"):
            held.check()
