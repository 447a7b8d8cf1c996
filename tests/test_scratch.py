"""A node keeps what it can make again where it is told to, or in a folder of the user's own."""

import os
from pathlib import Path

import pytest

from shelfcode.scratch import scratch_folder


def test_the_scratch_folder_is_the_one_that_is_named_else_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path))
    assert scratch_folder() == tmp_path
    for unset in (lambda: monkeypatch.setenv("SHELFCODE_SCRATCH", ""), lambda: monkeypatch.delenv("SHELFCODE_SCRATCH")):
        unset()
        assert scratch_folder().name == f"shelfcode-{os.getuid()}"
