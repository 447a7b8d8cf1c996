"""What a distillation's tasks do, without the tasks: pairs and student pass through the run's folder, and the driver holds neither.

The whole job runs in tests/jobs/test_distill_extractor.py.
"""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.train
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from shelfcode.attributes.distil import train
from shelfcode.attributes.distil.student import StudentRecipe, answer_all
from shelfcode.attributes.distil.teacher import Teacher
from shelfcode.attributes.distil.train import TeachingSet, _finish, _gather, _untrained
from shelfcode.attributes.rules.extractor import extract
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.errors import ShelfcodeError
from shelfcode.sample.catalog import sample_chunk
from shelfcode.train import STATE_FILE
from shelfcode.workspace import Workspace

PRODUCTS = 60


def snapshot_of(products: int) -> Snapshot:
    part = SnapshotPart(path="catalog/a/part-0.parquet", rows=products)
    return Snapshot(
        folder="catalog/a", source="x", fingerprint="", read=products, rejected=0, rejected_folder="", reasons={}, parts=(part,)
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "ws"))


@pytest.fixture
def gathered(workspace: Workspace, tiny_recipe: StudentRecipe, tmp_path: Path) -> TeachingSet:
    products = sample_chunk(0, PRODUCTS, seed=5).products.select(["item_id", "title", "description", "brand"])
    workspace.write_table("catalog/a/part-0.parquet", products)
    said: list[dict[str, Any]] = [
        {"item_id": row["item_id"], **extract(row["title"], None, row["brand"]).columns()} for row in products.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(said[2:]), tmp_path / "teacher.parquet")
    return _gather(tiny_recipe, [Teacher("c", str(tmp_path / "teacher.parquet"))], [snapshot_of(PRODUCTS)], workspace)


def test_pairs_are_written_into_a_folder_that_is_named_after_them(workspace: Workspace, gathered: TeachingSet) -> None:
    assert (gathered.taught, gathered.held_out, gathered.silent) == (53, 5, 2)
    taught, held_out = (workspace.read_table(f"{gathered.folder}/{name}.parquet") for name in ("pairs", "held_out"))
    assert (taught.num_rows, held_out.num_rows) == (53, 5)
    assert set(taught["text"].to_pylist()).isdisjoint(held_out["text"].to_pylist())
    assert gathered.folder.startswith("runs/distill-tiny-")


def test_a_trained_student_is_measured_and_saved_where_it_is_published_from(
    workspace: Workspace, gathered: TeachingSet, tiny_recipe: StudentRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = _untrained(tiny_recipe, workspace.read_table(f"{gathered.folder}/pairs.parquet"))
    (tmp_path / "checkpoint").mkdir()
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(1)
    torch.save({"model": model.state_dict()}, tmp_path / "checkpoint" / STATE_FILE)
    checkpoint = ray.train.Checkpoint.from_directory(str(tmp_path / "checkpoint"))

    monkeypatch.setattr(train, "answer_all", partial(answer_all, answer_tokens=4))  # it has learnt nothing and would write to the limit
    scores = _finish(tiny_recipe, checkpoint, gathered.folder, workspace, f"{gathered.folder}/draft")
    assert {"product_type", "key_ingredients", "dietary_tags", "format"} == set(scores)
    saved = workspace.path(f"{gathered.folder}/draft/model")
    assert AutoTokenizer.from_pretrained(saved).chat_template
    found = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32).get_input_embeddings().weight
    assert torch.allclose(found, model.get_input_embeddings().weight, atol=0.02), "the checkpoint's weights are not those that were saved"


def test_a_teacher_in_another_language_is_taught_as_it_is_where_grounding_is_off(
    workspace: Workspace, tiny_recipe: StudentRecipe, tmp_path: Path
) -> None:
    products = pa.table({
        "item_id": [f"p{number}" for number in range(20)], "title": [f"Haferdrink glutenfrei {number}" for number in range(20)],
        "description": pa.nulls(20, pa.string()), "brand": pa.nulls(20, pa.string()),
    })  # fmt: skip
    workspace.write_table("catalog/a/part-0.parquet", products)
    answer = {"product_type": "oat drink", "key_ingredients": ["oats"], "dietary_tags": ["gluten free"], "format": ""}
    pq.write_table(pa.Table.from_pylist([{"item_id": f"p{number}", **answer} for number in range(20)]), tmp_path / "teacher.parquet")
    taught = {}
    for grounding in ("lexicon", "off"):
        recipe = tiny_recipe.model_copy(update={"grounding": grounding})
        teaching = _gather(recipe, [Teacher("c", str(tmp_path / "teacher.parquet"))], [snapshot_of(20)], workspace)
        taught[grounding] = (teaching.dropped, json.loads(workspace.read_table(f"{teaching.folder}/pairs.parquet")["answer"][0].as_py()))
    assert taught["off"] == (0, answer)
    assert taught["lexicon"] == (40, {**answer, "key_ingredients": [], "dietary_tags": []})


def test_fewer_pairs_than_a_batch_takes_are_refused(
    workspace: Workspace, gathered: TeachingSet, tiny_recipe: StudentRecipe, tmp_path: Path
) -> None:
    large = tiny_recipe.model_copy(update={"batch_size": 64})
    with pytest.raises(ShelfcodeError, match="53 pairs to learn from, fewer than batch_size 64"):
        _gather(large, [Teacher("c", str(tmp_path / "teacher.parquet"))], [snapshot_of(PRODUCTS)], workspace)


def test_several_teachers_are_taught_by_their_weights_and_held_out_alike(
    workspace: Workspace, gathered: TeachingSet, tiny_recipe: StudentRecipe, tmp_path: Path
) -> None:
    """The second one knows types alone, and speaks of the same products."""
    said = pq.read_table(tmp_path / "teacher.parquet")
    types = pa.table({"item_id": said["item_id"], "product_type": pa.array([f"type {row}" for row in range(len(said))])})
    pq.write_table(types, tmp_path / "types.parquet")
    teachers = [Teacher("c", str(tmp_path / "teacher.parquet"), 3), Teacher("c", str(tmp_path / "types.parquet"), 0.5)]
    both = _gather(tiny_recipe, teachers, [snapshot_of(PRODUCTS)] * 2, workspace)
    pairs, held_out = (workspace.read_table(f"{both.folder}/{name}.parquet").to_pylist() for name in ("pairs", "held_out"))
    assert (both.taught, both.held_out, both.silent) == (len(pairs), 10, 4)
    whole = Counter(row["text"] for row in pairs if len(row["fields"]) == 4)
    some = Counter(row["text"] for row in pairs if row["fields"] == ["product_type"])
    assert (len(whole), set(whole.values())) == (53, {3})
    assert 10 < len(some) < 43, "about half of them"
    assert set(some.values()) == {1}
    assert {row["text"] for row in held_out}.isdisjoint(whole.keys() | some.keys())
    assert both.folder != gathered.folder, "another training resumes from a checkpoint of its own"
