"""Why lists are short, counted."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from untrained_retriever import publish_untrained

from shelfcode.releases.release import Manifest
from shelfcode.retrieval.answer_counts import AnswerCounts, count_answers
from shelfcode.retrieval.context_table import contexts_from_table
from shelfcode.retrieval.published_retriever import open_retriever
from shelfcode.retrieval.retriever import Retriever
from shelfcode.workspace import Workspace

ALL = [f"item {number}" for number in range(40)]


@pytest.fixture
def retriever(tmp_path: Path, publish_small: Callable[..., Manifest]) -> Retriever:
    """North sold all, east three products; south sold nothing, and nothing is new."""
    workspace = Workspace(str(tmp_path))
    manifest = publish_small(workspace)
    card = publish_untrained(workspace, manifest, {"north": ALL, "east": ALL[:3], "south": []})
    return open_retriever(workspace, card, torch.device("cpu"))


def counted(retriever: Retriever, retailers: list[str | None], carts: list[list[str]], k: int, beams: int | None = None) -> AnswerCounts:
    table = pa.table({"case_id": [str(row) for row in range(len(carts))], "retailer_id": retailers, "cart": carts})
    named = contexts_from_table(table, retriever.assortment.place_of, retriever.retailers, retriever.surfaces)
    return count_answers(named, retriever.answer(named.contexts, k, beams), retriever)


def test_short_and_empty_lists_are_told_apart_by_what_they_are_for_want_of(retriever: Retriever) -> None:
    retailers = ["north", "east", "east", "south", "west", None]
    carts = [["item 0"], ["item 0", "item 9", "gone"], ["item 0", "item 1", "item 2"], [], [], []]
    counts = counted(retriever, retailers, carts, k=5)
    assert (counts.answered, counts.short, counts.exhausted, counts.empty) == (6, 3, 3, 2)
    assert (counts.at_empty_retailers, counts.empty_retailers) == (1, ("south",))
    assert (counts.unknown_retailers, counts.unknown_products) == (1, 1)


def test_lists_that_beams_cut_short_are_not_taken_for_all_that_there_is(retriever: Retriever) -> None:
    counts = counted(retriever, ["north"], [[]], k=20, beams=1)
    assert (counts.short, counts.exhausted, counts.empty) == (1, 0, 0)


def test_counts_add_up_and_survive_as_text() -> None:
    one = AnswerCounts(read=3, answered=2, rejected=1, reasons=Counter({"at is no time": 1}), empty_retailers=("south",))
    two = AnswerCounts(read=2, answered=1, rejected=1, reasons=Counter({"at is no time": 1}), empty_retailers=("east", "south"))
    total = AnswerCounts.from_json((one + two).to_json())
    assert total == AnswerCounts(read=5, answered=3, rejected=2, reasons=Counter({"at is no time": 2}), empty_retailers=("east", "south"))
