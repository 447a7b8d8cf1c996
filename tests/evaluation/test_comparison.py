import numpy as np
import pytest

from shelfcode.evaluation.behaviour.behavioural_report import ratio_rows
from shelfcode.evaluation.comparison import compare, comparison_columns, comparison_html
from shelfcode.evaluation.quality.evaluate import evaluate, headline
from shelfcode.evaluation.stability.churn import measure_churn

NAMES = ("precision@v0001", "discovery@v0002")


@pytest.fixture(scope="module")
def bad(clustered):
    shuffled = np.random.default_rng(0).permutation(clustered.codes_NL)
    shuffled[:500, 0] = 0
    return evaluate(clustered.x_ND, shuffled, clustered.sizes, clustered.taxonomy)


def test_the_better_one_is_named_whichever_way_round(evaluation, bad):
    rows = {row.figure: row for row in compare(evaluation, bad, NAMES)}
    swapped = {row.figure: row for row in compare(bad, evaluation, NAMES)}
    assert list(rows) == list(headline(evaluation))
    for figure in ("similarity_depth_spearman", "share_at_l1_cosine_90", "ami_l1_top", "l1_largest_over_even", "unlike_collision_share"):
        assert rows[figure].better == NAMES[0]
        assert swapped[figure].better == NAMES[1]
        assert rows[figure].difference == pytest.approx(headline(bad)[figure] - headline(evaluation)[figure])
    assert rows["l1_largest_over_even"].difference > 0
    assert rows["unlike_collision_share"].difference > 0
    assert rows["spearman_low"].better is None


def test_equal_and_overlapping_figures_have_no_winner(evaluation, other_seed):
    rows = {row.figure: row for row in compare(evaluation, other_seed, NAMES)}
    assert rows["similarity_depth_spearman"].difference != 0
    assert rows["similarity_depth_spearman"].better is None
    assert rows["distinct_share"].better is None


def test_columns_have_a_cell_for_each_figure_under_its_label(evaluation, bad):
    rows = compare(evaluation, bad, NAMES)
    columns = comparison_columns(rows, NAMES)
    assert list(columns) == [*NAMES, "difference", "better"]
    assert all(list(cells) == [row.guide.label for row in rows] for cells in columns.values())
    first = rows[0]
    assert [cells[first.guide.label] for cells in columns.values()] == [first.a, first.b, first.difference, first.better]


def test_a_figure_that_one_lacks_has_no_difference(clustered, evaluation):
    shallow = evaluate(clustered.x_ND, clustered.codes_NL[:, :1], clustered.sizes[:1], None)
    for rows in (compare(evaluation, shallow, NAMES), compare(shallow, evaluation, NAMES)):
        assert [row.figure for row in rows] == list(headline(evaluation))
        third = next(row for row in rows if row.figure == "share_at_l3_cosine_90")
        assert (third.a is None) != (third.b is None)
        assert (third.difference, third.better) == (None, None)


def test_the_page_has_both_curves_and_escapes_names(evaluation, bad):
    html = comparison_html(evaluation, bad, ("<b>a</b>", "b & c"), title="<script>alert(1)</script>")
    assert len(html) < 60_000
    assert html.count("<polyline") == 2
    assert html.count("<circle") == sum(part.pairs > 0 for each in (evaluation, bad) for part in each.similarity_depth.bins)
    assert "<script" not in html
    assert "<b>a" not in html
    assert "&lt;b&gt;a&lt;/b&gt;" in html
    assert "src=" not in html


def test_lifts_stand_side_by_side_with_their_ratio(evaluation, bad, compared):
    assert "Behavioural alignment" not in comparison_html(evaluation, bad, NAMES)
    html = comparison_html(evaluation, bad, NAMES, behaviour=compared)
    row = ratio_rows(compared)[0]
    assert row.apart
    assert f'<td class="number">{row.a}</td><td class="number">{row.b}</td>' in html
    assert f'<td class="number better">{row.ratio}</td>' in html
    assert "&lt;i&gt;never&lt;/i&gt;" in html
    assert "<i>" not in html


def test_an_undefined_figure_shows_as_such(clustered, evaluation):
    collapsed = evaluate(clustered.x_ND, np.zeros_like(clustered.codes_NL), clustered.sizes, None)
    assert "not defined" in comparison_html(evaluation, collapsed, NAMES)


def test_what_changed_stands_below_the_figures_where_it_is_known(clustered, evaluation, bad):
    churn = measure_churn(
        np.random.default_rng(0).permutation(clustered.codes_NL), clustered.codes_NL, "<b>old</b>", 0, 0, clustered.taxonomy
    )
    html = comparison_html(evaluation, bad, NAMES, churn=churn)
    assert "Stability" not in comparison_html(evaluation, bad, NAMES)
    assert f"down to L1 for {churn.changed[0]:.1%}" in html
    assert html.index("<h2>Figures") < html.index("<h2>Stability")
    assert 'id="plot-moves"' in html
    assert "&lt;b&gt;old&lt;/b&gt;" in html
    assert "<b>old" not in html
    assert "<script src" not in html
