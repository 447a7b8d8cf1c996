"""Vectors by which products are alike, computed for some products at a time."""

import numpy as np
import pytest
import torch
from small_log import PRODUCTS, small_codes, small_log, small_recipe
from small_retriever import small_retriever
from torch.nn import functional

from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.product_vectors import ProductVectors, product_vectors


def test_a_generators_products_are_sums_of_codewords_of_unit_length() -> None:
    model = small_retriever("generator", small_recipe(), small_log(ordered=False), loudness=0.3).model
    assert isinstance(model, Generator)
    product_C = np.array([7, 0, PRODUCTS - 1, 7])
    with torch.no_grad():
        expected = functional.normalize(model.product_vectors(torch.from_numpy(product_C)), dim=1)
    found = product_vectors(model, small_codes()).of(product_C)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_scoring_models_products_have_a_row_each() -> None:
    model = small_retriever("cr", small_recipe(), small_log(ordered=False)).model
    assert not isinstance(model, Generator)
    before = model.product.weight.detach().clone()
    found = product_vectors(model, small_codes()).of(np.array([3, 1]))
    np.testing.assert_allclose(found, functional.normalize(before[[3, 1]], dim=1), atol=1e-6)
    torch.testing.assert_close(model.product.weight.detach(), before)  # nothing was changed in place


@pytest.mark.parametrize("count", [0, 2])
def test_what_has_no_length_stays_so(count: int) -> None:
    vectors = ProductVectors((np.zeros((4, 3), np.float32),))
    assert vectors.of(np.zeros(count, np.int32)).tolist() == [[0.0] * 3] * count
