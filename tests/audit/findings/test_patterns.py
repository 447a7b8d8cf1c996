"""Findings that say the same."""

from pathlib import Path as Folder

import pytest
from planted_audit import plant_audit

from shelfcode.audit.findings.patterns import Move, find_patterns, move_sentence, moves
from shelfcode.audit.published_audit import PATTERNS_FILE, load_audit
from shelfcode.workspace import Workspace

CANDY, SPORTS, TEA = ("Snacks", "Candy"), ("Health", "Sports Nutrition"), ("Beverages", "Tea")


def move(number: int, given: tuple[str, ...] = CANDY, brand: str = "", prefix: str = "", p: float = 0.9) -> Move:
    return Move(f"f{number}", given, SPORTS, brand, prefix, p)


def test_a_brand_a_prefix_and_a_pair_of_paths_are_told_in_a_sentence() -> None:
    found = (
        [move(n, brand="Peak Form", prefix="6_19") for n in range(4)] + [move(n, prefix="6_19") for n in range(4, 6)] + [move(6), move(7)]
    )
    rows = find_patterns(found).to_pylist()
    assert [(row["kind"], row["products"], row["sentence"]) for row in rows] == [
        ("path_pair", 8, "8 products: Candy -> Sports Nutrition"),
        ("prefix", 6, "6 products under 6_19_*: Candy -> Sports Nutrition"),
        ("brand", 4, "4 products of brand Peak Form: Candy -> Sports Nutrition"),
    ]
    assert rows[0]["expected_wrong"] == pytest.approx(7.2)
    assert rows[2]["finding_ids"] == ["f0", "f1", "f2", "f3"]


def test_a_prefix_that_says_no_more_than_its_two_paths_is_left_out_and_two_findings_are_no_pattern() -> None:
    found = [move(n, prefix="6_19") for n in range(3)] + [move(n, given=TEA) for n in range(3, 5)]
    assert [(row["kind"], row["products"]) for row in find_patterns(found).to_pylist()] == [("path_pair", 3)]


def test_other_letters_are_no_other_pattern() -> None:
    found = [
        move(0),
        move(1, given=("snacks", "CANDY")),
        move(2, brand="PEAK form"),
        move(3, brand="Peak Form"),
        move(4, brand="peak form"),
    ]
    assert [(row["kind"], row["products"]) for row in find_patterns(found).to_pylist()] == [("path_pair", 5), ("brand", 3)]


def test_whole_paths_where_the_last_names_are_the_same() -> None:
    assert move_sentence(("Baby", "Other"), ("Pets", "other")) == "Baby > Other -> Pets > other"


def test_the_patterns_of_a_planted_audit_hold_its_findings_and_only_likely_ones(tmp_path: Folder) -> None:
    planted = plant_audit(Workspace(str(tmp_path)), 200)
    audit = load_audit(Workspace(str(tmp_path)), "precision-v0001-001")
    assert audit == planted.manifest
    p_of = dict(zip(planted.findings["finding_id"].to_pylist(), planted.findings["p_wrong"].to_pylist(), strict=True))
    rows = Workspace(str(tmp_path)).read_table(f"{audit.folder}/{PATTERNS_FILE}").to_pylist()
    assert rows[0]["given_path"] == list(CANDY)
    assert {row["kind"] for row in rows} >= {"path_pair", "brand"}
    assert all(p_of[finding] >= 0.3 for row in rows for finding in row["finding_ids"])
    assert len(list(moves(planted.findings, 0.99))) < len(list(moves(planted.findings, 0.3)))
