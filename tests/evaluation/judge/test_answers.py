"""A question that was answered is not asked again, by an interrupted run or another one; one without an answer is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shelfcode.evaluation.judge import answers
from shelfcode.evaluation.judge.answers import replies_to
from shelfcode.llm.likelihood import Passage, Question, Reply
from shelfcode.workspace import Workspace

QUESTIONS = [Passage(("-", f" product {number}"), (1,)) for number in range(10)]


def test_replies_are_kept_even_of_a_run_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "REPLIES_PER_PART", 2)
    workspace, asked = Workspace(str(tmp_path)), []

    def breaking(questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        for number, question in enumerate(questions):
            if number == 5:
                raise KeyboardInterrupt
            yield question, Reply((-float(number),), 3)

    def whole(questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        asked.append(len(questions))
        for number, question in enumerate(questions):
            yield question, Reply(None, problem="no") if number == 0 else Reply((-1.0,), 3)

    with pytest.raises(KeyboardInterrupt):
        replies_to(workspace, "judge-1", QUESTIONS, breaking, lambda _: None)
    replies = replies_to(workspace, "judge-1", QUESTIONS, whole, lambda _: None)
    assert asked == [6]  # four are in parts that were written before
    assert replies[QUESTIONS[1].key] == Reply((-1.0,), 3)
    replies_to(workspace, "judge-1", QUESTIONS, whole, lambda _: None)
    assert asked == [6, 1]  # the one that had no answer
    replies_to(workspace, "judge-2", QUESTIONS, whole, lambda _: None)
    assert asked == [6, 1, 10]  # another judge has said nothing yet
