"""The folder of lists: begun once, told apart from others, complete or not."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.retrieval.answer_counts import AnswerCounts
from shelfcode.retrieval.answer_folder import (
    ANSWERS,
    AnswersBegun,
    answers_table,
    begin_folder,
    complete_counts,
    finish_folder,
    finished_parts,
    write_answers,
)
from shelfcode.retrieval.lists import Lists
from shelfcode.workspace import Workspace

BEGUN = AnswersBegun(
    digest="d", retriever="generator@v0001", release="precision@v0001", contexts="cases.parquet", availability=None, translated=False,
    settings={"k": 2},
)  # fmt: skip
LISTS = Lists(np.array([[2, 0], [1, -1], [-1, -1]], np.int32), np.array([[3, 2], [1, -np.inf], [-np.inf, -np.inf]], np.float32))
COUNTS = AnswerCounts(answered=3, short=2, empty=1, empty_retailers=("south",))


@pytest.fixture
def answers() -> pa.Table:
    return answers_table(pa.array(["one", "two", "three"]), LISTS, pa.array(["a", "b", "c"]))


def test_a_list_is_best_first_and_as_long_as_it_is(answers: pa.Table) -> None:
    assert answers.schema == ANSWERS
    assert answers["item_ids"].to_pylist() == [["c", "a"], ["b"], []]
    assert answers["scores"].to_pylist() == [[3, 2], [1], []]


def test_a_folder_is_complete_when_it_was_said_to_be_and_lacks_no_part(workspace_url: str, answers: pa.Table) -> None:
    out = Workspace(workspace_url)
    begin_folder(out, BEGUN)
    begin_folder(out, BEGUN)  # started again
    write_answers(out, "000000-000000", answers, COUNTS)
    write_answers(out, "000001-000000", answers, COUNTS)
    assert finished_parts(out) == {"000000-000000": COUNTS, "000001-000000": COUNTS}
    assert complete_counts(out) is None
    finish_folder(out, BEGUN, COUNTS + COUNTS)
    assert complete_counts(out) == AnswerCounts(answered=6, short=4, empty=2, empty_retailers=("south",))
    out.remove("part-000001-000000.parquet")
    assert complete_counts(out) is None


def test_readers_of_a_folder_of_parquet_see_the_lists_alone(tmp_path: Path, answers: pa.Table) -> None:
    out = Workspace(str(tmp_path / "lists"))
    begin_folder(out, BEGUN)
    write_answers(out, "000000-000000", answers, COUNTS)
    finish_folder(out, BEGUN, COUNTS)
    assert ds.dataset(out.url).to_table().equals(answers)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"retriever": "generator@v0002"}, "made with retriever 'generator@v0001', not 'generator@v0002'"),
        ({"settings": {"k": 3}}, "made with k 2, not 3"),
        ({}, "made from files that have changed since"),
    ],
)
def test_lists_of_anything_else_are_not_put_beside_others(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    out = Workspace(str(tmp_path))
    begin_folder(out, BEGUN)
    with pytest.raises(ShelfcodeError, match=rf"holds lists by generator@v0001 from precision@v0001, {told}. Give another folder"):
        begin_folder(out, BEGUN.model_copy(update={"digest": "e", **changes}))


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ShelfcodeError, match=r"holds other files, such as notes.txt"):
        begin_folder(Workspace(str(tmp_path)), BEGUN)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
