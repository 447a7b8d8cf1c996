"""Deleted text is filled and coded again; a toy release codes a product by the words of its text."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.evaluation.sparse.coded_texts import CodedTexts
from shelfcode.evaluation.sparse.fields import Fields
from shelfcode.evaluation.sparse.restoration import Deletion, Restoration, RestoredLevel, restore, restored_levels
from shelfcode.evaluation.sparse.settings import SparseSettings

SIZES = (3, 2, 2, 2)


def code(products: pa.Table, name: str) -> CodedTexts:
    """L1 is 1 for a text that says milk, 2 for one that says tea, else 0; L2 is 1 for one with a brand."""
    texts = [" ".join(filter(None, row)) for row in zip(*(products[each].to_pylist() for each in ("title", "description")), strict=True)]
    first = [1 if "milk" in text else 2 if "tea" in text else 0 for text in texts]
    codes_NL = np.array([[one, int(bool(brand)), 0, 0] for one, brand in zip(first, products["brand"].to_pylist(), strict=True)], np.int64)
    nothing = np.zeros((len(products), 10), np.float32)
    return CodedTexts(np.arange(len(products)), np.ones(len(products), np.int64), codes_NL.reshape(-1, 4), nothing)


def shop(items: list[tuple[str, str | None, str | None]]) -> pa.Table:
    rows = [{"item_id": str(at), "title": title, "description": text, "brand": brand} for at, (title, text, brand) in enumerate(items)]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in ("item_id", "title", "description", "brand")]))


def deleted(leaf: str | None, say_leaf: bool = True) -> Restoration:
    """Twelve cartons of milk lose their description and brand. What is left has the code of twelve things of one brand and type."""
    full = shop([("Carton", "milk", "Dairy")] * 12 + [("Thing", None, None)] * 12)
    catalog = code(full, "")
    fields = Fields(
        {"brand": ["Dairy"] * 12 + ["Plain"] * 12, "category_path": [leaf] * 12 + [None] * 12, "product_type": [None] * 12 + ["tea"] * 12}
    )
    cut = shop([("Carton", None, None)] * 12)
    deletion = Deletion("titles", cut, np.arange(12), code(cut, ""))
    return restore(deletion, code, catalog, fields, SIZES, SparseSettings(say_leaf=say_leaf))


def test_neighbours_of_a_wrong_code_cannot_bring_it_back() -> None:
    found = deleted(leaf=None)
    assert found.filled_products == 12
    assert found.filled_fields == {"brand": 12, "product_type": 12}
    assert found.right == {"brand": 0.0}, "the neighbours are of another shelf; product types were never known"
    first, second = found.of_all
    assert (first.untouched, first.filled) == (0, 0)
    assert first.helps is None
    assert (second.untouched, second.filled) == (0, 0)


def test_the_own_leaf_can() -> None:
    found = deleted(leaf="milk")
    first, second = found.with_leaf
    assert (first.untouched, first.filled, first.gain) == (0, 1, 1)
    assert first.helps is True
    assert second.filled == 1, "the brand that was filled in makes L2 right"
    assert any("helps" in line for line in found.verdict())
    assert any("no difference" in line for line in found.verdict())


def test_a_leaf_that_the_settings_leave_out_is_not_said() -> None:
    assert deleted(leaf="milk", say_leaf=False).with_leaf == ()


def test_levels_and_intervals() -> None:
    full = np.array([[0, 0]] * 20)
    cut = np.array([[0, 1]] * 10 + [[1, 0]] * 10)
    filled = np.array([[0, 0]] * 10 + [[1, 0]] * 10)
    first, second = restored_levels(full, cut, filled)
    assert (first.untouched, first.filled, first.gain_low, first.gain_high) == (0.5, 0.5, 0, 0)
    assert (second.untouched, second.filled) == (0, 0.5)
    assert second.gain_low is not None
    assert second.gain_high is not None
    assert 0.2 < second.gain_low < 0.5 < second.gain_high < 0.8
    (harmed, _) = restored_levels(full, full, np.array([[1, 0]] * 20))
    assert harmed.helps is False
    assert "harms" in harmed.sentence()
    assert restored_levels(full[:0], cut[:0], filled[:0]) == ()
    assert restored_levels(full[:3], cut[:3], filled[:3])[0].gain_low is None, "three products say nothing of their spread"


@pytest.mark.parametrize(("low", "high", "helps"), [(0.1, 0.2, True), (-0.2, -0.1, False), (-0.1, 0.1, None), (None, None, None)])
def test_only_an_interval_away_from_nothing_is_a_verdict(low: float | None, high: float | None, helps: bool | None) -> None:
    level = RestoredLevel(level=1, untouched=0.5, filled=0.5, gain=((low or 0) + (high or 0)) / 2, gain_low=low, gain_high=high)
    assert level.helps is helps
