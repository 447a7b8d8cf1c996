"""A small published audit of a grocery shop, whose truth is known: for tests of whatever reads audits."""

import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shelfcode.audit.finding import FINDINGS, ISSUES, finding_id
from shelfcode.audit.findings.patterns import find_patterns, moves
from shelfcode.audit.published_audit import (
    CATEGORIES,
    CATEGORIES_FILE,
    PATTERNS_FILE,
    REPORT_FILE,
    AuditManifest,
    DepartmentRecord,
    WrongLabels,
    publish_audit,
)
from shelfcode.keys import text_hash
from shelfcode.parts import part_path
from shelfcode.workspace import Workspace

Path = tuple[str, ...]

LEAVES: dict[Path, tuple[str, tuple[str, ...]]] = {
    ("Snacks", "Candy"): ("1_4", ("Sour Gummy Worms", "Dark Chocolate Truffles", "Peppermint Drops", "Caramel Chews")),
    ("Snacks", "Chips"): ("1_7", ("Sea Salt Potato Chips", "Blue Corn Tortilla Chips", "Kettle Cooked Sweet Potato Chips")),
    ("Snacks", "Crackers"): ("1_9", ("Rosemary Crisps", "Whole Wheat Crackers", "Cheddar Crackers")),
    ("Health", "Sports Nutrition", "Protein Bars"): ("6_19", ("Peanut Butter Protein Bar", "Cookie Dough Protein Bar", "Mint Whey Bar")),
    ("Health", "Sports Nutrition", "Powders"): ("6_21", ("Vanilla Whey Powder", "Pea Protein Powder", "Creatine Powder")),
    ("Health", "Vitamins"): ("6_25", ("Vitamin D3 Softgels", "Magnesium Tablets", "Kids Multivitamin Gummies")),
    ("Dairy", "Milk", "Oat Milk"): ("3_2", ("Barista Oat Milk", "Unsweetened Oat Milk", "Chocolate Oat Drink")),
    ("Dairy", "Milk", "Cow Milk"): ("3_3", ("Whole Milk", "2% Reduced Fat Milk", "Lactose Free Milk")),
    ("Dairy", "Yogurt"): ("3_8", ("Greek Yogurt with Honey", "Plain Nonfat Yogurt", "Strawberry Skyr")),
    ("Beverages", "Coffee"): ("4_1", ("Dark Roast Ground Coffee", "Espresso Capsules", "Cold Brew Concentrate")),
    ("Beverages", "Tea"): ("4_2", ("Earl Grey Tea Bags", "Jasmine Green Tea", "Chamomile Herbal Tea")),
    ("Beverages", "Soft Drinks"): ("4_5", ("Diet Cola", "Ginger Ale", "Lemon Lime Soda")),
    ("Household", "Cleaning"): ("8_0", ("Lemon Dish Soap", "Glass Cleaner Refill", "All Purpose Wipes")),
    ("Household", "Paper"): ("8_3", ("Bathroom Tissue 12 Rolls", "Recycled Paper Towels", "Facial Tissues")),
}
"""Leaf -> the prefix that its products have, and what they are called."""

BRANDS = ("Nordhaven", "Green Acre", "Bright & Bold", "O'Malley's", "Sunny Fields", "Kettleworks", "Peak Form", "Casa Luna")
SIZES = ("", ", 12 oz", ", Family Size", ", 6 Pack", " (1 lb)")


@dataclass(frozen=True)
class PlantedAudit:
    """An audit, and the right path of each product that it has a finding of: finding_id -> path, the given one where that is right."""

    manifest: AuditManifest
    truth: dict[str, Path]
    findings: pa.Table

    @property
    def wrong(self) -> set[str]:
        """The findings whose label is wrong."""
        given = dict(zip(self.findings["finding_id"].to_pylist(), self.findings["given_path"].to_pylist(), strict=True))
        return {finding for finding, path in self.truth.items() if tuple(given[finding]) != path}


def plant_audit(
    workspace: Workspace, findings: int = 60, seed: int = 0, release: str = "precision@v0001", parts: int = 2,
    relabelled: Mapping[str, Path] | None = None, reworded: Collection[str] = (),
) -> PlantedAudit:  # fmt: skip
    """Publish an audit with so many findings; the same arguments give the same one.

    The products are `item-0-00000` and so on, other ones for each seed, because answers for a product count in later audits of it, too. Of
    those with a probability p about the share p is wrong.

    Args:
        relabelled: item_id -> the path that it has by now. Where that is its right path there is no finding of it any more.
        reworded: item_ids whose text is another one by now.
    """
    changed = {**(relabelled or {})}
    rows, truth = [], {}
    for number in range(findings):
        row, right = _finding(number, seed)
        if row["item_id"] in reworded:
            row["title"] += " (new recipe)"
        if row["item_id"] in changed:
            row["given_path"] = changed[row["item_id"]]
            if row["given_path"] == right:
                continue
        row["text_hash"] = text_hash(row["title"])
        row["finding_id"] = finding_id(row["item_id"], row["text_hash"], row["given_path"])
        rows.append(row)
        truth[row["finding_id"]] = right
    table = pa.Table.from_pylist(rows, FINDINGS)
    draft = f"runs/planted-{seed}-{findings}/draft"
    workspace.remove(draft)
    size = max(1, -(-len(rows) // parts))
    for part in range(parts):
        workspace.write_table(part_path(f"{draft}/findings", f"{part:06d}"), table.slice(part * size, size))
    workspace.write_table(f"{draft}/{PATTERNS_FILE}", find_patterns(moves(table, 0.3)))
    workspace.write_table(f"{draft}/{CATEGORIES_FILE}", _categories(rows))
    workspace.write_bytes(f"{draft}/{REPORT_FILE}", b"<!doctype html><title>A planted audit</title>")
    return PlantedAudit(publish_audit(workspace, draft, _manifest(rows, release)), truth, table)


def _finding(number: int, seed: int) -> tuple[dict[str, Any], Path]:
    """A finding, and the product's right path."""
    rng = random.Random(f"{seed} {number}")
    leaves = list(LEAVES)
    fits = leaves[3] if number % 5 == 0 else rng.choice(leaves)  # protein bars under Candy are the pattern that everybody looks for
    issue = _issue(rng, number)
    p_wrong = round(rng.betavariate(0.9, 0.9), 4) if issue != "spelling" else 0.02
    given = _given(issue, fits, rng, number)
    others = [leaf for leaf in rng.sample(leaves, 4) if leaf not in (fits, given)]
    suggested = [fits, *others] if issue != "sparse_text" else []
    wrong = rng.random() < p_wrong
    right = given if not wrong else fits if rng.random() < 0.9 or not others else others[0]
    brand = "Peak Form" if number % 5 == 0 else rng.choice(BRANDS)
    title = f"{brand} {rng.choice(LEAVES[fits][1])}{rng.choice(SIZES)}"
    prefix = f"{LEAVES[fits][0]}_{rng.randrange(3)}"
    p = [round(0.7 * 0.4**place, 4) for place in range(len(suggested))]
    fault = "label" if p_wrong > 0.5 else "code" if rng.random() < 0.2 else "ambiguous"
    popularity = round(1000 * rng.paretovariate(1.2) / (1 + number % 7), 1)
    row = {
        "item_id": f"item-{seed}-{number:05d}", "issue": issue, "given_path": given, "suggested_paths": suggested, "suggested_p": p,
        "p_wrong": p_wrong, "score": p_wrong + number * 1e-7, "cluster_fit": round(rng.betavariate(4, 2), 3),
        "priority": p_wrong * (0.5 + 0.5 * (p[0] if p else 0)), "semantic_id": f"{prefix}_{rng.randrange(64)}", "title": title,
        "description": f"{title}. Best before: see the lid." if number % 3 else None, "brand": brand,
        "image": f"https://shop.example/{number}.jpg" if number % 4 == 0 else None, "popularity": popularity,
        "evidence": _evidence(fits, given, prefix, fault, issue, p_wrong, rng),
    }  # fmt: skip
    return row, right


def _issue(rng: random.Random, number: int) -> str:
    """Each of them occurs among the first ones; later on mostly wrong labels do."""
    return ISSUES[number // 5 % len(ISSUES)] if number % 5 == 1 else "wrong_branch" if number % 5 == 0 else rng.choice(ISSUES[:2])


def _given(issue: str, fits: Path, rng: random.Random, number: int) -> Path:
    if issue == "placeholder":
        return (fits[0], "Other")
    if issue == "too_shallow" and len(fits) > 2:
        return fits[:-1]
    if number % 5 == 0:
        return ("Snacks", "Candy")
    near = [leaf for leaf in LEAVES if leaf != fits and (leaf[0] == fits[0]) == (issue == "wrong_leaf")]
    return rng.choice(near)


def _evidence(fits: Path, given: Path, prefix: str, fault: str, issue: str, p_wrong: float, rng: random.Random) -> dict[str, Any]:
    products = rng.randrange(40, 400)
    with_fits = int(products * 0.9)
    names = [f"{rng.choice(BRANDS)} {name}" for name in rng.choices(LEAVES[fits][1], k=5)]
    nearest = [
        {"item_id": f"near-{rng.randrange(10**6):06d}", "title": name, "path": fits, "cosine": round(0.93 - 0.03 * place, 3)}
        for place, name in enumerate(names)
    ]
    views = [
        {"view": view, "given_p": round((1 - p_wrong) * rng.uniform(0.5, 1), 3), "path": fits, "p": round(0.4 + p_wrong / 2, 3)}
        for view in ("embedding", "words", "codes", "neighbours")
    ]
    return {
        "fault": fault,
        "reason": f"Of {products} products under {prefix}, {with_fits} are {fits[-1]} and {3 if p_wrong < 0.5 else 'none'} {given[-1]}.",
        "also": ["sparse_text"] if issue == "conflict" else [],
        "prefix": prefix,
        "prefix_products": products,
        "prefix_given": 3 if p_wrong < 0.5 else 0,
        "prefix_labels": [{"path": fits, "products": with_fits}, {"path": ("Beverages", "Tea"), "products": products - with_fits}],
        "nearest": nearest,
        "views": views,
        "margin": round(rng.random() * 0.2, 4),
        "missing": ["description", "brand"] if issue == "sparse_text" else [],
    }


def _categories(rows: list[dict[str, Any]]) -> pa.Table:
    expected: Counter[Path] = Counter()
    for row in rows:
        expected[row["given_path"]] += row["p_wrong"]
    table = []
    for path in sorted({*LEAVES, *expected}):
        wrong = expected[path]
        row = {"path": path, "products": 200, "expected_wrong": wrong, "wrong_low": 0.7 * wrong, "wrong_high": 1.4 * wrong}
        table.append({**row, "issue": None, "other_path": None, "score": None, "sentence": f"{wrong:.0f} of 200 are expected to be wrong"})
    overlap = {**table[0], "issue": "overlap", "other_path": table[1]["path"], "score": 0.4, "sentence": "These two hold the same products"}
    return pa.Table.from_pylist([*table, overlap], CATEGORIES)


def _manifest(rows: list[dict[str, Any]], release: str) -> AuditManifest:
    expected: Counter[str] = Counter()
    for row in rows:
        expected[row["given_path"][0]] += row["p_wrong"]
    counts = Counter(row["given_path"][0] for row in rows)
    departments = [
        DepartmentRecord(name=name, products=10 * n, findings=n, wrong=_about(expected[name])) for name, n in counts.most_common()
    ]
    return AuditManifest(
        audit="", created="2026-02-03T04:05:06Z", release=release, snapshot="catalog/planted", products=10 * len(rows),
        labelled=9 * len(rows), findings=len(rows), wrong=_about(sum(expected.values())), departments=tuple(departments),
        issues=dict(Counter(row["issue"] for row in rows)),
    )  # fmt: skip


def _about(wrong: float) -> WrongLabels:
    return WrongLabels(estimate=wrong, low=0.8 * wrong, high=1.25 * wrong)
