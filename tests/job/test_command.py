"""A job as a command: its last line and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from shelfcode.job.command import run_job, users_message

LIBRARY = Path(__file__).parents[2] / "platform"


@pytest.mark.parametrize(
    ("gates", "code"),
    [(None, None), ({}, None), ({"a": {"held": True}}, None), ({"a": {"held": True}, "b": {"held": False}}, 1)],
)
def test_a_gate_that_does_not_hold_fails_a_job_after_its_last_line(
    gates: dict[str, dict[str, bool]] | None, code: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"release": "precision@v0002"} if gates is None else {"release": "precision@v0002", "gates": gates}
    monkeypatch.setattr(sys, "argv", ["job.py"])
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    if code is None:
        run_job(lambda: result)
    else:
        with pytest.raises(SystemExit) as stop:
            run_job(lambda: result)
        assert stop.value.code == code
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result


JOB = """
import logging, os, sys
from shelfcode.errors import ShelfcodeError
from shelfcode.job.command import run_job, users_message
from shelfcode.job.screen import say, say_result

def main(end: str) -> dict:
    say("said by the job")
    print("printed by a library")
    logging.warning("logged by a library")
    os.write(2, b"written by C++\\n")
    say_result("asked for")
    if end == "mend":
        raise ShelfcodeError("a flag is wrong")
    if end == "bug":
        raise ValueError("a bug")
    return {"done": True}

run_job(main)
"""


def run(folder: Path, *flags: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """A job in a process of its own, and its log."""
    environment = {**os.environ, "SHELFCODE_SCRATCH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", JOB, *flags], cwd=LIBRARY, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done, "".join(path.read_text() for path in (folder / "logs").glob("*.log"))


FOREIGN = ("printed by a library", "logged by a library", "written by C++")


def test_what_libraries_print_goes_to_a_log_and_the_jobs_own_words_to_the_screen(tmp_path: Path) -> None:
    done, log = run(tmp_path, "well")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["asked for", '{"done": true}']
    assert done.stderr == "said by the job\n"
    assert all(line in log for line in FOREIGN)


def test_with_verbose_all_is_on_the_screen(tmp_path: Path) -> None:
    done, log = run(tmp_path, "well", "--verbose")
    assert done.returncode == 0, done.stderr
    assert log == ""
    assert done.stdout.splitlines()[-1] == '{"done": true}'
    assert all(line in done.stdout + done.stderr for line in FOREIGN)


def test_an_error_names_the_log_and_a_bug_shows_its_traceback(tmp_path: Path) -> None:
    done, _ = run(tmp_path / "mend", "mend")
    assert done.returncode == 2
    assert "error: a flag is wrong" in done.stderr
    assert f"log: {tmp_path / 'mend/logs'}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines() == ["asked for"]
    done, _ = run(tmp_path / "bug", "bug")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: a bug"
    assert f"log: {tmp_path / 'bug/logs'}" in done.stderr


def test_a_job_runs_where_no_log_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done, _ = run(tmp_path / "file", "well")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '{"done": true}'


def test_an_error_of_a_store_is_told_wherever_it_was_raised_with_the_addresses_given(tmp_path: Path) -> None:
    denied = PermissionError("Access Denied")
    told = "s3://shop/x: access is denied: the credentials must be allowed to list, read, write and delete objects there"
    assert users_message(denied, ["s3://shop/x"]) == told
    in_task = ray.exceptions.RayTaskError("read", "a traceback", denied)
    assert users_message(in_task.as_instanceof_cause(), ["s3://shop/x"]) == told
    locked = PermissionError(13, "Permission denied", "/locked")
    assert users_message(locked) == "[Errno 13] Permission denied: '/locked': this user may not read or write there"
    in_task = ray.exceptions.RayTaskError("read", "a traceback", locked)
    assert users_message(in_task.as_instanceof_cause(), ["s3://shop/x"]) == users_message(locked)
    assert users_message(KeyError("a bug"), ["s3://shop/x"]) is None
