"""A store by its path or its URL; a mistyped one is named, and not made."""

from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.job.review_store import open_review_store


def test_a_file_is_found_by_its_path_and_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_review_store("review.sqlite", make=True).close()
    for store in ("review.sqlite", f"{tmp_path}/review.sqlite", f"sqlite:///{tmp_path}/review.sqlite", "sqlite:///review.sqlite"):
        desk = open_review_store(store)
        assert desk.audits() == []
        desk.close()
    assert sorted(path.name for path in tmp_path.glob("*.sqlite")) == ["review.sqlite"]


def test_a_file_that_is_not_there_is_no_empty_store(tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"no review store at .*/reviews\.sqlite"):
        open_review_store(str(tmp_path / "reviews.sqlite"))
    assert not (tmp_path / "reviews.sqlite").exists()
