"""Suspicions about categories."""

import numpy as np
import pytest
from scored_products import scored

from shelfcode.audit.findings.categories import category_table, spellings, wrong_interval
from shelfcode.audit.findings.tally import take_tally
from shelfcode.audit.published_audit import WrongLabels
from shelfcode.audit.settings import AuditSettings

WRONG = WrongLabels(estimate=10, low=8, high=13)


def test_overlap_needs_both_sides_and_incoherent_needs_no_other_home() -> None:
    paths = [("Snacks", "Bars"), ("Health", "Bars"), ("Home", "Gifts"), ("Home", "Sale"), ("Tea",)]
    best = [[(0, 0.6), (1, 0.4)]] * 10 + [[(1, 0.6), (0, 0.3)]] * 10 + [[(4, 0.2), (0, 0.2)]] * 10 + [[(4, 0.8), (3, 0.2)]] * 10
    best += [[(4, 0.9), (3, 0.1)]] * 10
    given = [0.6] * 20 + [0.1] * 10 + [0.2] * 10 + [0.9] * 10
    tally = take_tally([scored([0.1] * 50, given, best)], np.repeat(np.arange(5), 10).astype(np.int32), 5, AuditSettings())
    rows = category_table(tally, paths, dict.fromkeys(paths, 10), WRONG, AuditSettings()).to_pylist()
    assert len(rows) == 5
    issues = {tuple(row["path"]): row["issue"] for row in rows}
    assert issues == {paths[0]: "overlap", paths[1]: None, paths[2]: "incoherent", paths[3]: None, paths[4]: None}
    overlap = next(row for row in rows if row["issue"] == "overlap")
    assert (tuple(overlap["other_path"]), overlap["score"]) == (paths[1], pytest.approx(0.3))
    assert "40% of the first one's products" in overlap["sentence"]
    assert rows[0]["expected_wrong"] == pytest.approx(1.0)
    assert rows[0]["wrong_low"] < 1 < rows[0]["wrong_high"]


def test_names_in_other_letters_are_one_suspicion_each_at_the_level_where_they_differ() -> None:
    spelled = {
        ("Snacks", "Candy"): 300, ("snacks", "Candy"): 20, ("snacks", "Chips"): 30, ("Snacks", "Chips"): 100, ("Snacks", "candies"): 5,
        ("Snacks", "CANDY"): 200, ("Baby", "Food & Formula"): 9, ("Baby", "Food and Formulas"): 2, ("Pets", "Food & Formula"): 8,
        ("Glass",): 3, ("Glas",): 2,
    }  # fmt: skip
    found = {each["path"]: each for each in spellings(spelled)}
    assert set(found) == {("snacks",), ("Snacks", "CANDY"), ("Baby", "Food and Formulas")}
    assert found["snacks",]["other_path"] == ("Snacks",)
    assert found["Snacks", "CANDY"]["other_path"] == ("Snacks", "Candy")
    assert "counted as one" in found["Snacks", "CANDY"]["sentence"]
    assert "(200 products)" in found["Snacks", "CANDY"]["sentence"]
    assert "counted as two" in found["Baby", "Food and Formulas"]["sentence"]


def test_a_spelling_of_a_department_has_a_row_although_no_product_is_filed_right_under_it() -> None:
    tally = take_tally([scored([0.0], [1.0], [[(0, 1.0)]])], np.zeros(1, np.int32), 1, AuditSettings())
    rows = category_table(
        tally, [("Snacks", "Candy")], {("Snacks", "Candy"): 9, ("SNACKS", "Candy"): 1}, WRONG, AuditSettings()
    ).to_pylist()
    assert [(row["path"], row["issue"], row["products"]) for row in rows] == [
        (["Snacks", "Candy"], None, 1), (["SNACKS"], "spelling", 0),
    ]  # fmt: skip


def test_intervals_hold_the_estimate_and_stay_within_the_products() -> None:
    low, high = wrong_interval(5.0, 2.0, 6, WRONG)
    assert 0 <= low < 5 < high <= 6
    assert wrong_interval(0.0, 0.0, 6, WrongLabels(estimate=0, low=0, high=0)) == (0.0, 0.0)
