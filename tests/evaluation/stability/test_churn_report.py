import numpy as np
import pytest

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.evaluation.stability.churn import MOVERS, measure_churn
from shelfcode.evaluation.stability.churn_report import DEPARTMENTS_DRAWN, changed_plot, churn_plots, kept_plot, moves_plot

HOSTILE = "<b>x</b><script>alert('1')</script>"

OLD_NL = np.array([[6, 0]] * 20 + [[2, 0]] * 10)
NEW_NL = np.array([[6, 0]] * 15 + [[6, 1]] * 5 + [[2, 0]] * 4 + [[6, 0]] * 6)


@pytest.fixture
def churn():
    return measure_churn(OLD_NL, NEW_NL, "precision@v0001", 0, 0, taxonomy_from_paths([[HOSTILE]] * 20 + [["bread"]] * 10))


def test_kept_plot_has_a_bar_a_level(churn):
    (bars,) = kept_plot(churn).data
    assert list(bars.y) == pytest.approx([24 / 30, 19 / 30])
    assert list(bars.text) == ["80.0%", "63.3%"]


def test_changed_plot_has_a_group_for_all_and_for_each_department_and_a_bar_a_level(churn):
    figure = changed_plot(churn)
    assert [trace.name for trace in figure.data] == ["L1", "L2"]
    assert list(figure.data[0].y) == pytest.approx([0.2, 0, 0.6])
    assert list(figure.data[1].y) == pytest.approx([11 / 30, 0.25, 0.6])
    assert [figure.layout.xaxis.ticktext[place] for place in (0, 2)] == ["all products", "bread"]
    assert figure.data[0].customdata[2] == "bread: L1 changed for 60.0% of 10"


def test_of_many_departments_the_largest_are_drawn_and_names_that_begin_alike_stay_apart():
    names = [f"a department with a very long name, of which this is number {number}" for number in range(40)]
    churn = measure_churn(np.zeros((40, 1), int), np.zeros((40, 1), int), "a", 0, 0, taxonomy_from_paths([[name] for name in names]))
    figure = changed_plot(churn)
    assert list(figure.data[0].x) == list(range(1 + DEPARTMENTS_DRAWN))
    assert len(set(figure.layout.xaxis.ticktext[1:])) == 1


def test_moves_plot_has_a_row_an_old_codeword_that_adds_up_to_one(churn):
    figure = moves_plot(churn.moves)
    (heat,) = figure.data
    assert [list(row) for row in heat.z] == [[1.0, None], [0.6, 0.4]]
    assert heat.customdata[1][0] == "6 of the 10 products of codeword 2<br>are now of codeword 6 (60.0%)"
    assert [text.split()[0] for text in figure.layout.yaxis.ticktext] == ["6", "2"]
    assert figure.layout.yaxis.ticktext[1] == "2 bread"


def test_moves_plot_is_bounded_and_lacks_what_no_product_has():
    rng = np.random.default_rng(0)
    old_NL, new_NL = (rng.integers(0, 65536, (50_000, 1)) for _ in range(2))
    (heat,) = moves_plot(measure_churn(old_NL, new_NL, "a", 0, 0).moves).data
    assert max(len(heat.z), len(heat.z[0])) <= MOVERS + 1
    figure = moves_plot(measure_churn(np.array([[0]] * 9), np.array([[1]] * 9), "a", 0, 0).moves)
    assert [list(row) for row in figure.data[0].z] == [[1.0]]
    assert (figure.layout.yaxis.ticktext, figure.layout.xaxis.ticktext) == (("0",), ("1",))


def test_names_of_departments_are_text_not_markup(churn):
    plots = churn_plots(churn)
    assert list(plots) == ["kept", "changed", "moves"]
    changed, moves = changed_plot(churn), moves_plot(churn.moves)
    shown = [*changed.layout.xaxis.ticktext, *changed.data[0].customdata, *moves.layout.yaxis.ticktext]
    assert any("&lt;b&gt;x&lt;/b&gt;" in text for text in shown)
    assert not any("<b>" in text or "<script" in text for text in shown)
    assert not any("<script>alert" in plot for plot in plots.values())


def test_without_a_common_product_there_is_nothing_to_draw():
    assert churn_plots(measure_churn(OLD_NL[:0], NEW_NL[:0], "a", 1, 1)) == {}
