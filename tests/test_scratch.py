"""A node keeps what it can make again where it is told to, or in a folder that nobody but the user can look into."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.scratch import scratch_folder


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, in a system's temporary folder of this test's; not made yet."""
    monkeypatch.delenv("SHELFCODE_SCRATCH", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"shelfcode-{os.getuid()}"


def test_the_scratch_folder_is_the_one_that_is_named_else_the_users_own(tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scratch_folder() == own
    monkeypatch.setenv("SHELFCODE_SCRATCH", "")
    assert scratch_folder() == own
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "named"))
    assert scratch_folder() == tmp_path / "named"


@pytest.mark.parametrize("before", [None, 0o755, 0o777, 0o500])
def test_nobody_but_the_user_can_look_into_it(own: Path, before: int | None) -> None:
    if before is not None:
        own.mkdir()
        own.chmod(before)
    assert stat.S_IMODE(scratch_folder().stat().st_mode) == 0o700


def test_a_link_or_a_file_of_its_name_is_not_followed(own: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    own.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ShelfcodeError, match="SHELFCODE_SCRATCH"):
        scratch_folder()
    own.unlink()
    own.write_text("")
    with pytest.raises(ShelfcodeError, match="not a folder of this user's own"):
        scratch_folder()


def test_a_folder_that_somebody_else_made_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    own.with_name("shelfcode-12345").mkdir(mode=0o777)
    with pytest.raises(ShelfcodeError, match="not a folder of this user's own"):
        scratch_folder()
