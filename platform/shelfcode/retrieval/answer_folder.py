"""The folder of lists that were answered in bulk, local or in a bucket.

    _begun.json                    first: what made the lists, and its digest; lists of anything else are never put beside them
    part-<file>-<batch>.parquet    case_id, item_ids (best first) and scores; named by the place of the contexts in their source
    _manifest.json                 last: the counts. Without it, the lists are not complete

Readers of Parquet folders pass over names that begin with an underscore. Each part holds its own counts in its schema's metadata, so that
a run that is started again has those of the parts that it finds.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, K products of a list.

import json
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from shelfcode.errors import ShelfcodeError
from shelfcode.parallel import in_order
from shelfcode.parts import is_part, part_name, part_path
from shelfcode.retrieval.answer_counts import AnswerCounts
from shelfcode.retrieval.lists import Lists
from shelfcode.workspace import Workspace

BEGUN_FILE, MANIFEST_FILE = "_begun.json", "_manifest.json"

ANSWERS = pa.schema([("case_id", pa.string()), ("item_ids", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))])

_COUNTS = b"shelfcode.counts"


class AnswersBegun(BaseModel):
    """What lists are made of.

    Attributes:
        digest: of all that decides on them: contexts, retriever, release, availability and settings.
        retriever: such as generator@v0001.
        release: whose products are answered with.
        contexts, availability: where they were read from.
        settings: those that decide.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    retriever: str
    release: str
    contexts: str
    availability: str | None
    translated: bool
    settings: dict[str, Any]


def begin_folder(out: Workspace, begun: AnswersBegun) -> None:
    """Take a folder for some lists, or go on with those that the same inputs, retriever and settings began there.

    Raises:
        ShelfcodeError: the folder holds something else.
    """
    text = json.dumps(begun.model_dump(mode="json"), indent=2).encode()
    if strangers := [] if out.exists(BEGUN_FILE) else out.names(""):
        raise ShelfcodeError(f"--out {out.url}: it holds other files, such as {strangers[0]}. Give a folder of its own to the lists")
    if out.claim(BEGUN_FILE, text):
        return
    there = AnswersBegun.model_validate(out.read_json(BEGUN_FILE))
    if there.digest != begun.digest:
        raise ShelfcodeError(
            f"--out {out.url}: it holds lists by {there.retriever} from {there.release}, {_difference(there, begun)}. Give another folder, "
            "or delete this one"
        )


def _difference(there: AnswersBegun, begun: AnswersBegun) -> str:
    """What is not the same of two beginnings, in words."""
    before, now = (each.model_dump(mode="json", exclude={"digest"}) for each in (there, begun))
    changed = [name for name in before if before[name] != now[name]]
    told = [f"{name} {before[name]!r}, not {now[name]!r}" for name in changed if name != "settings"]
    told += [f"{name} {old!r}, not {now['settings'][name]!r}" for name, old in before["settings"].items() if old != now["settings"][name]]
    return f"made with {'; '.join(told)}" if told else "made from files that have changed since"


def finished_parts(out: Workspace) -> dict[str, AnswerCounts]:
    """The parts that are there, by name, with their counts."""
    files = _part_files(out)
    counts = in_order(lambda file: AnswerCounts.from_json(out.read_schema(file).metadata[_COUNTS]), files)
    return {part_name(f"/{file}"): each for file, each in zip(files, counts, strict=True)}


def complete_counts(out: Workspace) -> AnswerCounts | None:
    """The counts of lists that are complete; None where some are missing yet."""
    if not out.exists(MANIFEST_FILE):
        return None
    manifest = out.read_json(MANIFEST_FILE)
    return AnswerCounts.from_json(json.dumps(manifest["counts"])) if manifest["parts"] == len(_part_files(out)) else None


def _part_files(out: Workspace) -> list[str]:
    return [name for name in out.names("") if is_part(f"/{name}", "")]


def write_answers(out: Workspace, name: str, answers: pa.Table, counts: AnswerCounts) -> None:
    """Store lists and their counts as a part."""
    out.write_table(part_path("", name)[1:], answers.replace_schema_metadata({_COUNTS: counts.to_json()}))


def finish_folder(out: Workspace, begun: AnswersBegun, counts: AnswerCounts) -> None:
    """Say that the lists are complete, and what they came to."""
    out.write_json(MANIFEST_FILE, {**begun.model_dump(mode="json"), "parts": len(_part_files(out)), "counts": json.loads(counts.to_json())})


def answers_table(case_ids: pa.StringArray, lists: Lists, item_ids: pa.StringArray) -> pa.Table:
    """Lists as the rows of a part.

    Args:
        item_ids: of the assortment's products.
    """
    taken_RK = lists.products_RK >= 0
    starts = pa.array(np.concatenate([[0], np.cumsum(taken_RK.sum(axis=1))]).astype(np.int32))
    named = item_ids.take(pa.array(lists.products_RK[taken_RK]))
    scores = pa.array(lists.scores_RK[taken_RK].astype(np.float32))
    columns = [case_ids, pa.ListArray.from_arrays(starts, named), pa.ListArray.from_arrays(starts, scores)]
    return pa.Table.from_arrays(columns, schema=ANSWERS)
