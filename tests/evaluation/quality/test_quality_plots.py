import numpy as np
import pytest

from shelfcode.evaluation.quality.codebook_health import codeword_counts
from shelfcode.evaluation.quality.hierarchy_map import hierarchy_map
from shelfcode.evaluation.quality.quality_plots import codeword_plot, map_plot, similarity_plot, taxonomy_alignment_plot
from shelfcode.reporting.plots import as_html

HOSTILE = "<b>x</b><script>alert('1')</script> & \"co\" %{label}"


def test_similarity_plot_has_a_curve_a_level_and_leaves_empty_bins_out(evaluation):
    similarity = evaluation.similarity_depth
    figure = similarity_plot(similarity, 3)
    filled = sum(part.pairs > 0 for part in similarity.bins)
    assert [len(trace.x) for trace in figure.data] == [filled] * 5
    assert figure.data[0].name == "agree down to L1"


@pytest.mark.parametrize("levels", [1, 5])
def test_codeword_plot_shows_unused_codewords(levels):
    codes_NL = np.random.default_rng(0).integers(0, 20, (500, levels))
    figure = codeword_plot(codeword_counts(codes_NL, (32,) * levels))
    assert len(figure.data) == levels
    assert [(trace.x[0], trace.x[-1]) for trace in figure.data] == [(0.5, 20.5)] * levels
    shaded = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(shape.x0, shape.x1) for shape in shaded] == [(20.5, 32.5)] * levels
    assert sum(note.text == "12 unused" for note in figure.layout.annotations) == levels


def test_codeword_plot_of_a_collapsed_level():
    figure = codeword_plot(codeword_counts(np.zeros((9, 1), dtype=int), (16,)))
    assert list(figure.data[0].x) == [0.5, 1.5]
    assert list(figure.data[0].y) == [16, 16]


def test_alignment_plot_follows_the_cells(evaluation):
    alignment = evaluation.taxonomy_alignment
    figure = taxonomy_alignment_plot(alignment, 3)
    assert figure.data[1].z[1][2] == alignment.at(2, "leaf").purity
    assert figure.data[0].x == ("depth 1", "depth 2", "leaf")


def test_titles_in_the_map_are_text_not_markup():
    nodes = hierarchy_map(np.zeros((3, 1), dtype=int), (2,))
    figure = map_plot(nodes, dict.fromkeys(range(3), HOSTILE), dict.fromkeys(range(3), "<i>leaf</i>"))
    trace = figure.data[0]
    shown = " ".join((*trace.labels, *trace.customdata))
    assert "&lt;b&gt;x&lt;/b&gt;&lt;script&gt;" in shown
    assert "<script" not in shown
    assert "<i>" not in shown
    assert "&lt;i&gt;leaf&lt;/i&gt;" in shown
    assert "%{" not in trace.hovertemplate.replace("%{customdata}", "")
    assert "<script>alert" not in as_html(figure, "map")
