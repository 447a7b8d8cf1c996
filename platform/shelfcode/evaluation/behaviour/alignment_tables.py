"""Behavioural alignment as a reader wants it: rows and notes, the same on the screen and in the pages."""

from dataclasses import dataclass

from shelfcode.evaluation.behaviour.behavioural_alignment import AlignmentComparison, BehaviouralAlignment, DepthLift, DepthRatio


@dataclass(frozen=True)
class LiftRow:
    """One relation at one depth, as text."""

    relation: str
    depth: int
    share: str
    chance: str
    lift: str
    interval: str
    note: str


@dataclass(frozen=True)
class RatioRow:
    """One relation at one depth under two sets of codes, as text; `apart` where the ratio's interval leaves out 1."""

    relation: str
    depth: int
    a: str
    b: str
    ratio: str
    apart: bool
    note: str


def lift_rows(alignment: BehaviouralAlignment) -> list[LiftRow]:
    """A row a relation and depth."""
    return [
        LiftRow(
            relation.relation, depth.depth, _share(depth.share), _share(depth.chance), _factor(depth.lift),
            _interval(depth.lift_low, depth.lift_high), _why(depth),
        )
        for relation in alignment.relations
        for depth in relation.depths
    ]  # fmt: skip


def ratio_rows(comparison: AlignmentComparison) -> list[RatioRow]:
    """A row a relation and depth that both have."""
    return [
        RatioRow(
            ratio.relation, both.depth, _lift(in_a), _lift(in_b), _with_interval(both.ratio, both.ratio_low, both.ratio_high),
            both.ratio_low is not None and both.ratio_high is not None and not both.ratio_low <= 1 <= both.ratio_high, _why(both),
        )
        for relation_a, relation_b, ratio in zip(comparison.a.relations, comparison.b.relations, comparison.ratios, strict=True)
        for in_a, in_b, both in zip(relation_a.depths, relation_b.depths, ratio.depths, strict=False)
    ]  # fmt: skip


def lift_columns(alignment: BehaviouralAlignment) -> dict[str, dict[str, str]]:
    """The rows as columns for the screen."""
    rows = {_place(row.relation, row.depth): row for row in lift_rows(alignment)}
    return {
        "share": {place: row.share for place, row in rows.items()},
        "chance": {place: row.chance for place, row in rows.items()},
        "lift": {place: row.lift for place, row in rows.items()},
        "95% interval": {place: row.interval or row.note for place, row in rows.items()},
    }


def ratio_columns(comparison: AlignmentComparison, names: tuple[str, str]) -> dict[str, dict[str, str]]:
    """The rows as columns for the screen."""
    rows = ratio_rows(comparison)
    return {
        names[0]: {_place(row.relation, row.depth): row.a for row in rows},
        names[1]: {_place(row.relation, row.depth): row.b for row in rows},
        "ratio": {_place(row.relation, row.depth): row.ratio for row in rows},
    }


def alignment_notes(alignment: BehaviouralAlignment) -> list[str]:
    """What the pairs are, and what was left out of them."""
    notes = []
    for relation in alignment.relations:
        drawn = f", drawn from {relation.pairs_there:,}" if relation.pairs_there > relation.pairs else ""
        note = f"{relation.relation}: {relation.pairs:,} pairs{drawn}, of {relation.groups:,} groups"
        if relation.unknown_items:
            note += f"; {relation.unknown_items:,} item_ids are not coded, the {relation.unknown_rows:,} rows with them are left out"
        notes.append(note)
    if alignment.incomplete_rows:
        notes.append(f"left out for lack of a value: {alignment.incomplete_rows:,} rows")
    if alignment.passed_over:
        notes.append(f"passed over, without the columns of a relation: {', '.join(alignment.passed_over)}")
    return notes


def _place(relation: str, depth: int) -> str:
    return f"{relation} L{depth}"


def _share(value: float | None) -> str:
    """In percent; rare ones with the digits that tell them apart."""
    if value is None:
        return "not defined"
    return f"{value:.1%}" if value >= 0.1 or not value else f"{value:.2%}" if value >= 0.001 else f"{100 * value:.2g}%"


def _factor(value: float | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_factor(low)} to {_factor(high)}"


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    interval = _interval(low, high)
    return _factor(value) + (f" [{interval}]" if interval else "")


def _lift(depth: DepthLift) -> str:
    return _with_interval(depth.lift, depth.lift_low, depth.lift_high)


def _why(depth: DepthLift | DepthRatio) -> str:
    """Why something of it is undefined, "" where nothing is."""
    return "; ".join(dict.fromkeys(depth.undefined.values()))
