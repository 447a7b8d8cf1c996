"""A workspace that several nights ran in."""

from collections.abc import Callable
from pathlib import Path

import pytest
from shelf import Shelf

from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace


@pytest.fixture
def shelf(tmp_path: Path, publish_small: Callable[..., Manifest]) -> Shelf:
    """In a folder."""
    return Shelf(Workspace(str(tmp_path / "workspace")), publish_small)


@pytest.fixture
def shelf_in_bucket(s3: str, tmp_path: Path, publish_small: Callable[..., Manifest]) -> Shelf:
    return Shelf(Workspace(f"{s3}/{tmp_path.parent.name}-{tmp_path.name}"), publish_small)
