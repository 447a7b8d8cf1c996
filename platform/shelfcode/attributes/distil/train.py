"""Making and training a student in Ray: tasks gather the pairs and finish the student, Ray Train (shelfcode.train) trains it.

The pairs are written into the run's folder, and so is the finished student. Nothing is read, learnt or generated in the driver, which may
run on a node without CPUs to spare.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import ray.train
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from shelfcode.attributes.distil.distillation import lessons, start_teaching, teach
from shelfcode.attributes.distil.field_scores import FieldScore, field_scores
from shelfcode.attributes.distil.student import (
    StudentRecipe,
    answer_all,
    learn_vocabulary,
    load_base,
    make_terse,
    new_student,
    place_student,
    transfer_vocabulary,
)
from shelfcode.attributes.distil.teacher import Pairs, Teacher, read_teacher, teaching_pairs
from shelfcode.attributes.schema import Attributes
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.errors import ShelfcodeError
from shelfcode.hardware import reserved_device, torch_device
from shelfcode.optimisation import Worker
from shelfcode.settings import deciding
from shelfcode.train import fit, read_state, report_state, resume, run_folder, say
from shelfcode.workspace import Workspace

REPORT_EVERY = 100
PAIRS_FILE = "pairs.parquet"
HELD_OUT_FILE = "held_out.parquet"


@dataclass(frozen=True)
class TeachingSet:
    """Pairs of text and answer that lie in the folder of a run.

    Attributes:
        taught, held_out: how many are learnt from, and how many are kept back to measure the student on.
        silent: products of which their teacher says nothing.
        dropped: ingredients and tags of the teachers' that a product's own text does not support, and that are not taught.
    """

    folder: str
    taught: int
    held_out: int
    silent: int
    dropped: int

    @property
    def pairs(self) -> int:
        return self.taught + self.held_out


def gather_pairs(recipe: StudentRecipe, teachers: Sequence[Teacher], snapshots: Sequence[Snapshot], workspace: Workspace) -> TeachingSet:
    """Pairs of the products that the teachers speak of, written into the folder of their training. Runs in a task.

    Args:
        snapshots: of each teacher's catalog.

    Raises:
        ShelfcodeError: a teacher speaks of none of its products, or all together of fewer than a batch takes.
    """
    return ray.get(ray.remote(num_cpus=1)(_gather).remote(recipe, teachers, snapshots, workspace))


def train_student(recipe: StudentRecipe, teaching: TeachingSet, workspace: Workspace) -> ray.train.Checkpoint:
    """Train a student on the pairs of a run; the checkpoint of its last step.

    Raises:
        ShelfcodeError: a base that cannot be loaded, or pairs that are longer than a student reads.
        ray.train.TrainingFailedError: workers failed more often than max_failures.
    """
    return fit(partial(_train_worker, recipe, workspace, teaching.folder), recipe, workspace, teaching.folder)


def finish_student(
    recipe: StudentRecipe, checkpoint: ray.train.Checkpoint, teaching: TeachingSet, workspace: Workspace, draft: str
) -> dict[str, FieldScore]:
    """Measure the trained student on the pairs held out, and save it as `model/` in a folder of the workspace. Runs in a task."""
    run = ray.remote(num_cpus=recipe.cpus_per_worker, num_gpus=1 if recipe.use_gpu else None)(_finish)
    return ray.get(run.remote(recipe, checkpoint, teaching.folder, workspace, draft))


def _gather(recipe: StudentRecipe, teachers: Sequence[Teacher], snapshots: Sequence[Snapshot], workspace: Workspace) -> TeachingSet:
    taught, held_out, silent, dropped = list[pa.Table](), list[pa.Table](), 0, 0
    for teacher, snapshot in zip(teachers, snapshots, strict=True):
        pairs = teaching_pairs(
            workspace, snapshot, read_teacher(teacher.attributes, recipe.attributes), recipe.attributes, recipe.grounding
        )
        table = _table(pairs)
        kept_back = min(recipe.held_out // len(teachers), len(table) // 10)
        taught.append(_weighted(table.slice(0, len(table) - kept_back), teacher.weight, recipe.seed))
        held_out.append(table.slice(len(table) - kept_back))
        silent, dropped = silent + pairs.silent, dropped + pairs.dropped
    learnt, measured = pa.concat_tables(taught), pa.concat_tables(held_out)
    if len(learnt) < recipe.batch_size:
        raise ShelfcodeError(f"{len(learnt)} pairs to learn from, fewer than batch_size {recipe.batch_size}")
    folder = run_folder(f"distill-{recipe.name}", _decides(recipe, learnt))
    workspace.write_table(f"{folder}/{PAIRS_FILE}", learnt)
    workspace.write_table(f"{folder}/{HELD_OUT_FILE}", measured)
    return TeachingSet(folder, len(learnt), len(measured), silent, dropped)


def _table(pairs: Pairs) -> pa.Table:
    """`text`, `answer`, the answer as `known` attributes, and the `fields` that the teacher knows."""
    known = [attributes.model_dump_json() for attributes in pairs.known]
    fields = pa.array([pairs.fields] * len(pairs.texts), pa.list_(pa.string()))
    return pa.table({"text": pairs.texts, "answer": pairs.answers, "known": known, "fields": fields})


def _weighted(pairs: pa.Table, weight: float, seed: int) -> pa.Table:
    """Each pair as often as its weight says, on average."""
    draws_N = np.random.default_rng(seed).random(len(pairs))
    times_N = np.floor(weight + draws_N).astype(np.int64)
    return pairs.take(pa.array(np.repeat(np.arange(len(pairs)), times_N)))


def _decides(recipe: StudentRecipe, learnt: pa.Table) -> bytes:
    """What decides the outcome of a training."""
    digest = hashlib.blake2b(json.dumps(deciding(recipe)).encode())
    for text in (*learnt["text"].to_pylist(), *learnt["answer"].to_pylist(), json.dumps(learnt["fields"].to_pylist())):
        digest.update(text.encode("utf-8", errors="surrogatepass") + b"\0")
    return digest.digest()


def _finish(
    recipe: StudentRecipe, checkpoint: ray.train.Checkpoint, folder: str, workspace: Workspace, draft: str
) -> dict[str, FieldScore]:
    torch.set_num_threads(recipe.cpus_per_worker)
    model, tokenizer = _untrained(recipe, workspace.read_table(f"{folder}/{PAIRS_FILE}"))
    model.load_state_dict(read_state(checkpoint)["model"])
    model.to(torch_device(reserved_device(int(recipe.use_gpu)), "use_gpu"))
    held_out = workspace.read_table(f"{folder}/{HELD_OUT_FILE}")
    found = answer_all(model, tokenizer, held_out["text"].to_pylist(), recipe.attributes, lambda _: None)
    known = [Attributes.model_validate_json(text) for text in held_out["known"].to_pylist()]
    with tempfile.TemporaryDirectory() as made:
        place_student(Path(made) / "model", model, tokenizer)
        workspace.remove(draft)
        workspace.put_folder(Path(made) / "model", f"{draft}/model")
    return field_scores(found, known, held_out["fields"].to_pylist())


def _untrained(recipe: StudentRecipe, pairs: pa.Table) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The student before training; the same on every worker."""
    torch.manual_seed(recipe.seed)
    words = (text for name in ("text", "answer") for text in pairs[name].to_pylist())
    if not recipe.base:
        tokenizer = learn_vocabulary(words, recipe.architecture.vocabulary)
        return new_student(recipe, tokenizer), tokenizer
    model, tokenizer = load_base(recipe.base)
    if recipe.own_vocabulary:
        learnt = learn_vocabulary(words, recipe.own_vocabulary)
        return transfer_vocabulary(model, tokenizer, learnt), learnt
    if recipe.terse:
        make_terse(model, tokenizer, pairs["answer"].to_pylist())
    return model, tokenizer


def _train_worker(recipe: StudentRecipe, workspace: Workspace, folder: str, worker: Worker) -> None:
    pairs = workspace.read_table(f"{folder}/{PAIRS_FILE}")
    model, tokenizer = _untrained(recipe, pairs)
    state = start_teaching(recipe, model, worker.device)
    resume(state, worker, recipe.steps)
    both = list(zip(pairs["text"].to_pylist(), pairs["answer"].to_pylist(), strict=True))
    taught, too_long = lessons(both, tokenizer, recipe.attributes, recipe.max_tokens, pairs["fields"].to_pylist())
    if len(taught) < recipe.batch_size:
        raise ShelfcodeError(
            f"{too_long:,} of {len(both):,} pairs are longer than max_tokens {recipe.max_tokens}; "
            f"the {len(taught):,} others do not fill a batch"
        )
    if too_long:
        say(worker, f"{too_long:,} pairs are longer than max_tokens {recipe.max_tokens} and are not taught")
    for step, loss in teach(recipe, taught, state, worker):
        last = step == recipe.steps
        if step % REPORT_EVERY == 0 or last:
            say(worker, f"step {step} of {recipe.steps}: loss {loss:.4f}")
        if step % recipe.checkpoint_every == 0 or last:
            report_state(state, worker, {"loss": loss})
