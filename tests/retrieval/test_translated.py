"""The products of a newer release in the codes of an older one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_published import two_releases
from untrained_retriever import publish_untrained

from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.stability.translation import prefix_translation
from shelfcode.interactions.session_log import NO_TIME
from shelfcode.releases.release import Manifest
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.published_retriever import open_retriever
from shelfcode.retrieval.translated import old_codes, translated_assortment
from shelfcode.workspace import Workspace

OLD_NL = np.array([[0, 0], [0, 1], [0, 1], [1, 5], [1, 6], [1, 6]], np.uint16)
NEW_NL = np.array([[3, 0], [3, 1], [3, 1], [4, 0], [4, 0], [3, 1]], np.uint16)
SIZES = (8, 16)
CPU = torch.device("cpu")


def codes_of(*new: tuple[int, ...]) -> tuple[list[list[int]], list[int]]:
    codes_UL, depth_U = old_codes(np.array(new, np.uint16), prefix_translation(OLD_NL, NEW_NL), OLD_NL, SIZES)
    return codes_UL.tolist(), depth_U.tolist()


def test_a_code_comes_from_where_most_of_its_products_were() -> None:
    assert codes_of((3, 1), (3, 0)) == ([[0, 1], [0, 0]], [2, 2])


def test_of_a_code_that_no_old_product_has_the_first_codeword_counts_with_the_commonest_id_below_it() -> None:
    assert codes_of((3, 9), (4, 9)) == ([[0, 1], [1, 6]], [1, 1])  # three of the four products below 3 were below 0


def test_of_a_first_codeword_that_no_old_product_has_nothing_is_known() -> None:
    assert codes_of((5, 0), (3, 0))[1] == [0, 2]


def test_a_code_of_more_levels_is_shortened_and_one_of_fewer_is_completed() -> None:
    assert codes_of((3, 1, 7)) == ([[0, 1]], [2])
    assert codes_of((4,)) == ([[1, 6]], [1])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path))


@pytest.fixture
def two(workspace: Workspace, publish_small: Callable[..., Manifest]) -> tuple[Manifest, Manifest]:
    return two_releases(workspace, publish_small)


def test_common_products_keep_their_code_and_new_ones_are_translated(workspace: Workspace, two: tuple[Manifest, Manifest]) -> None:
    assortment, counts = translated_assortment(workspace, *two)
    codes = dict(zip(assortment.item_ids.to_pylist(), assortment.codes_NL.tolist(), strict=True))
    assert (counts.kept, counts.translated, counts.completed, counts.left_out) == (len(codes) - 2, 1, 1, 1)
    assert assortment.release == two[1].name
    assert codes["item 13"] == [5, 13]
    assert codes["whole"] == [5, 13]
    assert codes["in part"] == [5, 5]  # of 5_5 and 5_13, the first of equally many
    assert "item 0" not in codes
    assert "lost" not in codes
    assert np.array_equal(assortment.keys_N, np.sort(assortment.keys_N))
    assert np.array_equal(assortment.places(assortment.item_ids), np.arange(len(assortment)))


def test_a_generator_answers_with_a_release_of_other_codes_only_when_it_is_told_to_translate(
    workspace: Workspace, two: tuple[Manifest, Manifest]
) -> None:
    old, new = two
    card = publish_untrained(workspace, old, {"north": ["item 1", "item 2", "item 13"]})
    with pytest.raises(ShelfcodeError, match="--translate"):
        open_retriever(workspace, card, CPU, new.name)
    retriever = open_retriever(workspace, card, CPU, new.name, translate=True)
    contexts = Contexts(
        np.zeros(2, np.int64), np.empty(0, np.int32), np.zeros(2, np.int64), np.empty(0, np.int32), np.zeros(1, np.int32),
        np.full(1, -1, np.int32), np.full(1, NO_TIME),
    )  # fmt: skip
    products = retriever.answer(contexts, 60).products_RK[0]
    names = retriever.assortment.item_ids.take(pa.array(products[products >= 0])).to_pylist()
    assert sorted(names) == sorted(retriever.assortment.item_ids.to_pylist())  # all it sold, and what nobody sold
    scores = dict(zip(names, retriever.answer(contexts, 60).scores_RK[0].tolist(), strict=False))
    assert len({round(scores[name], 4) for name in ("whole", "item 29")}) == 1  # both have the code 5_13, and nobody bought either
