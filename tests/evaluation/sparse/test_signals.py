"""Signals of words and of margins."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.evaluation.sparse.signals import SIGNALS, margin_signals, text_signals


def test_signals_stand_in_the_order_of_their_names() -> None:
    table = pa.table({"title": ["Oat milk"], "description": pa.array([None], pa.string()), "brand": ["Brand"]})
    text = text_signals(table, np.array([3]), max_tokens=128)
    margins = margin_signals(np.array([[0.25, 0.5, 0.75]], np.float32))
    row = dict(zip(SIGNALS, np.concatenate([text, margins], axis=1)[0].tolist(), strict=True))
    assert row["description_words"] == 0
    assert row["brand"] == 1
    assert (row["margin_l1"], row["margin_l2"]) == (0.25, 0.5)
    assert row["read"] == pytest.approx(3 * 1.4 / 128, rel=1e-5)


def test_a_model_of_one_level_has_one_margin() -> None:
    assert margin_signals(np.array([[0.25]], np.float32)).tolist() == [[0.25, 0.25]]
