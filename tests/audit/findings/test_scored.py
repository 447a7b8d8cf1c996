"""Scores as a table."""

from pathlib import Path

import numpy as np
from scored_products import scored

from shelfcode.audit.findings.scored import scored_products, scored_table
from shelfcode.workspace import Workspace


def test_scores_survive_a_file(tmp_path: Path) -> None:
    before = scored([0.9, np.nan], [0.1, 0.0], [[(3, 0.7), (1, 0.1)], [(0, 0.6), (2, 0.3)]], [[(5, 0.9), (-1, 0)], [(4, 0.8), (2, 0.7)]])
    workspace = Workspace(str(tmp_path))
    workspace.write_table("scores/part-0.parquet", scored_table(before))
    after = scored_products(workspace.read_table("scores/part-0.parquet"))
    for name in ("place_N", "margin_N", "title_key_N", "words_N", "popularity_N"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    for name in ("p_wrong_N", "score_N", "given_p_N", "best_leaf_NK", "best_p_NK", "nearest_NJ", "nearest_cosine_NJ"):
        np.testing.assert_array_equal(getattr(after.scores, name), getattr(before.scores, name))
        assert getattr(after.scores, name).dtype == getattr(before.scores, name).dtype
    (view,) = after.scores.views
    assert view.name == "all"
    np.testing.assert_array_equal(view.best_leaf_N, [3, 0])


def test_products_without_neighbours_or_suggestions_survive_it_too() -> None:
    after = scored_products(scored_table(scored([0.5], [0.5], [[(0, 0.5)]])))
    assert after.scores.nearest_NJ.shape == (1, 0)
