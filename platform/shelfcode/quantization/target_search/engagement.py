"""Engagement: what customers take together, as what kinds of products have in common, so that products without history follow theirs.

A *group* is a set of products that were taken together: a basket, or the two products of a pair. A group of n products has
n (n - 1) / 2 pairs, and each weighs 1 / (n - 1), so that a product counts once for every group it is in, however large that is.

A *kind* is a set of products that are alike by content. Single products have too little history, and a frozen model that codes by content
could not learn them one by one. So engagement is counted between kinds, and pairs of kinds pull together by lift and by support:

    n_gh      = weight of the pairs of kinds g and h, both ways; n_g = sum_h n_gh, n = sum_g n_g
    excess_gh = (n_gh - CHANCES n_g n_h / n) r_g r_h = (n_g n_h / n) (lift_gh - CHANCES) r_g r_h,      r_g = n_g / (n_g + support)

This is modularity (Newman 2006) with a resolution of CHANCES: above 1 it makes codewords even in what is bought. r_g shrinks kinds
that are seldom bought. Pairs of a product with itself are no engagement and are never counted.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

CHANCES = 1.5
"""A pair of kinds pulls together from this lift on."""


@dataclass(frozen=True)
class Engagement:
    """R rows that say which products were taken together; a group has two products at least, and each once.

    Attributes:
        group_R: int64, dense from 0, rising.
        product_R: int64, position among the products that are trained on.
    """

    group_R: NDArray[np.int64]
    product_R: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.group_R)

    def of(self, positions_M: NDArray[np.integer], products: int) -> "Engagement":
        """The same of some of the products, at their new positions.

        Args:
            positions_M: where they were among all `products`.
        """
        place_N = np.full(products, -1)
        place_N[positions_M] = np.arange(len(positions_M))
        return engagement([(self.group_R, place_N[self.product_R])])

    def pack(self) -> bytes:
        """As an .npz file without pickles."""
        file = io.BytesIO()
        np.savez_compressed(file, group_R=self.group_R, product_R=self.product_R)
        return file.getvalue()


def unpack_engagement(data: bytes) -> Engagement:
    """Read what `Engagement.pack` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Engagement(arrays["group_R"], arrays["product_R"])


def engagement(sources: Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]]) -> Engagement:
    """Groups of several sources, each with numbers of its own: a group's number, and a product's position, of every row.

    Rows of position -1 are left out, a product counts once in a group, and a group of fewer than two products says nothing.
    """
    groups, products, before = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for group_R, product_R in sources:
        known_R = product_R >= 0
        groups.append(group_R[known_R].astype(np.int64) + before)
        products.append(product_R[known_R].astype(np.int64))
        before += int(group_R.max(initial=-1)) + 1
    count = 1 + max(int(each.max(initial=0)) for each in products)
    group_R, product_R = np.divmod(np.unique(np.concatenate(groups) * count + np.concatenate(products)), count)
    together_R = np.bincount(group_R, minlength=before)[group_R] > 1
    return Engagement(np.unique(group_R[together_R], return_inverse=True)[1].astype(np.int64), product_R[together_R])


def kinds_together(engaged: Engagement, kind_N: NDArray[np.integer], kinds: int) -> NDArray[np.float64]:
    """n_gh of every two of G kinds: float64[G, G], symmetric. Within a kind only pairs of different products count."""
    size_B = np.bincount(engaged.group_R)
    kind_R = kind_N[engaged.product_R]
    in_kind_BG = csr_matrix((np.ones(len(kind_R)), (engaged.group_R, kind_R)), shape=(len(size_B), kinds))
    weight_B = 1 / (size_B - 1).clip(min=1)
    together_GG: NDArray[np.float64] = (in_kind_BG.T @ diags(weight_B) @ in_kind_BG).toarray()
    itself_G = np.bincount(kind_R, weights=weight_B[engaged.group_R], minlength=kinds)
    together_GG[np.diag_indices(kinds)] -= itself_G
    return together_GG


def excess(together_GG: NDArray[np.float64], support: float) -> NDArray[np.float64]:
    """How much likelier than CHANCES times chance two kinds are taken together, in weight of pairs: float64[G, G], symmetric.

    Args:
        together_GG: n_gh, from `kinds_together`.
        support: n_g at which a kind counts half.
    """
    count_G = together_GG.sum(axis=1)
    chance_GG = np.outer(count_G, count_G) / max(count_G.sum(), 1.0)
    trust_G = trust(together_GG, support)
    return (together_GG - CHANCES * chance_GG) * np.outer(trust_G, trust_G)


def trust(together_GG: NDArray[np.float64], support: float) -> NDArray[np.float64]:
    """r_g, between 0 for a kind without history and 1: float64[G]."""
    count_G = together_GG.sum(axis=1)
    return np.divide(count_G, count_G + support, out=np.zeros_like(count_G), where=count_G > 0)


def popularity(engaged: Engagement, products: int) -> NDArray[np.float32]:
    """Groups that each product is in: float32[N]."""
    return np.bincount(engaged.product_R, minlength=products).astype(np.float32)
