"""What a hit is worth: a list is in the order of the probability of each product times what it would be worth to have shown it.

By probability alone a list is what the user bought before and what everybody buys. A shop that wants new products to be found says what
one is worth to it, and pays for it in recall where that is dear, and nowhere else.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, K products of a list.

import numpy as np

from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.recipe import Worth
from shelfcode.retrieval.sharing import Sales


def by_worth(lists: Lists, contexts: Contexts, sales: Sales, worth: Worth) -> Lists:
    """The same products in the order of their worth. Scores are logarithms of probabilities up to a constant of a list, and stay that."""
    if worth.even:
        return lists
    products_RK, scores_RK = lists.products_RK.copy(), lists.scores_RK.copy()
    for row in range(len(lists)):
        product_C = products_RK[row][products_RK[row] >= 0]
        sold_C = sales.all_N[product_C]
        score_C = scores_RK[row, : len(product_C)] + (
            np.log(worth.new_to_user) * ~np.isin(product_C, contexts.history(row))
            + np.log(worth.seldom_sold) * ((sold_C > 0) & (sold_C <= sales.seldom))
            + np.log(worth.never_sold) * (sold_C == 0)
        )
        order = np.argsort(-score_C, kind="stable")
        products_RK[row, : len(order)], scores_RK[row, : len(order)] = product_C[order], score_C[order]
    return Lists(products_RK, scores_RK)
