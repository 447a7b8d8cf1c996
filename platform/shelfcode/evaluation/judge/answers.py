"""A judge's replies, kept in the workspace so that nothing is asked twice: by question, under the name of the judge that gave them.

The name of a judge stands for its model's content, so the same question to the same judge has one reply.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa

from shelfcode.keys import text_hash
from shelfcode.llm.likelihood import Question, Reply
from shelfcode.parts import part_path
from shelfcode.workspace import Workspace

REPLIES_PER_PART = 512

_SCHEMA = pa.schema([("key", pa.string()), ("values", pa.list_(pa.float64())), ("tokens", pa.int64())])

Ask = Callable[[Sequence[Question]], Iterable[tuple[Question, Reply]]]
"""Questions -> each with its reply, in any order, as they come."""


def answers_folder(judge: str) -> str:
    """Where a judge's replies are kept within the workspace."""
    return f"judgments/answers/{judge}"


def replies_to(
    workspace: Workspace, judge: str, questions: Sequence[Question], ask: Ask, progress: Callable[[int], None]
) -> dict[str, Reply]:
    """Replies to all questions by their keys: those that are kept, and the others asked and kept as they come.

    A reply without values is not kept: it is asked for again by the next run.
    """
    wanted = {question.key: question for question in questions}
    known = {key: reply for key, reply in _read(workspace, answers_folder(judge)).items() if key in wanted}
    progress(len(known))
    unknown = [question for key, question in wanted.items() if key not in known]
    fresh: dict[str, Reply] = {}
    for question, reply in ask(unknown) if unknown else ():
        known[question.key] = fresh[question.key] = reply
        progress(1)
        if len(fresh) == REPLIES_PER_PART:
            _write(workspace, answers_folder(judge), fresh)
            fresh = {}
    _write(workspace, answers_folder(judge), fresh)
    missing = Reply(None, problem="the engine gave no answer")
    return {key: known.get(key, missing) for key in wanted}


def _read(workspace: Workspace, folder: str) -> dict[str, Reply]:
    replies = {}
    for table in workspace.read_tables(workspace.parts(folder)):
        for row in table.to_pylist():
            replies[row["key"]] = Reply(tuple(row["values"]), row["tokens"])
    return replies


def _write(workspace: Workspace, folder: str, replies: Mapping[str, Reply]) -> None:
    rows = [
        {"key": key, "values": list(reply.values), "tokens": reply.tokens} for key, reply in replies.items() if reply.values is not None
    ]
    if rows:
        workspace.write_table(part_path(folder, text_hash("".join(sorted(replies)))), pa.Table.from_pylist(rows, _SCHEMA))
