"""Whoever writes into a workspace knows its layout and holds a lease, so that no sweep deletes what it has just written."""

from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "jobs"
WRITERS = [path.name for path in sorted(JOBS.glob("*.py")) if "take_snapshot(" in path.read_text()]


@pytest.mark.parametrize("name", WRITERS)
def test_a_job_that_takes_a_snapshot_opens_its_workspace_under_a_lease(name: str) -> None:
    assert "with open_workspace(" in (JOBS / name).read_text()


def test_the_jobs_are_looked_at() -> None:
    assert {"distill_extractor.py", "evaluate_encoder.py", "extract_attributes.py"} <= set(WRITERS)
