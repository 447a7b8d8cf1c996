"""Making and training a student in Ray: tasks gather the pairs and finish the student, Ray Train (shelfcode.train) trains it.

The pairs are written into the run's folder, and so is the finished student. Nothing is read, learnt or generated in the driver, which may
run on a node without CPUs to spare.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray
import ray.train
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from shelfcode.attributes.distil.distillation import lessons, start_teaching, teach
from shelfcode.attributes.distil.field_scores import FieldScore, field_scores
from shelfcode.attributes.distil.student import StudentRecipe, answer_all, learn_vocabulary, load_base, new_student, place_student
from shelfcode.attributes.distil.teacher import Pairs, read_teacher, teaching_pairs
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
        silent: products of which the teacher says nothing.
        dropped: ingredients and tags of the teacher's that a product's own text does not support, and that are not taught.
    """

    folder: str
    taught: int
    held_out: int
    silent: int
    dropped: int

    @property
    def pairs(self) -> int:
        return self.taught + self.held_out


def gather_pairs(recipe: StudentRecipe, teacher: str, snapshot: Snapshot, workspace: Workspace) -> TeachingSet:
    """Pairs of the products that the teacher speaks of, written into the folder of their training. Runs in a task.

    Args:
        teacher: path or URL of the teacher's output.

    Raises:
        ShelfcodeError: the teacher speaks of none of the products, or of fewer than a batch takes.
    """
    return ray.get(ray.remote(num_cpus=1)(_gather).remote(recipe, teacher, snapshot, workspace))


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


def _gather(recipe: StudentRecipe, teacher: str, snapshot: Snapshot, workspace: Workspace) -> TeachingSet:
    pairs = teaching_pairs(workspace, snapshot, read_teacher(teacher, recipe.attributes), recipe.attributes, recipe.grounding)
    held_out = min(recipe.held_out, len(pairs.texts) // 10)
    taught = len(pairs.texts) - held_out
    if taught < recipe.batch_size:
        raise ShelfcodeError(f"{taught} pairs to learn from, fewer than batch_size {recipe.batch_size}")
    folder = run_folder(f"distill-{recipe.name}", _decides(recipe, pairs))
    table = pa.table({"text": pairs.texts, "answer": pairs.answers})
    known = pa.array([attributes.model_dump_json() for attributes in pairs.known[taught:]], pa.string())
    workspace.write_table(f"{folder}/{PAIRS_FILE}", table.slice(0, taught))
    workspace.write_table(f"{folder}/{HELD_OUT_FILE}", table.slice(taught).append_column("known", known))
    return TeachingSet(folder, taught, held_out, pairs.silent, pairs.dropped)


def _decides(recipe: StudentRecipe, pairs: Pairs) -> bytes:
    """What decides the outcome of a training."""
    digest = hashlib.blake2b(json.dumps(deciding(recipe)).encode())
    for text in (*pairs.texts, *pairs.answers):
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
    return field_scores(found, known)


def _untrained(recipe: StudentRecipe, pairs: pa.Table) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The student before training; the same on every worker."""
    torch.manual_seed(recipe.seed)
    if recipe.base:
        return load_base(recipe.base)
    tokenizer = learn_vocabulary((text for column in pairs.columns for text in column.to_pylist()), recipe.architecture.vocabulary)
    return new_student(recipe, tokenizer), tokenizer


def _train_worker(recipe: StudentRecipe, workspace: Workspace, folder: str, worker: Worker) -> None:
    pairs = workspace.read_table(f"{folder}/{PAIRS_FILE}")
    model, tokenizer = _untrained(recipe, pairs)
    state = start_teaching(recipe, model, worker.device)
    resume(state, worker, recipe.steps)
    both = list(zip(pairs["text"].to_pylist(), pairs["answer"].to_pylist(), strict=True))
    taught, too_long = lessons(both, tokenizer, recipe.attributes, recipe.max_tokens)
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
