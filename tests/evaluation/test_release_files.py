"""Behavioural alignment of whole catalogs: each release on its own products, two releases on those that both code."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.evaluation.release_files import CodedCatalog, compare_behavioural_alignment, measure_behavioural_alignment
from shelfcode.interactions.relations import Relations, read_relations
from shelfcode.keys import item_keys
from shelfcode.workspace import Workspace

NAMES = [f"P{number:03}" for number in range(200)]


def coded(names: list[str], first_codewords: dict[str, int]) -> CodedCatalog:
    """Products in the order of `names`; snapshot and embeddings are not looked at."""
    codes_NL = np.array([[first_codewords[name], 0] for name in names], dtype=np.uint16)
    return CodedCatalog(Workspace("nowhere"), cast(Any, None), cast(Any, None), item_keys(pa.array(names)), codes_NL)


@pytest.fixture
def relations(tmp_path: Path) -> Relations:
    """Every product with the next one but nine: their numbers end in the same digit."""
    pairs = pa.table({"item_id": NAMES[:-10], "other_item_id": NAMES[10:]})
    pq.write_table(pairs, tmp_path / "substitutes.parquet")
    return read_relations(str(tmp_path))


BY_DIGIT = {name: int(name[-1]) for name in NAMES}
BY_TENS = {name: int(name[-2]) for name in NAMES}


def test_the_order_of_the_products_does_not_matter(relations: Relations) -> None:
    forward, backward = (measure_behavioural_alignment(coded(names, BY_DIGIT), relations) for names in (NAMES, NAMES[::-1]))
    first = forward.relations[0].depths[0]
    assert first.share == 1
    assert first.lift == backward.relations[0].depths[0].lift
    assert first.lift is not None
    assert first.lift > 8
    assert (forward.products, forward.relations[0].unknown_items) == (200, 0)


def test_products_without_a_code_are_counted(relations: Relations) -> None:
    (relation,) = measure_behavioural_alignment(coded(NAMES[:150], BY_DIGIT), relations).relations
    assert (relation.pairs, relation.unknown_items, relation.unknown_rows) == (140, 50, 50)


def test_two_releases_are_compared_on_the_products_that_both_code(relations: Relations) -> None:
    a, b = coded(NAMES[:150], BY_DIGIT), coded(NAMES[:49:-1], BY_TENS)
    found = compare_behavioural_alignment(a, b, relations)
    assert (found.a.products, found.b.products) == (100, 100)
    assert [each.relations[0].pairs for each in (found.a, found.b)] == [90, 90]
    assert found.ratios[0].pairs == 90
    depth = found.ratios[0].depths[0]
    assert (depth.lift_a, depth.lift_b) == (found.a.relations[0].depths[0].lift, found.b.relations[0].depths[0].lift)
    assert found.a.relations[0].depths[0].share == 1
    assert found.b.relations[0].depths[0].share == 0
