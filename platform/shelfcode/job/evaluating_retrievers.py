"""Retrievers and controls held against the same cases, on one page."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, R cases.

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from shelfcode.catalog.listed_files import list_files
from shelfcode.catalog.rows import read_file
from shelfcode.catalog.snapshot import load_snapshot, snapshot_batches, snapshot_item_keys, snapshot_taxonomy
from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.pipeline import take_interactions
from shelfcode.interactions.session_log import SessionLog, only_sessions, open_session_log, without_events
from shelfcode.interactions.splits import check_no_leak, leave_one_out_sessions, targets_of_events
from shelfcode.job.cluster import start_ray
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.keys import index_keys
from shelfcode.recipe_file import validate_settings
from shelfcode.releases.release import Manifest, load_manifest
from shelfcode.retrieval.assortment import Assortment, open_assortment, release_embeddings
from shelfcode.retrieval.evaluation.case_table import cases_from_table
from shelfcode.retrieval.evaluation.cases import Cases, cases_by_time, cases_of_sessions, leave_one_out
from shelfcode.retrieval.evaluation.controls import (
    item_cosine,
    item_cosine_and_own,
    own_frequency,
    popularity,
    text_neighbours,
)
from shelfcode.retrieval.evaluation.evaluate import Answers, Cost, DecodeTime, RetrievalEvaluation, evaluate_retrievers
from shelfcode.retrieval.evaluation.parameters import parameter_ratio
from shelfcode.retrieval.evaluation.product_facts import product_facts
from shelfcode.retrieval.evaluation.report import case_examples, report_html
from shelfcode.retrieval.evaluation.retailer_products import RetailerProducts, sold_there_or_new
from shelfcode.retrieval.evaluation.training_counts import TrainingCounts, count_training
from shelfcode.retrieval.fusion import fused
from shelfcode.retrieval.held_out import before_test, seconds, some_cases, test_sessions
from shelfcode.retrieval.published_retriever import RetrieverCard, load_card, open_retriever
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever
from shelfcode.workspace import Workspace, new_run

LONGEST = 50
"""Products of a list that is measured."""

TIMED = 60
"""Single requests whose time is taken, for each number of beams."""

BEAMS = (10, 50, 256)


@dataclass(frozen=True)
class EvaluatedRetrievers:
    """An evaluation just made.

    Attributes:
        folder: of evaluation.json and report.html, within the workspace.
    """

    workspace: Workspace
    folder: str
    evaluation: RetrievalEvaluation

    @property
    def report(self) -> str:
        """Where the page is."""
        return self.workspace.address(f"{self.folder}/report.html")

    def result(self) -> dict[str, Any]:
        """The last line of the job."""
        of = self.evaluation
        metrics = {each.name: {name: each.figures[name].value for name in ("recall@10", "ndcg@10", "recall@20")} for each in of.retrievers}
        return {"path": self.workspace.address(self.folder), "report": self.report, "rows": {"cases": of.cases}, "metrics": metrics}


def evaluate_on_interactions(
    retrievers: Sequence[str], interactions: str, workspace: str, cases: str | None = None, limit: int = 3000, seed: int = 0
) -> EvaluatedRetrievers:
    """Ask retrievers for what their training kept apart, beside controls, and write the page.

    Args:
        retrievers: generator@v0001, cr@current, ...; several versions of one name count as trainings of one retriever.
        interactions: the log that they were trained on: its test is what they are asked for.
        cases: table of contexts and targets that were made elsewhere, to ask for instead (`cases_from_table`).
        limit: cases at the most, drawn at random.

    Raises:
        ShelfcodeError: the retrievers are of different releases or splits, or nothing was kept apart for a test.
    """
    unopened = Workspace(workspace)
    cards = [load_card(unopened, name) for name in retrievers]
    recipe = common_recipe(cards)
    manifest = load_manifest(unopened, cards[0].release)
    start_ray()
    run = new_run("evaluate-retrievers")
    with open_workspace(workspace, run, run) as (opened, _):
        assortment = open_assortment(opened, manifest)
        with stage("reading the interactions", unit="rows") as progress:
            record = take_interactions(interactions, recipe.interactions, assortment.keys_N, opened, run, progress)
        log = open_session_log(opened, record)
        training, asked, protocol = test_cases(log, recipe) if cases is None else given_cases(cases, log, recipe, assortment)
        asked = some_cases(asked, limit, seed)
        say(f"{len(asked):,} cases, {len(asked.target_T):,} targets: {protocol}")
        shop = _shop(opened, manifest, assortment, training)
        answers = _answers(opened, cards, asked, shop)
        with stage("measuring"):
            evaluation = _evaluated(answers, asked, shop, interactions, protocol, cards, assortment, seed)
        folder = f"evaluations/retrieval-{run}"
        page = report_html(evaluation, f"Retrieval: {', '.join(card.label for card in cards)}", examples=_examples(shop, asked, answers))
        opened.write_bytes(f"{folder}/evaluation.json", evaluation.model_dump_json(indent=1).encode())
        opened.write_bytes(f"{folder}/report.html", page.encode())
        return EvaluatedRetrievers(opened, folder, evaluation)


def common_recipe(cards: Sequence[RetrieverCard]) -> RetrieverRecipe:
    """What the retrievers' recipes share: how interactions are read and split.

    Raises:
        ShelfcodeError: they do not share it, or are of different releases.
    """
    recipes = [validate_settings(RetrieverRecipe, card.recipe, f"recipe of {card.label}") for card in cards]
    for card, recipe in zip(cards, recipes, strict=True):
        if card.release != cards[0].release:
            raise ShelfcodeError(
                f"{card.label} is of {card.release}, {cards[0].label} of {cards[0].release}: give retrievers of one release"
            )
        if (recipe.split, recipe.interactions) != (recipes[0].split, recipes[0].interactions):
            raise ShelfcodeError(
                f"{card.label} and {cards[0].label} split or read their interactions differently: what one is asked for the other may have "
                "learnt. Train them with the same `split` and `interactions`"
            )
    return recipes[0]


def test_cases(log: SessionLog, recipe: RetrieverRecipe) -> tuple[SessionLog, Cases, str]:
    """The sessions that were learnt from, the cases that training kept apart, and how they were made, in words.

    Raises:
        ShelfcodeError: nothing was kept apart, or it leaks into what was learnt from.
    """
    if recipe.split.kind == "leave_one_out":
        held = leave_one_out_sessions(log)
        training = without_events(log, held.events)
        check_no_leak(training, targets_of_events(log, held.test_event_T, whole_sessions=False))
        return training, leave_one_out(log), "leave one out, full ranking"
    if recipe.split.kind == "users" and recipe.split.test_share:
        sessions = test_sessions(log, recipe.split)
        cases = cases_of_sessions(log, sessions)
        return only_sessions(log, before_test(log, recipe.split)), cases, "part of each session of users kept apart is given"
    if recipe.split.test_from is None:
        raise ShelfcodeError(
            "training kept nothing apart for a test. Train with --set split.test_from=2026-01-31 (sessions from then on are asked for), "
            "--set split.kind=leave_one_out, or --set split.kind=users --set split.test_share=0.1; or give cases of your own: --cases"
        )
    training = only_sessions(log, before_test(log, recipe.split))
    cases = cases_by_time(log, seconds(recipe.split.test_from))
    return training, cases, f"half of each session from {recipe.split.test_from:%Y-%m-%d} on is given, the other half asked for"


def given_cases(url: str, log: SessionLog, recipe: RetrieverRecipe, assortment: Assortment) -> tuple[SessionLog, Cases, str]:
    """The same of a table of cases, of sessions that the log does not have.

    Raises:
        ShelfcodeError: it cannot be read, or lacks a column.
    """
    files = list_files(url)
    tables = [batch.table for file in files for batch in read_file(file) if batch.table.num_columns]
    if not tables:
        raise ShelfcodeError(f"--cases {url}: no row could be read")
    cases = cases_from_table(pa.concat_tables(tables), assortment.keys_N, log.retailers, log.surfaces)
    cases = replace(cases, user_R=np.full(len(cases), -1, np.int32))  # the log keeps no names of users to find them by
    return only_sessions(log, before_test(log, recipe.split)), cases, f"cases of {url}"


@dataclass(frozen=True)
class _Shop:
    """What controls and measures know."""

    sales: TrainingCounts
    allowed: RetailerProducts
    x_ND: NDArray[np.float32]
    brands: pa.ChunkedArray | None
    titles: pa.ChunkedArray
    taxonomy: Taxonomy


def _shop(workspace: Workspace, manifest: Manifest, assortment: Assortment, training: SessionLog) -> _Shop:
    snapshot = load_snapshot(workspace, manifest.catalog.snapshot)
    if snapshot is None:
        raise ShelfcodeError(f"{manifest.catalog.snapshot} of {manifest.name} is gone: train a release anew")
    place_N = index_keys(snapshot_item_keys(workspace, snapshot)).get(assortment.keys_N)
    columns = workspace.read_schema(snapshot.parts[0].path).names
    table = pa.concat_tables(list(snapshot_batches(workspace, snapshot, ["title", *(["brand"] if "brand" in columns else [])])))
    table = table.take(pa.array(place_N))
    brands = table["brand"] if "brand" in columns else None
    sales = count_training(training, len(assortment))
    return _Shop(
        sales, sold_there_or_new(sales), release_embeddings(workspace, manifest, assortment), brands, table["title"],
        snapshot_taxonomy(workspace, snapshot).of(place_N),
    )  # fmt: skip


def _answers(workspace: Workspace, cards: Sequence[RetrieverCard], cases: Cases, shop: _Shop) -> list[Answers]:
    """Of all retrievers, of the union of generator and scoring model, and of the controls."""
    versions: dict[str, list[Any]] = {}
    costs: dict[str, Cost] = {}
    kinds = {card.name: card.retriever for card in cards}
    for card in cards:
        with stage(f"asking {card.label}"):
            retriever = open_retriever(workspace, card, torch.device("cpu"))
            contexts = cases.contexts
            versions.setdefault(card.name, []).append(retriever.answer(contexts, LONGEST))
            costs.setdefault(card.name, _cost(card, retriever, cases))
    answers = [Answers(name, kinds[name], tuple(lists), costs[name]) for name, lists in versions.items()]
    generators, scoring = ([each for each in answers if each.kind == kind] for kind in ("generator", "cr"))
    if generators and scoring:
        pairs = zip(generators[0].versions, scoring[0].versions, strict=False)
        answers.append(Answers("union", "union", tuple(fused(pair, LONGEST) for pair in pairs)))
    with stage("asking the controls"):
        answers += _controls(cases, shop)
    return answers


def _controls(cases: Cases, shop: _Shop) -> list[Answers]:
    contexts, sales, allowed = cases.contexts, shop.sales, shop.allowed
    known = cases.user_R >= 0
    own_RN = sales.user_UN[np.where(known, cases.user_R, 0)] if known.all() and len(contexts.history_H) else None
    lists = {
        "popularity": popularity(contexts, sales, allowed, LONGEST),
        "own frequency": own_frequency(contexts, sales, allowed, LONGEST, own_RN),
        "item-item cosine": item_cosine(contexts, sales, allowed, LONGEST),
        "cosine x own frequency": item_cosine_and_own(contexts, sales, allowed, LONGEST, own_RN),
        "text neighbours": text_neighbours(contexts, shop.x_ND, sales, allowed, LONGEST, of="nearest"),
    }
    if not len(contexts.history_H):
        del lists["own frequency"], lists["cosine x own frequency"]
    return [Answers(name, "control", (each,)) for name, each in lists.items()]


def _cost(card: RetrieverCard, retriever: Retriever, cases: Cases) -> Cost:
    """Parameters and times, of single requests on this machine."""
    number = min(TIMED, len(cases))
    times = []
    for beams in BEAMS if card.retriever == "generator" else BEAMS[:1]:
        taken = []
        for row in range(number):
            started = time.perf_counter()
            retriever.answer(cases.contexts.rows(row, row + 1), 20, beams)
            taken.append(1000 * (time.perf_counter() - started))
        p50, p99 = np.percentile(taken[number // 10 :], [50, 99]).tolist()
        times.append(DecodeTime(beams=beams, batch=1, p50_ms=p50, p99_ms=p99))
    device = f"{torch.get_num_threads()} CPU threads"
    return Cost(
        parameters=card.parameters["all"], embedding_parameters=card.parameters["embedding"], training_seconds=card.training["seconds"],
        device=device, decode=tuple(times),
    )  # fmt: skip


def _evaluated(
    answers: Sequence[Answers], cases: Cases, shop: _Shop, data: str, protocol: str, cards: Sequence[RetrieverCard],
    assortment: Assortment, seed: int,
) -> RetrievalEvaluation:  # fmt: skip
    names = [each.name for each in answers if each.kind != "control"]
    compared = [(name, over) for name in names for over in ("item-item cosine", *names[:1]) if name != over]
    widths = {card.retriever: int(card.recipe["model"]["width"]) for card in cards}
    parameters = parameter_ratio(len(assortment), assortment.sizes, widths["cr"], widths["generator"]) if len(widths) == 2 else None
    facts = product_facts(shop.sales.sold_N, shop.brands, shop.taxonomy)
    return evaluate_retrievers(
        cases, answers, facts, shop.allowed, data, protocol, compared=list(dict.fromkeys(compared)), parameters=parameters, seed=seed
    )


def _examples(shop: _Shop, cases: Cases, answers: Sequence[Answers]) -> Any:
    return case_examples(cases, answers, lambda place: str(shop.titles[place].as_py()))


def show_evaluation(evaluated: EvaluatedRetrievers) -> None:
    """The table, on stderr, and where the page is."""
    names = ("recall@10", "ndcg@10", "recall@20", "recall@20/tail80", "recall@20/new_to_household", "recall@20/cold")
    columns = {
        each.name: {
            name: "" if each.figures[name].value is None else f"{each.figures[name].value:.4f}" for name in names if name in each.figures
        }
        for each in evaluated.evaluation.retrievers
    }
    show_figures("retrievers and controls", columns, row="figure")
    say(f"report: {evaluated.report}")
