"""Drawings of what retrievers are worth."""

import numpy as np
import pytest

from shelfcode.retrieval.evaluation.parameters import parameter_ratio
from shelfcode.retrieval.evaluation.plots import parameter_plot


def test_the_lines_are_as_far_apart_as_the_ratio_says_where_it_is_marked() -> None:
    parameters = parameter_ratio(50_000, [128] * 4, 128, 128)
    scoring, generator = parameter_plot(parameters).data
    ratio_S = np.asarray(scoring.y) / np.asarray(generator.y)
    assert np.interp(parameters.published_ratio_at, scoring.x, ratio_S) == pytest.approx(125)
    marked = [shape.x0 for shape in parameter_plot(parameters).layout.shapes]
    assert marked == [50_000, parameters.published_ratio_at]
