"""What was made says with which libraries."""

from importlib import metadata

import pytest

from shelfcode import libraries


def test_every_library_is_named_with_its_version_and_one_that_is_not_installed_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "LIBRARIES", (*libraries.LIBRARIES, "no-such-library"))
    found = libraries.library_versions()
    assert list(found) == list(libraries.LIBRARIES)
    assert found["torch"] == metadata.version("torch")
    assert [name for name, version in found.items() if version == "unknown"] == ["no-such-library"]
