"""By which products are alike to a model: vectors of unit length, computed for those that are asked of.

Few are ever asked of at once: the candidates of a request and what stands in its cart. All of them together would take half a gigabyte for
a million products, while the tables of codewords that they are sums of take one megabyte. Of a small catalog, they are summed up once.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, L levels, K codewords, D width, C some of the products.

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.retrieval.fitting import RetrieverModel
from shelfcode.retrieval.generator import Generator

SUMMED_BYTES = 64 * 2**20
"""Of the vectors of a catalog that are computed once and kept."""

BYTES_A_NUMBER = 4
LEAST_LENGTH = 1e-12
"""What is shorter than this is divided by this, so that a vector of zeros stays one."""


@dataclass(frozen=True)
class ProductVectors:
    """A product's vector is a row of one table, or the sum of a row of each of several.

    Attributes:
        table_LKD: float32[K, D] each.
        row_NL: the row of each product in each table; None where there is one table, with a row a product.
        by_codes: whether products of one semantic ID have one vector.
        unit: whether the rows are of unit length already.
    """

    table_LKD: tuple[NDArray[np.float32], ...]
    row_NL: NDArray[np.integer] | None = None
    by_codes: bool = False
    unit: bool = False

    def of(self, product_C: NDArray[np.integer]) -> NDArray[np.float32]:
        """Vectors of some products, of unit length: float32[C, D]."""
        if self.row_NL is None:
            vector_CD = self.table_LKD[0].take(product_C, axis=0)
            if self.unit:
                return vector_CD
        else:
            row_LC = self.row_NL[product_C].T.astype(np.intp)  # once, and not in each of the calls below
            vector_CD = self.table_LKD[0].take(row_LC[0], axis=0)
            added_CD = np.empty_like(vector_CD)
            for table_KD, row_C in zip(self.table_LKD[1:], row_LC[1:], strict=True):
                vector_CD += table_KD.take(row_C, axis=0, out=added_CD, mode="clip")  # which, unlike "raise", writes into `out` directly
        length_C = np.sqrt(np.einsum("cd,cd->c", vector_CD, vector_CD))
        vector_CD /= np.maximum(length_C, LEAST_LENGTH)[:, None]
        return vector_CD


@torch.inference_mode()
def product_vectors(model: RetrieverModel, codes_NL: NDArray[np.integer]) -> ProductVectors:
    """Those of a model's products.

    Args:
        codes_NL: of the products; one that scores products does without.
    """
    if isinstance(model, Generator):
        tables = [model.codeword_table(level) for level in range(len(model.sizes))]
        summed = ProductVectors(tuple(table_KD.float().cpu().numpy() for table_KD in tables), codes_NL, by_codes=True)
        if len(codes_NL) * tables[0].shape[1] * BYTES_A_NUMBER > SUMMED_BYTES:
            return summed
        return ProductVectors((summed.of(np.arange(len(codes_NL))),), by_codes=True, unit=True)
    return ProductVectors((model.product.weight.float().cpu().numpy(),))
