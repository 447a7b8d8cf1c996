"""Training a retriever on the nodes of a Ray cluster (shelfcode.train): any number of workers, checkpoints, early stopping."""

import json
import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from shelfcode.interactions.record import InteractionsRecord
from shelfcode.interactions.session_log import open_session_log
from shelfcode.optimisation import Worker
from shelfcode.releases.release import load_manifest
from shelfcode.retrieval.assortment import Assortment, open_assortment, release_embeddings
from shelfcode.retrieval.batches import SessionSampler
from shelfcode.retrieval.cooccurrence import count_cooccurrence, nothing_counted
from shelfcode.retrieval.demands import usual_beams
from shelfcode.retrieval.evaluation.measures import figure_name, recall_and_ndcg
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.fitting import RetrieverModel, fit, start_fitting, total_steps
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.held_out import LearningSet, split_log
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.never_sold import NeverSoldModel, fit_never_sold, log_share
from shelfcode.retrieval.published_retriever import Kind, codebooks
from shelfcode.retrieval.ranking import POOL, fit_ranker
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever, new_retriever_model, trie_of
from shelfcode.retrieval.scoring_model import ScoringModel
from shelfcode.retrieval.sharing import count_sales, fit_sharing
from shelfcode.retrieval.shelves import open_shelves
from shelfcode.retrieval.start_vectors import start_vectors
from shelfcode.settings import deciding
from shelfcode.train import fit_in_ray, report_state, resume, run_folder, say
from shelfcode.workspace import Workspace

REPORT_EVERY = 100
CUT_OFF = 20
FIGURE = figure_name("recall", CUT_OFF)


@dataclass(frozen=True)
class TrainingTask:
    """What is trained on what.

    Attributes:
        release: name of the release whose products and codes are meant.
        record: the interactions, as the workspace keeps them.
    """

    kind: Kind
    recipe: RetrieverRecipe
    workspace: Workspace
    release: str
    record: InteractionsRecord

    def folder(self, name: str) -> str:
        """Of the run under the workspace, named after what decides its outcome."""
        decides = json.dumps([self.kind, deciding(self.recipe), self.release, self.record.fingerprint])
        return run_folder(f"retriever-{name}", decides.encode())


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Attributes:
        retriever: with the weights of step `kept_step`.
        evaluations: step and recall of every evaluation.
        figures: recall and NDCG of the kept weights on the validation cases.
    """

    retriever: Retriever
    learning: LearningSet
    kept_step: int
    steps: int
    evaluations: list[tuple[int, float]]
    figures: dict[str, float]


def train_retriever(task: TrainingTask, folder: str) -> Trained:
    """Train in Ray; checkpoints of an earlier start in `folder` are taken up.

    Raises:
        ShelfcodeError: nothing can be validated on.
        ray.train.TrainingFailedError: workers failed more often than training.max_failures.
    """
    state = fit_in_ray(partial(_train_worker, task), task.recipe.training, task.workspace, folder, task.recipe.training.backend)
    learning, retriever = prepare(task)
    retriever.model.load_state_dict(state["kept"])
    asked = learning.validation.contexts
    candidates = retriever.candidates(asked, POOL, usual_beams(CUT_OFF))
    retriever = with_never_sold(with_ranker(retriever, learning, candidates), learning, candidates)
    figures = figures_of(retriever.composed(candidates, asked, CUT_OFF), learning)
    retriever = with_all_sales(retriever, learning)
    evaluations = [(int(step), float(value)) for step, value in state["evaluations"]]
    return Trained(retriever, learning, int(state["kept_step"]), int(state["step"]), evaluations, figures)


def prepare(task: TrainingTask) -> tuple[LearningSet, Retriever]:
    """The sets that a task learns from and is validated on, and the retriever with weights drawn at random; the same on every worker."""
    recipe, workspace = task.recipe, task.workspace
    manifest = load_manifest(workspace, task.release)
    assortment, log = open_assortment(workspace, manifest), open_session_log(workspace, task.record)
    learning = split_log(log, recipe)
    log = learning.log
    marks = Marks(len(log.retailers), len(log.surfaces))
    model = new_retriever_model(task.kind, recipe, marks, assortment, codebooks(workspace, manifest))
    retriever = assembled(recipe, model, learning, assortment)
    if isinstance(model, ScoringModel):
        model.sample_above(recipe.scoring.full_softmax_up_to, recipe.scoring.sampled_products, retriever.sharing.sales.all_N)
    return learning, retriever


def start(task: TrainingTask, learning: LearningSet, retriever: Retriever) -> None:
    """Give a model what is known before training, where the recipe wants that; the same on every worker."""
    model, recipe, assortment = retriever.model, task.recipe, retriever.assortment
    if isinstance(model, ScoringModel) and recipe.scoring.start == "known":
        x_NE = release_embeddings(task.workspace, load_manifest(task.workspace, task.release), assortment)
        vectors_ND = start_vectors(learning.log, learning.train_S, x_NE, recipe.model.width, recipe.training.seed)
        model.start_from(vectors_ND, retriever.sharing.sales.all_N)


def assembled(recipe: RetrieverRecipe, model: RetrieverModel, learning: LearningSet, assortment: Assortment) -> Retriever:
    """A retriever around a model, with what the interactions say of products and retailers."""
    log, trie = learning.log, trie_of(assortment)
    sharing = fit_sharing(log, learning.train_S, trie.leaf_N, recipe.training.seed)
    shelves = open_shelves(trie, sharing.sales, None, torch.device("cpu"))
    return Retriever(recipe, model, sharing, assortment, log.retailers, log.surfaces, shelves, nothing_counted(len(assortment)))


def with_ranker(retriever: Retriever, learning: LearningSet, candidates: Lists) -> Retriever:
    """The retriever with a last stage fitted on its validation cases, where the recipe wants one and there are enough of them.

    Args:
        candidates: for the validation cases, of the model alone.
    """
    if not retriever.recipe.answers.ranker:
        return retriever
    cases = learning.validation
    together = count_cooccurrence(learning.log, learning.train_S, len(retriever.assortment))
    retriever = replace(retriever, together=together)
    known, seed = retriever.known, retriever.recipe.training.seed
    return replace(retriever, ranker=fit_ranker(candidates, cases.contexts, cases.target_first_R, cases.target_T, known, seed))


def with_never_sold(retriever: Retriever, learning: LearningSet, candidates: Lists) -> Retriever:
    """A generator with a model of which products that nobody bought yet are bought first, where enough first sales teach it.

    Args:
        candidates: for the validation cases, of the model alone.
    """
    if not (retriever.recipe.answers.never_sold and isinstance(retriever.model, Generator)):
        return retriever
    trie, vectors, cases = retriever.shelves.trie, retriever.known.vectors, learning.validation
    network = fit_never_sold(learning.log, learning.train_S, trie, vectors, retriever.recipe.training.seed)
    if network is None:
        return retriever
    return replace(retriever, never_sold=NeverSoldModel(network, log_share(candidates, cases, retriever.neighbourhoods)))


def with_all_sales(retriever: Retriever, learning: LearningSet) -> Retriever:
    """The retriever with the sessions that it was validated on counted too: what sold in them is not new, and its retailer has it."""
    log, products = learning.log, len(retriever.assortment)
    sharing = replace(retriever.sharing, sales=count_sales(log, products, learning.known_S))
    shelves = open_shelves(retriever.shelves.trie, sharing.sales, None, torch.device("cpu"))
    together = count_cooccurrence(log, learning.known_S, products) if retriever.ranker else retriever.together
    return replace(retriever, sharing=sharing, shelves=shelves, together=together)


def figures_of(lists: Lists, learning: LearningSet) -> dict[str, float]:
    """Recall and NDCG of answers to the validation cases."""
    values = recall_and_ndcg(lists, learning.validation, {}, (10, CUT_OFF))
    return {name: float(np.nanmean(value_R)) for name, value_R in values.items()}


def sampler_of(recipe: RetrieverRecipe, learning: LearningSet) -> SessionSampler:
    """The batches that a recipe draws from a log: of sessions in which there is something to predict."""
    log = learning.log
    length_S, user_S = np.diff(log.first_S), np.asarray(log.user_S)
    returning_S = np.append(False, user_S[1:] == user_S[:-1])
    session_S = np.flatnonzero(learning.train_S & ((length_S >= 2) | returning_S))
    first_of_user = np.searchsorted(user_S, user_S[session_S])
    before_S = np.minimum(np.asarray(log.first_S)[session_S] - np.asarray(log.first_S)[first_of_user], recipe.prompt.history_products)
    return SessionSampler(session_S, length_S[session_S] + before_S, recipe.training.seed, recipe.training.sessions_per_batch)


def _train_worker(task: TrainingTask, worker: Worker) -> None:
    recipe = task.recipe
    learning, retriever = prepare(task)
    state = start_fitting(retriever.model, recipe, worker)
    retriever = replace(retriever, shelves=retriever.shelves.to(worker.device))
    sampler = sampler_of(recipe, learning)
    steps = total_steps(recipe, sampler)
    if not resume(state, worker, steps):
        start(task, learning, retriever)
    if state.exhausted(recipe.training.patience):
        return
    evaluated_at = evaluation_steps(recipe, steps)
    started, first = time.monotonic(), state.step
    for step, loss in fit(recipe, learning.log, retriever.marks, sampler, state, worker):
        if step % REPORT_EVERY == 0:
            left = (time.monotonic() - started) / (step - first) * (steps - step)
            say(worker, f"step {step:,} of {steps:,}: loss {loss:.4f}, {left / 60:.0f} minutes left at the most")
        if step in evaluated_at:
            lists = retriever.candidates(learning.validation.contexts, CUT_OFF, usual_beams(CUT_OFF))
            state.note(figures_of(lists, learning)[FIGURE])
            say(worker, f"step {step:,}: {FIGURE} {state.evaluations[-1][1]:.4f} on the validation cases; best at step {state.kept_step:,}")
        stopped = step == steps or (step in evaluated_at and state.exhausted(recipe.training.patience))
        if stopped or step in evaluated_at or step % recipe.training.checkpoint_every == 0:
            report_state(state, worker, {"loss": loss})
        if stopped:
            break


def evaluation_steps(recipe: RetrieverRecipe, steps: int) -> set[int]:
    """After which steps the validation cases are answered."""
    count = min(recipe.training.evaluations, steps)
    return {round(steps * part / count) for part in range(1, count + 1)}
