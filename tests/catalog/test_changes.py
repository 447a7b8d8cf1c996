"""What became of each product since a release: the counts add up, and a catalog that lost much is refused before any work."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.changes import Changes, check_removals, compare_products
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, item_keys, row_keys


def keys(*names: str) -> Keys:
    return item_keys(pa.array(names, pa.string()))


def texts(**text_of: str) -> Keys:
    return row_keys(pa.array(list(text_of), pa.string()), pa.array(list(text_of.values()), pa.string()))


def compare(before: dict[str, str], now: dict[str, str], known: dict[str, str] | None = None) -> Changes:
    """Products and their texts, then and now."""
    known = before if known is None else known
    return compare_products(keys(*before), np.sort(texts(**known)), keys(*now), texts(**now))


def test_each_product_is_added_changed_removed_or_unchanged() -> None:
    changes = compare({"a": "1", "b": "1", "c": "1", "gone": "1"}, {"new": "1", "c": "1", "b": "2", "a": "1", "newer": "2"})
    assert changes.new_N.tolist() == [True, False, True, False, True]
    assert (changes.added, changes.changed, changes.unchanged, changes.removed) == (2, 1, 2, 1)
    assert changes.any


def test_counts_add_up_to_the_rows_that_were_read() -> None:
    counts = compare({"a": "1", "gone": "1"}, {"a": "2", "b": "1", "c": "1"}).counts(rejected=4)
    assert counts == {"added": 2, "changed": 1, "removed": 1, "unchanged": 0, "rejected": 4}
    assert sum(counts[name] for name in ("added", "changed", "unchanged", "rejected")) == 3 + 4


@pytest.mark.parametrize(
    ("now", "expected"),
    [({"b": "1", "a": "1"}, False), ({"a": "1", "b": "1", "c": "1"}, True), ({"a": "1", "b": "2"}, True), ({"a": "1"}, True)],
    ids=["another order", "one more", "another text", "one less"],
)
def test_something_changed_where_a_product_has_to_be_coded_or_removed(now: dict[str, str], expected: bool) -> None:
    assert compare({"a": "1", "b": "1"}, now).any is expected


def test_a_product_that_came_back_with_the_text_of_another_is_changed() -> None:
    """A text counts only together with its product."""
    assert compare({"a": "1", "b": "2"}, {"a": "2", "b": "1"}).new_N.tolist() == [True, True]


def test_a_product_whose_text_is_known_but_that_was_not_coded_is_added() -> None:
    changes = compare({"a": "1"}, {"a": "1", "b": "1"}, known={"a": "1", "b": "1"})
    assert (changes.added, changes.changed, changes.new_N.tolist()) == (1, 0, [False, True])


def test_where_no_texts_were_kept_every_product_counts_as_changed() -> None:
    changes = compare({"a": "1", "b": "1"}, {"a": "1", "b": "1", "c": "1"}, known={})
    assert (changes.added, changes.changed, changes.unchanged, changes.removed) == (1, 2, 0, 0)


def test_nothing_coded_and_nothing_left() -> None:
    assert compare({}, {"a": "1"}).counts(0) == {"added": 1, "changed": 0, "removed": 0, "unchanged": 0, "rejected": 0}
    gone = compare({"a": "1"}, {})
    assert (gone.removed, gone.any, len(gone.new_N)) == (1, True, 0)
    assert not compare({}, {}).any


CODED = keys(*(f"item {number}" for number in range(1500)))


def test_a_catalog_that_lost_much_is_refused_and_says_how_much() -> None:
    with pytest.raises(ShelfcodeError, match=r"lacks 1,200 of the 1,500 products that are coded now \(80%\).*--allow-removals"):
        check_removals(CODED, CODED[:300], allowed=False)
    check_removals(CODED, CODED[:300], allowed=True)


def test_a_fifth_may_go_whatever_is_added() -> None:
    check_removals(CODED, CODED[300:], allowed=False)
    others = keys(*(f"another {number}" for number in range(5000)))
    with pytest.raises(ShelfcodeError, match="lacks 301 of"):
        check_removals(CODED, np.concatenate([others, CODED[301:]]), allowed=False)
    with pytest.raises(ShelfcodeError, match=r"\(100%\)"):
        check_removals(CODED, others[:0], allowed=False)


def test_a_release_without_products_loses_none() -> None:
    check_removals(CODED[:0], CODED, allowed=False)
