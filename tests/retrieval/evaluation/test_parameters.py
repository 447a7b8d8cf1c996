"""Embedding parameters."""

import pytest

from shelfcode.retrieval.evaluation.parameters import parameter_ratio


def test_products_against_codewords() -> None:
    ratio = parameter_ratio(100_000, [128, 128, 128, 128], scoring_width=64, generator_width=128, scoring_tables=2, generator_tables=2)
    assert (ratio.codewords, ratio.scoring_model, ratio.generator) == (512, 12_800_000, 131_072)
    assert ratio.ratio == pytest.approx(97.65625)


def test_from_some_catalog_size_on_the_published_ratio_holds() -> None:
    at = parameter_ratio(10, [100, 60], 48, 64, 1, 2).published_ratio_at
    before, then = (parameter_ratio(products, [100, 60], 48, 64, 1, 2).ratio for products in (at - 1, at))
    assert before < 125 <= then


def test_what_is_not_there_has_no_ratio() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        parameter_ratio(10, [], 64, 64)
