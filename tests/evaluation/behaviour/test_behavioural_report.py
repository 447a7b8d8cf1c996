"""What a reader is shown of behavioural alignment."""

import pytest

from shelfcode.evaluation.behaviour.behavioural_alignment import (
    BehaviouralAlignment,
    BehaviouralComparison,
    DepthLift,
    DepthRatio,
    LiftRatio,
    RelationLifts,
)
from shelfcode.evaluation.behaviour.behavioural_report import (
    behavioural_notes,
    lift_columns,
    lift_contrasts,
    lift_plot,
    lift_rows,
    ratio_columns,
    ratio_rows,
)


def alignment_of(**figures) -> BehaviouralAlignment:
    depth = DepthLift(depth=1, **{"share": 0.5, "chance": 0.05, "lift": 10.0, "lift_low": 8.123, "lift_high": 123.4, **figures})
    relation = RelationLifts(
        relation="swap", ordered=True, pairs=1200, pairs_there=1200, groups=30, unknown_items=0, unknown_rows=0, depths=(depth,)
    )
    return BehaviouralAlignment(
        products=9, seed=0, resamples=500, pairs_from="", passed_over=(), incomplete_rows=0, relations=(relation,)
    )  # fmt: skip


def test_a_row_shows_the_digits_that_matter():
    (row,) = lift_rows(alignment_of())
    assert (row.relation, row.depth, row.share, row.chance, row.lift, row.interval, row.note) == (
        "swap", 1, "50.0%", "5.00%", "10.0", "8.12 to 123", ""
    )  # fmt: skip
    assert [row.chance for value in (0.0, 0.00123, 0.000045) for row in lift_rows(alignment_of(chance=value))] == [
        "0.0%",
        "0.12%",
        "0.0045%",
    ]
    assert [row.lift for value in (0.0, 1.234, 12345.6) for row in lift_rows(alignment_of(lift=value))] == ["0.00", "1.23", "12,346"]


def test_what_is_undefined_says_why_once():
    why = "chance is 0: no two products"
    (row,) = lift_rows(alignment_of(lift=None, lift_low=None, lift_high=None, undefined=dict.fromkeys(("lift", "lift_low"), why)))
    assert (row.lift, row.interval, row.note) == ("not defined", "", why)
    assert lift_columns(alignment_of(lift_low=None, lift_high=None, undefined={"lift_low": why}))["95% interval"] == {"swap L1": why}


def test_columns_have_a_row_a_relation_and_depth(compared: BehaviouralComparison):
    places = [f"{relation} L{depth}" for relation in ("substitute", "<i>never</i>") for depth in (1, 2, 3)]
    assert {name: list(column) for name, column in lift_columns(compared.a).items()} == dict.fromkeys(
        ("share", "chance", "lift", "95% interval"), places
    )
    columns = ratio_columns(compared, ("precision@v0001", "discovery@v0001"))
    assert {name: list(column) for name, column in columns.items()} == dict.fromkeys(
        ("precision@v0001", "discovery@v0001", "ratio"), places
    )
    assert lift_columns(compared.a)["share"]["substitute L1"] == "100.0%"


def test_a_ratio_stands_apart_where_its_interval_leaves_out_1(compared: BehaviouralComparison):
    rows = {(row.relation, row.depth): row for row in ratio_rows(compared)}
    first = compared.ratios[0].depths[0]
    assert first.ratio_low > 1
    assert rows["substitute", 1].apart
    assert rows["substitute", 1].ratio == f"{first.ratio:.2f} [{first.ratio_low:.2f} to {first.ratio_high:.2f}]"
    assert not rows["<i>never</i>", 1].apart
    assert rows["<i>never</i>", 1].note == "there are no pairs"
    same = BehaviouralComparison(
        a=compared.b, b=compared.b, ratios=(compared.ratios[0].model_copy(update={"depths": (first.model_copy(
            update={"ratio_low": 0.9}),)}), compared.ratios[1])
    )  # fmt: skip
    assert not ratio_rows(same)[0].apart


def ratio_of(relation: str, ratio: float | None, low: float | None = None, high: float | None = None) -> LiftRatio:
    first = DepthRatio(depth=1, lift_a=ratio, lift_b=1.0, ratio=ratio, ratio_low=low, ratio_high=high)
    return LiftRatio(relation=relation, pairs=9, groups=9, depths=(first, first.model_copy(update={"depth": 2, "ratio": 7.0})))


def test_first_codewords_tell_two_releases_apart_where_the_interval_does():
    ratios = [ratio_of("substitute", 0.8, 0.7, 0.9), ratio_of("query_EE", 3.0, 2.0, 4.0), ratio_of("complement", 1.2, 0.9, 1.5),
              ratio_of("same_basket", 1.5, 1.2, 2.0)]  # fmt: skip
    contrasts = lift_contrasts(ratios, ("discovery", "precision"))
    assert [(each.name, each.lifts, each.text, each.verdict) for each in contrasts] == [
        ("Products of one basket", ("1.50", "1.00"), "1.50 [1.20 to 2.00]", "discovery"),
        ("Complements", ("1.20", "1.00"), "1.20 [0.90 to 1.50]", None),
        ("Substitutes", ("0.80", "1.00"), "0.80 [0.70 to 0.90]", "precision"),
    ]
    (other,) = lift_contrasts([ratio_of("query_EE", None)], ("discovery", "precision"))
    assert (other.name, other.value, other.text, other.verdict) == ("query_EE", None, "not defined", None)


def test_lift_plot_has_a_line_a_relation_with_its_intervals(compared):
    lifts = compared.a.relations[0].depths
    figure = lift_plot(compared.a)
    drawn, empty = figure.data
    assert list(drawn.y) == [depth.lift for depth in lifts]
    assert list(drawn.error_y.array) == [depth.lift_high - depth.lift for depth in lifts]
    assert list(drawn.error_y.arrayminus) == [depth.lift - depth.lift_low for depth in lifts]
    assert len(empty.x) == 0
    assert empty.name == "&lt;i&gt;never&lt;/i&gt;"
    assert figure.layout.yaxis.type == "log"


def test_a_lift_of_0_or_without_an_interval_is_drawn_as_far_as_it_goes(compared):
    first, second, third = compared.a.relations[0].depths
    depths = (first.model_copy(update={"lift_low": None, "lift_high": None}), second.model_copy(update={"lift": 0.0}), third)
    relation = compared.a.relations[0].model_copy(update={"depths": depths})
    (trace,) = lift_plot(compared.a.model_copy(update={"relations": (relation,)})).data
    assert list(trace.x) == [1, 3]
    assert (trace.error_y.array[0], trace.error_y.arrayminus[0]) == (0, 0)


def test_notes_count_what_was_left_out(compared: BehaviouralComparison):
    relation = compared.a.relations[0]
    assert behavioural_notes(compared.a) == [
        f"substitute: {relation.pairs} pairs, drawn from 9,000, of {relation.groups} groups; "
        "3 item_ids are not coded, the 5 rows with them are left out",
        "<i>never</i>: 0 pairs, of 0 groups",
        "left out for lack of a value: 7 rows",
        "passed over, without the columns of a relation: misfiled, <b>attributes</b>",
    ]
    assert behavioural_notes(alignment_of()) == ["swap: 1,200 pairs, of 30 groups"]


@pytest.mark.parametrize("model", [BehaviouralAlignment, BehaviouralComparison])
def test_figures_survive_json(compared: BehaviouralComparison, model):
    figures = compared.a if model is BehaviouralAlignment else compared
    assert model.model_validate_json(figures.model_dump_json()) == figures
