"""Training and measuring relevance encoders on the nodes of a Ray cluster: mined, trained (shelfcode.train), finished, measured."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.embeddings import embedding_matrix
from shelfcode.embedding.encoder import Encoder, embed_texts
from shelfcode.embedding.pipeline import embed_catalog, keep_int8
from shelfcode.embedding.prompts import prompts, set_prompts
from shelfcode.embedding.published_encoder import encoder_path
from shelfcode.embedding.relevance.hard_negatives import HardNegatives, MinedProducts, mine_hard_negatives, products_to_read
from shelfcode.embedding.relevance.recipe import RelevanceRecipe
from shelfcode.embedding.relevance.training_set import RelevanceSet, read_set, write_set
from shelfcode.embedding.relevance.tuning import (
    Tuning,
    Weights,
    build_sampler,
    concordance,
    evaluation_steps,
    start_tuning,
    total_steps,
    tune,
)
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.hardware import memory_to_reserve, torch_device
from shelfcode.interactions.judgments import Judgments
from shelfcode.keys import Keys
from shelfcode.optimisation import Worker
from shelfcode.progress import Progress
from shelfcode.settings import deciding
from shelfcode.train import fit_in_ray, report_state, resume, run_folder, say
from shelfcode.workspace import Workspace

REPORT_EVERY = 10
LEARNING, VALIDATION = "learning", "validation"


@dataclass(frozen=True)
class Tuned:
    """What training came to.

    Attributes:
        weights: the trained ones at step `kept_step`, which are to be published.
        steps: how many there were before training stopped.
        evaluations: step and concordance of every evaluation.
    """

    weights: Weights
    kept_step: int
    steps: int
    evaluations: list[tuple[int, float]]


def mine_catalog(
    recipe: RelevanceRecipe, judgments: Judgments, leaf_N: NDArray[np.int32], snapshot: Snapshot, workspace: Workspace, run: str,
    progress: Progress,
) -> HardNegatives | None:  # fmt: skip
    """Embed the catalog with the base model, where it is not yet, and find hard negatives in it; None where the recipe wants none."""
    settings = recipe.hard_negatives
    if not (settings.per_query and recipe.objective.in_batch_weight):
        return None
    encoder = keep_int8(recipe.encoder, workspace)
    flavor = Recipe(name="relevance", catalog=recipe.catalog, text_view=recipe.text_view, encoder=encoder)
    embedded = embed_catalog(snapshot, flavor, workspace, run, progress)
    row_of = np.full(snapshot.products, -1)
    row_of[embedded.positions_N] = np.arange(len(embedded.positions_N))
    read = products_to_read(_at(judgments, row_of), len(embedded.keys_N), settings.products_max, recipe.training.seed)
    query_QD = _on_a_node(recipe.encoder, _embed_queries).remote(recipe.encoder, workspace, judgments.queries)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    memory = memory_to_reserve(_mining_bytes(workspace, embedded.folder, len(read.positions_M)), nodes)
    task = ray.remote(num_cpus=recipe.encoder.cpus_per_actor, memory=memory, max_retries=3)(_mine)
    keys_M, leaf_M = embedded.keys_N[read.positions_M], leaf_N[embedded.positions_N[read.positions_M]]
    mined: HardNegatives = ray.get(task.remote(query_QD, recipe, workspace, embedded.folder, keys_M, leaf_M, read))
    return HardNegatives(mined.query_H, embedded.positions_N[read.positions_M[mined.product_H]])


def _mining_bytes(workspace: Workspace, embeddings: str, rows: int) -> int:
    """Memory that mining takes at the most: the vectors of so many products, as a file of the node's and as what is searched of it."""
    dimensions: int = workspace.read_schema(workspace.parts(embeddings)[0]).field("embedding").type.list_size
    return 2 * rows * dimensions * np.dtype(np.float32).itemsize


def _mine(
    query_QD: NDArray[np.float32], recipe: RelevanceRecipe, workspace: Workspace, embeddings: str, keys_M: Keys, leaf_M: NDArray[np.int32],
    read: MinedProducts,
) -> HardNegatives:  # fmt: skip
    """On a node with the memory for it: the driver may run on a small head node."""
    torch.set_num_threads(recipe.encoder.cpus_per_actor)
    settings, x_MD = recipe.hard_negatives, embedding_matrix(workspace, embeddings, keys_M)
    return mine_hard_negatives(query_QD, x_MD, leaf_M, read.judgments, settings.candidates, settings.margin, read.rows_M)


def _at(judgments: Judgments, row_of: NDArray[np.int64]) -> Judgments:
    """Judgments with other numbers for the products; those without one are left out."""
    row_R = row_of[judgments.product_R]
    kept_R = row_R >= 0
    return replace(judgments, query_R=judgments.query_R[kept_R], product_R=row_R[kept_R], label_R=judgments.label_R[kept_R])


def training_run(recipe: RelevanceRecipe, name: str, learning: RelevanceSet, validation: RelevanceSet) -> str:
    """Folder of a training run under the workspace, named after what decides its outcome."""
    decides = json.dumps({name: value for name, value in deciding(recipe).items() if name != "catalog"})
    return run_folder(f"encoder-{name}", *(content.encode() for content in (decides, learning.digest(), validation.digest())))


def train_encoder(recipe: RelevanceRecipe, learning: RelevanceSet, validation: RelevanceSet, workspace: Workspace, folder: str) -> Tuned:
    """Fine-tune the recipe's base model; checkpoints of an earlier start in `folder` are taken up.

    Raises:
        ShelfcodeError: the base model cannot be loaded, or has fewer layers than are to be frozen.
        ray.train.TrainingFailedError: workers failed more often than training.max_failures.
    """
    write_set(workspace, f"{folder}/{LEARNING}", learning)
    write_set(workspace, f"{folder}/{VALIDATION}", validation)
    train = partial(_train_worker, recipe, workspace, folder)
    state = fit_in_ray(train, recipe.training, workspace, folder, recipe.training.backend)
    evaluations = [(int(step), float(value)) for step, value in state["evaluations"]]
    return Tuned(state["kept"], int(state["kept_step"]), int(state["step"]), evaluations)


def finish_encoder(
    recipe: RelevanceRecipe, weights: Weights, sets: Mapping[str, RelevanceSet], workspace: Workspace, draft: str
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Average the trained weights with the base's, keep the model in `draft`/model, and measure both on sets of judgments.

    Returns:
        For each set the similarities float32[R] by the base and by the new encoder.
    """
    task = _on_a_node(recipe.encoder, _finish).remote(recipe, weights, dict(sets), workspace, draft)
    similarities: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = ray.get(task)
    return similarities


def measure_encoder(encoder: EncoderSettings, relevance: RelevanceSet, workspace: Workspace) -> NDArray[np.float32]:
    """Similarity of query and product of every judgment by one encoder: float32[R]."""
    encoder = keep_int8(encoder, workspace)
    similarity_R: NDArray[np.float32] = ray.get(_on_a_node(encoder, _measure).remote(encoder, workspace, relevance))
    return similarity_R


def _on_a_node(encoder: EncoderSettings, function: Any) -> Any:
    """The function as a Ray task with what an embedding actor of the recipe has."""
    return ray.remote(num_cpus=encoder.cpus_per_actor, num_gpus=encoder.gpus_per_actor or None, max_retries=3)(function)


def _embed_queries(encoder: EncoderSettings, workspace: Workspace, queries: Sequence[str]) -> NDArray[np.float32]:
    return Encoder(encoder, workspace).embed_queries(queries)


def _measure(encoder: EncoderSettings, workspace: Workspace, relevance: RelevanceSet) -> NDArray[np.float32]:
    loaded = Encoder(encoder, workspace)
    query_QD, product_PD = loaded.embed_queries(relevance.queries), loaded.embed(relevance.texts)
    return _similarities(query_QD, product_PD, relevance)


def _similarities(query_QD: NDArray[np.float32], product_PD: NDArray[np.float32], relevance: RelevanceSet) -> NDArray[np.float32]:
    similarity_R: NDArray[np.float32] = np.einsum("rd,rd->r", query_QD[relevance.query_R], product_PD[relevance.product_R])
    return similarity_R


def _finish(
    recipe: RelevanceRecipe, weights: Weights, sets: dict[str, RelevanceSet], workspace: Workspace, draft: str
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    torch.set_num_threads(recipe.encoder.cpus_per_actor)
    device = torch_device(recipe.encoder.chosen_device, "encoder.gpus_per_actor")
    state = start_tuning(recipe, encoder_path(recipe.encoder.model, workspace), device)

    def measured() -> dict[str, NDArray[np.float32]]:
        return {name: _by_model(recipe, state, relevance) for name, relevance in sets.items()}

    base, share = measured(), recipe.training.base_share
    state.put({name: share * weight + (1 - share) * weights[name] for name, weight in state.weights().items()})
    tuned = measured()
    state.model.max_seq_length = state.own_limit  # how many tokens count is up to the recipe that names the encoder
    set_prompts(recipe.encoder, state.model)
    with tempfile.TemporaryDirectory() as folder:
        state.model.save_pretrained(folder, create_model_card=False)
        workspace.put_folder(Path(folder), f"{draft}/model")
    return {name: (base[name], tuned[name]) for name in sets}


def _by_model(recipe: RelevanceRecipe, state: Tuning, relevance: RelevanceSet) -> NDArray[np.float32]:
    state.model.eval()
    product_prompt, query_prompt = prompts(recipe.encoder, state.model)
    budget = recipe.encoder.tokens_per_batch
    query_QD = embed_texts(state.model, relevance.queries, query_prompt, budget)
    return _similarities(query_QD, embed_texts(state.model, relevance.texts, product_prompt, budget), relevance)


def _train_worker(recipe: RelevanceRecipe, workspace: Workspace, folder: str, worker: Worker) -> None:
    training = recipe.training
    learning, validation = (read_set(workspace, f"{folder}/{name}") for name in (LEARNING, VALIDATION))
    state = start_tuning(recipe, encoder_path(recipe.encoder.model, workspace), worker.device)
    sampler = build_sampler(recipe, learning)
    steps = total_steps(recipe, sampler)
    if not resume(state, worker, steps):
        _evaluate(recipe, state, validation, worker)
    evaluated_at = evaluation_steps(recipe, steps)
    if state.exhausted(training.patience):
        return
    for step, loss in tune(recipe, learning, sampler, state, prompts(recipe.encoder, state.model)[::-1], worker):
        if step % REPORT_EVERY == 0:
            say(worker, f"step {step} of {steps}: loss {loss:.4f}")
        if step in evaluated_at:
            _evaluate(recipe, state, validation, worker)
        stopped = step == steps or (step in evaluated_at and state.exhausted(training.patience))
        if stopped or step in evaluated_at or step % training.checkpoint_every == 0:
            report_state(state, worker, {"loss": loss, "concordance": state.evaluations[-1][1]})
        if stopped:
            break


def _evaluate(recipe: RelevanceRecipe, state: Tuning, validation: RelevanceSet, worker: Worker) -> None:
    """Measure the validation queries, on every worker alike: all must come to the same end."""
    concordance_Q = concordance(_by_model(recipe, state, validation), validation.query_R, validation.label_R, recipe.objective.gains)
    if len(concordance_Q) < 2:
        raise ShelfcodeError(
            f"of {len(validation.queries)} validation queries fewer than two have products of different labels, so nothing can be "
            "validated: give more judgments, a larger data.validation_share, or another training.seed"
        )
    state.note(concordance_Q)
    mean = state.evaluations[-1][1]
    say(worker, f"step {state.step}: {mean:.2%} of the validation queries' pairs in order; kept: step {state.kept_step}")
