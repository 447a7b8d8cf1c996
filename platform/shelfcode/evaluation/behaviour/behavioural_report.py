"""Behavioural alignment as a reader wants it: rows and notes, the same on the screen and in the pages, and a plot of the lifts."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from shelfcode.evaluation.behaviour.behavioural_alignment import (
    BehaviouralAlignment,
    BehaviouralComparison,
    DepthLift,
    DepthRatio,
    LiftRatio,
)
from shelfcode.reporting.plots import LINES, SOFT, shorten, style
from shelfcode.reporting.tables import interval_text, rare_share_text, ratio_text, ratio_with_interval

_TELLING = {"same_basket": "Products of one basket", "complement": "Complements", "substitute": "Substitutes"}
"""Relations that tell flavors apart, with their names for a reader: what goes together, and what can stand in for what."""


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


@dataclass(frozen=True)
class LiftContrast:
    """How far one relation tells two releases apart by their first codewords.

    Attributes:
        relation: its name.
        name: its name for a reader.
        lifts: of the two releases, as text.
        value: the first lift over the second; None where it is undefined.
        text: the value with its 95% interval.
        verdict: name of the release with the higher lift; None where the interval does not tell the two apart.
    """

    relation: str
    name: str
    lifts: tuple[str, str]
    value: float | None
    text: str
    verdict: str | None


def lift_rows(alignment: BehaviouralAlignment) -> list[LiftRow]:
    """One row per relation and depth."""
    return [
        LiftRow(
            relation.relation, depth.depth, rare_share_text(depth.share), rare_share_text(depth.chance), ratio_text(depth.lift),
            interval_text(depth.lift_low, depth.lift_high), _why(depth),
        )
        for relation in alignment.relations
        for depth in relation.depths
    ]  # fmt: skip


def ratio_rows(comparison: BehaviouralComparison) -> list[RatioRow]:
    """One row per relation and depth that both releases have."""
    return [
        RatioRow(
            ratio.relation, both.depth, _lift(in_a), _lift(in_b), ratio_with_interval(both.ratio, both.ratio_low, both.ratio_high),
            both.apart, _why(both),
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


def ratio_columns(comparison: BehaviouralComparison, names: tuple[str, str]) -> dict[str, dict[str, str]]:
    """The rows as columns for the screen."""
    rows = ratio_rows(comparison)
    return {
        names[0]: {_place(row.relation, row.depth): row.a for row in rows},
        names[1]: {_place(row.relation, row.depth): row.b for row in rows},
        "ratio": {_place(row.relation, row.depth): row.ratio for row in rows},
    }


def lift_contrasts(ratios: Sequence[LiftRatio], names: tuple[str, str], most: int = 3) -> list[LiftContrast]:
    """The few behavioural figures that tell two releases apart at first sight.

    First codewords only: pairs of nearly every relation share some, while further down a lift is often undefined.

    Args:
        ratios: of a comparison. Baskets, complements and substitutes come first, other relations follow as they stand.
        names: of the two releases.
        most: contrasts that are wanted.
    """
    place_of = {relation: place for place, relation in enumerate(_TELLING)}
    contrasts = []
    for ratio in sorted(ratios, key=lambda each: place_of.get(each.relation, len(place_of)))[:most]:
        first = ratio.depths[0]
        ahead = names[0 if (first.ratio or 0) > 1 else 1] if first.apart else None
        text = ratio_with_interval(first.ratio, first.ratio_low, first.ratio_high)
        lifts = (ratio_text(first.lift_a), ratio_text(first.lift_b))
        contrasts.append(LiftContrast(ratio.relation, _TELLING.get(ratio.relation, ratio.relation), lifts, first.ratio, text, ahead))
    return contrasts


def behavioural_notes(alignment: BehaviouralAlignment) -> list[str]:
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


def lift_plot(alignment: BehaviouralAlignment) -> go.Figure:
    """Lift of each relation by depth, with its interval. An undefined lift is left out, and so is 0, which has no place on the axis."""
    figure = go.Figure()
    relations = len(alignment.relations)
    for number, relation in enumerate(alignment.relations):
        drawn = [depth for depth in relation.depths if depth.lift]
        figure.add_scatter(
            # Side by side around their depth: otherwise the intervals would hide each other.
            x=[depth.depth + (number - (relations - 1) / 2) * 0.4 / relations for depth in drawn],
            y=[depth.lift for depth in drawn],
            error_y=_error_bars(drawn),
            name=html.escape(shorten(relation.relation, 40)),
            customdata=[f"{html.escape(relation.relation)}, L{depth.depth}: {depth.lift:,.2f} x chance" for depth in drawn],
            mode="lines+markers",
            line={"color": LINES[number % len(LINES)], "width": 2},
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.add_hline(y=1, line={"color": SOFT, "dash": "dot", "width": 1})
    style(figure, 420)
    levels = max((len(relation.depths) for relation in alignment.relations), default=1)
    figure.update_yaxes(title_text="lift over chance", type="log", dtick=1)
    figure.update_xaxes(
        tickvals=list(range(1, levels + 1)), ticktext=[f"L{depth}" for depth in range(1, levels + 1)], range=[0.6, levels + 0.4]
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, showlegend=True)
    return figure


def _place(relation: str, depth: int) -> str:
    return f"{relation} L{depth}"


def _lift(depth: DepthLift) -> str:
    return ratio_with_interval(depth.lift, depth.lift_low, depth.lift_high)


def _why(depth: DepthLift | DepthRatio) -> str:
    """Why figures of this depth are undefined; empty where none is."""
    return "; ".join(dict.fromkeys(depth.undefined.values()))


def _error_bars(depths: Sequence[DepthLift]) -> dict[str, Any]:
    """From each lift to the ends of its interval; nothing where it has none."""
    up = [(depth.lift_high or 0.0) - (depth.lift or 0.0) for depth in depths]
    down = [0.0 if depth.lift_low is None else (depth.lift or 0.0) - depth.lift_low for depth in depths]
    lengths = {"array": [max(part, 0.0) for part in up], "arrayminus": [max(part, 0.0) for part in down]}
    return {"type": "data", "symmetric": False, **lengths, "thickness": 1.2, "width": 4}
