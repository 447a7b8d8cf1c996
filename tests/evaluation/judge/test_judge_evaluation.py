"""From sets to a page, with replies of a judge that goes by the one noun in each title, and of one that goes by nothing."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shelfcode.evaluation.judge.controls import leaf_controls
from shelfcode.evaluation.judge.instruments import DIMENSIONS
from shelfcode.evaluation.judge.judge_evaluation import Cost, JudgeEvaluation, JudgeIdentity, evaluate_judged
from shelfcode.evaluation.judge.judge_report import judge_page, score_rows
from shelfcode.evaluation.judge.judging import Judged, all_questions, judge_all, read_again, readers, titled
from shelfcode.evaluation.judge.judgments import judgments_table, write_judgments
from shelfcode.evaluation.judge.sets import JudgedCatalog, ProductSet, sample_clusters
from shelfcode.llm.likelihood import Passage, Question, Reply
from shelfcode.workspace import Workspace

IDENTITY = JudgeIdentity("judge-1", "folder/judge", "digest", "prompts", "vllm 0.32")
COST = Cost(questions=1, asked=1, tokens=1000, seconds=1.0, large_model_gpu_seconds=0.04)


def _reply(question: Question, sees: bool) -> Reply:
    """Nats of each title: fewer where its noun stood in the text before, if the judge sees nouns."""
    assert isinstance(question, Passage)
    values = []
    for place in question.asked:
        before, noun = "".join(question.parts[:place]), question.parts[place].split()[1]
        chance = int(hashlib.md5(question.text.encode() + bytes([place])).hexdigest()[:4], 16) / 65_536
        share = 0.4 * before.count(f" {noun} ") / max(1, len(question.asked)) if sees else 0.0
        values.append(-20.0 * (1 - share) + (chance - 0.5) * (0 if len(question.asked) == 1 else 1))
    return Reply(tuple(values), 10)


def _judge(catalog: JudgedCatalog, sees: bool) -> tuple[JudgeEvaluation, list[ProductSet], list[Judged]]:
    sample = sample_clusters(catalog, clusters=36, products=8, draws=2, seed=0)
    sets = [*sample.sets, *leaf_controls(catalog, leaves=20, products=8, seed=0)]
    asked, titles = readers(["pmi"], DIMENSIONS), titled(catalog, sets, 120)
    replies = {question.key: _reply(question, sees) for question in all_questions(asked, titles, read_again(sets))}
    judged = judge_all(asked, sets, titles, replies, 8, 0)
    return evaluate_judged(catalog, sample, sets, judged, IDENTITY, COST, 8, 0), sets, judged


def test_a_judge_that_sees_gives_scores_and_tells_the_releases_apart(catalog: JudgedCatalog) -> None:
    evaluation, _, _ = _judge(catalog, sees=True)
    assert evaluation.verdict == "usable", evaluation.sentence
    assert evaluation.chosen["functional"] == "pmi.functional"
    by_level = {(score.release, score.level): score.value for score in evaluation.scores if score.dimension == "functional"}
    assert by_level["precision@v0001", 2] == pytest.approx(1.0, abs=0.15)  # its second level is the catalog's leaves
    assert by_level["discovery@v0001", 2] == pytest.approx(0.0, abs=0.2)
    assert evaluation.differences["functional"][1].apart
    assert not evaluation.separable  # it has one impression, whatever it is asked
    assert "Halo, not separable" in evaluation.sentence
    assert evaluation.headline == ()
    assert evaluation.worst[0].release == "discovery@v0001"
    assert evaluation.rest["precision@v0001"][1].estimate == pytest.approx(1.0, abs=0.2)


def test_a_judge_that_sees_nothing_gives_no_scores_and_says_why(catalog: JudgedCatalog) -> None:
    evaluation, sets, judged = _judge(catalog, sees=False)
    assert evaluation.verdict == "cannot_tell"
    assert evaluation.scores == ()
    assert evaluation.worst == ()
    assert "cannot judge these products" in evaluation.sentence
    table = judgments_table(catalog, sets, judged, "precision@v0001")
    assert table["calibrated"].null_count == len(table)
    assert "No scores: the judge cannot tell" in judge_page(evaluation)


def test_what_was_said_is_kept_as_the_workspace_lays_it_down(catalog: JudgedCatalog, tmp_path: Path) -> None:
    evaluation, sets, judged = _judge(catalog, sees=True)
    page = judge_page(evaluation)
    folders = write_judgments(Workspace(str(tmp_path)), catalog, sets, judged, evaluation, page)
    assert folders == ["evaluations/precision@v0001/judge-1", "evaluations/discovery@v0001/judge-1"]
    table = pq.read_table(tmp_path / "judgments/precision@v0001/judge-1")
    assert table.column_names == ["prefix", "draw", "instrument", "item_ids", "raw", "calibrated", "control"]
    assert set(table["instrument"].to_pylist()) == {"pmi.functional", "pmi.purchase", "pmi.journey"}
    ids = set(catalog.item_ids.to_pylist())
    assert all(len(row) == 8 and set(row) <= ids for row in table["item_ids"].to_pylist())
    assert JudgeEvaluation.model_validate_json((tmp_path / folders[0] / "evaluation.json").read_text()) == evaluation
    assert np.isfinite(table.filter(table["control"].is_valid())["raw"].to_numpy()).all()
    assert "L2" in {row["level"] for row in score_rows(evaluation)}
    assert "looks" not in page
    assert "like a leaf with" in page
