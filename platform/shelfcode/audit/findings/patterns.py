"""Patterns: findings that say the same, so that one person can look at ten of them and decide all."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from shelfcode.audit.published_audit import PATTERNS
from shelfcode.catalog.cells.category_paths import name_key
from shelfcode.semantic_id import SEPARATOR

MOVES = frozenset({"wrong_branch", "wrong_leaf", "too_shallow", "placeholder", "conflict"})
"""Issues that end with another label. Only these make patterns: the others ask for a text, not for a path."""

RELABELS = MOVES - {"placeholder"}
"""Those of labels that say something and may be wrong."""

Path = tuple[str, ...]


@dataclass(frozen=True)
class Move:
    """What patterns want to know of a finding: that a product should go from one path to another.

    Attributes:
        prefix: of its semantic ID, the one that its evidence speaks of; "" for none.
    """

    finding_id: str
    given: Path
    suggested: Path
    brand: str
    prefix: str
    p_wrong: float


def moves(findings: pa.Table, p_min: float) -> Iterator[Move]:
    """The findings of a table (audit/finding.py: FINDINGS) that suggest another path with at least this probability of a wrong label."""
    for row in findings.select(["finding_id", "issue", "given_path", "suggested_paths", "brand", "p_wrong", "evidence"]).to_pylist():
        if row["issue"] in MOVES and row["suggested_paths"] and row["given_path"] and row["p_wrong"] >= p_min:
            given, suggested = tuple(row["given_path"]), tuple(row["suggested_paths"][0])
            prefix = row["evidence"]["prefix"] or ""
            yield Move(row["finding_id"], given, suggested, row["brand"] or "", prefix, row["p_wrong"])


def find_patterns(found: Iterable[Move], products_min: int = 3) -> pa.Table:
    """Patterns of at least `products_min` findings, as rows of PATTERNS: those with the most expected errors first.

    Of a pattern of a prefix that holds the same findings as the one of its two paths, only the latter is kept.
    """
    pairs: dict[tuple[str, ...], list[Move]] = defaultdict(list)
    brands: dict[tuple[str, ...], list[Move]] = defaultdict(list)
    prefixes: dict[tuple[str, ...], list[Move]] = defaultdict(list)
    for move in found:
        pair = (_key(move.given), _key(move.suggested))
        pairs[pair].append(move)
        if move.brand:
            brands[(name_key(move.brand), *pair)].append(move)
        if move.prefix:
            prefixes[(move.prefix, *pair)].append(move)
    rows = [_row("path_pair", group) for group in pairs.values() if len(group) >= products_min]
    rows += [_row("brand", group) for group in brands.values() if len(group) >= products_min]
    rows += [_row("prefix", group) for key, group in prefixes.items() if products_min <= len(group) < len(pairs[key[1:]])]
    rows.sort(key=lambda row: (-row["expected_wrong"], row["pattern_id"]))
    return pa.Table.from_pylist(rows, PATTERNS)


def _key(path: Path) -> str:
    return "\x1f".join(map(name_key, path))


def _row(kind: str, group: list[Move]) -> dict[str, Any]:
    group = sorted(group, key=lambda move: (-move.p_wrong, move.finding_id))
    first = group[0]
    brand, prefix = first.brand if kind == "brand" else None, first.prefix if kind == "prefix" else None
    whose = f" of brand {brand}" if brand else f" under {prefix}{SEPARATOR}*" if prefix else ""
    named = "\x1e".join([kind, "\x1f".join(first.given), "\x1f".join(first.suggested), brand or "", prefix or ""])
    return {
        "pattern_id": xxh3_128_hexdigest(named.encode("utf-8", "surrogatepass")),
        "kind": kind,
        "given_path": first.given,
        "suggested_path": first.suggested,
        "brand": brand,
        "prefix": prefix,
        "products": len(group),
        "expected_wrong": sum(move.p_wrong for move in group),
        "sentence": f"{len(group):,} products{whose}: {move_sentence(first.given, first.suggested)}",
        "finding_ids": [move.finding_id for move in group],
    }


def move_sentence(given: Path, suggested: Path) -> str:
    """`Candy -> Sports Nutrition`, or the whole paths where the last names are the same."""
    if name_key(given[-1]) == name_key(suggested[-1]):
        return f"{' > '.join(given)} -> {' > '.join(suggested)}"
    return f"{given[-1]} -> {suggested[-1]}"
