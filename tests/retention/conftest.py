"""A workspace that several nights ran in."""

from collections.abc import Callable

import pytest
from shelf import Shelf

from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace


@pytest.fixture
def shelf(workspace_url: str, publish_small: Callable[..., Manifest]) -> Shelf:
    """Locally and in a bucket."""
    return Shelf(Workspace(workspace_url), publish_small)
