"""A draft is evaluated in a task of Ray; what `complete_draft` does there is tested without one, in test_release_files.py."""

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.pipeline import evaluate_draft
from shelfcode.releases.release import publish


def test_a_task_evaluates_drafts_in_a_bucket_and_tells_of_a_damaged_one(local_ray, s3, shelf_in):
    shelf = shelf_in(f"{s3}/evaluated-drafts")
    parent = publish(shelf.workspace, shelf.draft, shelf.evaluate(by=evaluate_draft).manifest)
    shelf.write_draft(changed=55)
    manifest = shelf.evaluate(parent, by=evaluate_draft).manifest
    assert manifest.parent == "small@v0001"
    assert manifest.churn["changed"] == pytest.approx([0.25, 0.25])
    names = {"evaluation.json", "report.html", "coded_texts.npy", "migration.parquet", "translation.parquet", "model.safetensors"}
    assert names <= set(shelf.workspace.names(shelf.draft))

    last = shelf.parts[1]
    shelf.workspace.write_table(last, shelf.workspace.read_table(last).slice(1))
    with pytest.raises(ShelfcodeError, match="holds 219 products in 2 parts"):
        shelf.evaluate(parent, by=evaluate_draft)
