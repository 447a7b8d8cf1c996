"""Training the student in Ray Train: any number of workers, checkpoints, and a run that goes on where it stopped.

The pairs are written into the run's folder, which is named after everything that decides the outcome.
"""

import hashlib
import logging
from typing import Any

import pyarrow as pa
import ray.train
import torch
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from shelfcode.attributes.distil.distillation import lessons, start_teaching, teach
from shelfcode.attributes.distil.student import StudentRecipe, learn_vocabulary, load_base, new_student
from shelfcode.errors import ShelfcodeError
from shelfcode.train import read_state, report_state, run_config
from shelfcode.workspace import Workspace

REPORT_EVERY = 100
PAIRS_FILE = "pairs.parquet"

log = logging.getLogger(__name__)


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
    decides = recipe.model_dump_json(exclude={"workers", "cpus_per_worker", "use_gpu", "max_failures"}) + "".join(texts) + "".join(answers)
    folder = f"runs/distill-{recipe.name}-{hashlib.blake2b(decides.encode(), digest_size=6).hexdigest()}"
    workspace.write_table(f"{folder}/{PAIRS_FILE}", table)
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={"recipe": recipe.model_dump_json(), "workspace": workspace.url, "run": folder},
        scaling_config=ScalingConfig(
            num_workers=recipe.workers, use_gpu=recipe.use_gpu, resources_per_worker={"CPU": recipe.cpus_per_worker}
        ),
        run_config=run_config(workspace, folder, recipe.max_failures),
    )
    result = trainer.fit()
    if result.checkpoint is None:
        raise RuntimeError(f"training left no checkpoint in {workspace.address(folder)}")
    model, tokenizer = _untrained(recipe, table)
    model.load_state_dict(read_state(result.checkpoint)["model"])
    return model, tokenizer, folder


def _untrained(recipe: StudentRecipe, pairs: pa.Table) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The student before training; the same on every worker."""
    torch.manual_seed(recipe.seed)
    if recipe.base:
        return load_base(recipe.base)
    tokenizer = learn_vocabulary((text for column in pairs.columns for text in column.to_pylist()), recipe.architecture.vocabulary)
    return new_student(recipe, tokenizer), tokenizer


def _train_worker(config: dict[str, Any]) -> None:
    recipe, workspace = StudentRecipe.model_validate_json(config["recipe"]), Workspace(config["workspace"])
    context, device = ray.train.get_context(), get_device()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(recipe.cpus_per_worker)
    pairs = workspace.read_table(f"{config['run']}/{PAIRS_FILE}")
    model, tokenizer = _untrained(recipe, pairs)
    state = start_teaching(recipe, model, device)
    if checkpoint := ray.train.get_checkpoint():
        state.load(read_state(checkpoint))
        if rank == 0:
            log.warning(f"training goes on from step {state.step} of {recipe.steps}")
    both = list(zip(pairs["text"].to_pylist(), pairs["answer"].to_pylist(), strict=True))
    taught, too_long = lessons(both, tokenizer, recipe.attributes, recipe.max_tokens)
    if len(taught) < recipe.batch_size:
        raise ShelfcodeError(
            f"{too_long:,} of {len(both):,} pairs are longer than max_tokens {recipe.max_tokens}; "
            f"the {len(taught):,} others do not fill a batch"
        )
    if rank == 0 and too_long:
        log.warning(f"{too_long:,} pairs are longer than max_tokens {recipe.max_tokens} and are not taught")
    for step, loss in teach(recipe, taught, state, device, rank, world_size):
        last = step == recipe.steps
        if rank == 0 and (step % REPORT_EVERY == 0 or last):
            log.warning(f"step {step} of {recipe.steps}: loss {loss:.4f}")  # Ray forwards what workers log to the driver's stderr
        if step % recipe.checkpoint_every == 0 or last:
            report_state(state.state(), rank, {"step": step, "loss": loss})
