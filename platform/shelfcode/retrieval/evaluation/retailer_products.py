"""Which products may be answered at a retailer."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here M retailers, A products of one retailer after the other.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.retrieval.evaluation.cases import rows_of
from shelfcode.retrieval.evaluation.training_counts import TrainingCounts


@dataclass(frozen=True)
class RetailerProducts:
    """The products that each of M retailers may be answered with, as places in an assortment of N products.

    Attributes:
        first_M, product_A: int64[M + 1] and int32: those of each retailer, ascending.
        everywhere_N: bool, those allowed at every retailer, listed or not.
    """

    first_M: NDArray[np.int64]
    product_A: NDArray[np.int32]
    everywhere_N: NDArray[np.bool_]

    def at(self, retailer: int) -> NDArray[np.int32]:
        """The products of one retailer, int32, ascending; all there are where the retailer is not known.

        One beyond the M retailers has what is allowed everywhere.
        """
        if retailer < 0:
            return np.arange(len(self.everywhere_N), dtype=np.int32)
        allowed_N = self.everywhere_N.copy()
        if retailer < len(self.first_M) - 1:
            allowed_N[self.product_A[self.first_M[retailer] : self.first_M[retailer + 1]]] = True
        return np.flatnonzero(allowed_N).astype(np.int32)

    def holds(self, retailer_R: NDArray[np.integer], products_RK: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each product is allowed at the retailer of its row: bool[R, K]; -1 is no product, and so not allowed."""
        products = len(self.everywhere_N)
        pair_A = rows_of(self.first_M) * products + self.product_A
        pair_RK = np.maximum(retailer_R, 0)[:, None].astype(np.int64) * products + products_RK
        listed_RK = np.isin(pair_RK, pair_A) | (retailer_R < 0)[:, None] | self.everywhere_N[products_RK]
        return listed_RK & (products_RK >= 0)


def everything_allowed(products: int) -> RetailerProducts:
    """No retailer forbids anything."""
    return RetailerProducts(np.zeros(1, np.int64), np.empty(0, np.int32), np.ones(products, bool))


def sold_there_or_new(sales: TrainingCounts) -> RetailerProducts:
    """What each retailer sold, and what nobody ever sold: new products. Without retailers, everything."""
    if not sales.retailer_MN.nnz:
        return everything_allowed(sales.products)
    sold_MN = sales.retailer_MN
    sold_MN.sort_indices()
    return RetailerProducts(sold_MN.indptr.astype(np.int64), sold_MN.indices.astype(np.int32), sales.sold_N == 0)
