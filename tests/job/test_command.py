"""A job as a command: its last line and its exit code."""

import json
import sys

import pytest
import ray

from shelfcode.job.command import run_job


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
