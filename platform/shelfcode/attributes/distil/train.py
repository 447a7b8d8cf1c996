"""Training the student in Ray Train (shelfcode.train); the pairs that it learns from are written into the run's folder."""

import json
from functools import partial

import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from shelfcode.attributes.distil.distillation import lessons, start_teaching, teach
from shelfcode.attributes.distil.student import StudentRecipe, learn_vocabulary, load_base, new_student
from shelfcode.errors import ShelfcodeError
from shelfcode.optimisation import Worker
from shelfcode.settings import deciding
from shelfcode.train import fit_in_ray, report_state, resume, run_folder, say
from shelfcode.workspace import Workspace

REPORT_EVERY = 100
PAIRS_FILE = "pairs.parquet"


def train_student(
    recipe: StudentRecipe, texts: list[str], answers: list[str], workspace: Workspace
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, str]:
    """Train a student on pairs; the model, its tokenizer, and the run's folder, to be removed when the student is saved.

    Raises:
        ShelfcodeError: fewer pairs than a batch takes, or a base that cannot be loaded.
        ray.train.TrainingFailedError: workers failed more often than max_failures.
    """
    if len(texts) < recipe.batch_size:
        raise ShelfcodeError(f"{len(texts)} pairs to learn from, fewer than batch_size {recipe.batch_size}")
    table = pa.table({"text": texts, "answer": answers})
    decides = json.dumps([deciding(recipe), texts, answers])
    folder = run_folder(f"distill-{recipe.name}", decides.encode())
    workspace.write_table(f"{folder}/{PAIRS_FILE}", table)
    state = fit_in_ray(partial(_train_worker, recipe, workspace, folder), recipe, workspace, folder)
    model, tokenizer = _untrained(recipe, table)
    model.load_state_dict(state["model"])
    return model, tokenizer, folder


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
