"""Looking prefixes up in the translation between two releases."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.stability.translation import prefix_translation
from shelfcode.index.translation_table import TRANSLATION_FILE, comparison_folder, read_translation, translate
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

OLD_NL = np.array([[0, 0], [0, 0], [0, 0], [0, 1], [1, 0], [1, 0]], np.uint16)
NEW_NL = np.array([[5, 2], [5, 2], [5, 3], [7, 0], [7, 0], [7, 0]], np.uint16)


@pytest.fixture
def table() -> pa.Table:
    return prefix_translation(OLD_NL, NEW_NL)


def test_prefixes_are_translated_in_both_directions_the_heaviest_first(table: pa.Table) -> None:
    assert translate(table, ["0", "1_0"]) == {"0": [("5", 0.75), ("7", 0.25)], "1_0": [("7_0", 1.0)]}
    assert translate(table, ["7_0", "7"], "new_to_old") == {
        "7_0": [("1_0", 2 / 3), ("0_1", 1 / 3)],
        "7": [("1", 2 / 3), ("0", 1 / 3)],
    }


def test_of_equally_heavy_prefixes_the_order_is_always_the_same() -> None:
    table = prefix_translation(np.zeros((4, 1), int), np.array([[3], [1], [2], [0]]))
    shuffled = table.take(pa.array([2, 0, 3, 1]))
    assert translate(shuffled, ["0"]) == translate(table, ["0"]) == {"0": [(new, 0.25) for new in "0123"]}


def test_an_unknown_prefix_is_answered_one_level_shallower(table: pa.Table) -> None:
    assert translate(table, ["1_9", "0_9_9", "8_0", "0_0_4"]) == {
        "1_9": [("7", 1.0)],
        "0_9_9": [("5", 0.75), ("7", 0.25)],
        "8_0": [],
        "0_0_4": [("5_2", 2 / 3), ("5_3", 1 / 3)],
    }


def test_a_release_translates_what_it_was_published_after_and_else_a_comparison_does(
    tmp_path: Path, publish_small: Callable[..., Manifest], table: pa.Table
) -> None:
    workspace = Workspace(str(tmp_path))
    first, second, third = (publish_small(workspace) for _ in range(3))
    second = second.model_copy(update={"churn": {"against": first.name}})
    workspace.write_table(f"{second.folder}/{TRANSLATION_FILE}", table)
    assert read_translation(workspace, second, first).equals(table)
    with pytest.raises(ShelfcodeError, match=r"compare_releases.py --release small@v0003 --against small@v0001"):
        read_translation(workspace, third, first)
    workspace.write_table(f"{comparison_folder(third, first)}/{TRANSLATION_FILE}", table.slice(1))
    assert read_translation(workspace, third, first).equals(table.slice(1))
    with pytest.raises(ShelfcodeError, match="two flavors"):
        read_translation(workspace, third.model_copy(update={"flavor": "other"}), first)
