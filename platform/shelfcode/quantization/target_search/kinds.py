"""Kinds of products, and a search that moves whole kinds between the codewords of the first level.

No product would leave its neighbours for another codeword, though all of them together were better off there: the first to go would lose
by it. So kinds of products that are alike go as a whole, where the gains of their pairs ask for it in sum, and their engagement where that
is known:

    worth_gh = sum_{i in g, j in h} s_ij / N  +  KINDS_WEIGHT weight r excess_gh / sum |excess|

over pairs' shares s_ij of their products' gains, and with r the mean of r_g (engagement.py) over products: little history moves little.
Engagement needs it most: kinds that are taken together are mostly unlike (bread and cheese).

The search starts at the codes of k-means, each kind at the codeword that most of it has, and a kind in turn takes the codeword at which the
kinds there are worth most to it, until none would move. After it products move one by one, as ever (moves.py).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.quantization.target_search.engagement import Engagement, excess, kinds_together, popularity, trust
from shelfcode.quantization.target_search.moves import Attraction

ROWS_ADDED = 65_536
"""Products whose gains are added up at a time."""

KINDS_WEIGHT = 0.3
"""Of engagement where whole kinds move, relative to where products do: a kind takes those at its rim along, too."""

UNSEEN = 0.1
"""Groups that a product without history counts as, where a kind's products are spread over codewords."""


@dataclass(frozen=True)
class Kinds:
    """G kinds of N products, and how they are taken together, where that is known.

    Attributes:
        kind_N: int64.
        count: G.
        excess_GG: of engagement (engagement.py), its absolute values adding up to KINDS_WEIGHT `weight` where all kinds have much history.
        attraction: the same for single products, of `weight` times the gains of a product whose kind has much history.
    """

    kind_N: Tensor
    count: int
    excess_GG: NDArray[np.float64] | None = None
    attraction: Attraction | None = None


def engaged_kinds(engaged: Engagement, kind_N: Tensor, kinds: int, weight: float, support: float) -> Kinds:
    """What engagement says of some kinds.

    Args:
        weight: of engagement, relative to the gains of pairs.
        support: see `excess`.
    """
    together_GG = kinds_together(engaged, kind_N.cpu().numpy(), kinds)
    excess_GG, trust_G = excess(together_GG, support), trust(together_GG, support)
    size_G1 = np.abs(excess_GG).sum(axis=1, keepdims=True)
    pull_GG = weight * trust_G[:, None] * np.divide(excess_GG, size_G1, out=np.zeros_like(excess_GG), where=size_G1 > 0)
    popularity_N = torch.from_numpy(popularity(engaged, len(kind_N)).clip(min=UNSEEN)).to(kind_N.device)
    attraction = Attraction(kind_N, torch.from_numpy(pull_GG.astype(np.float32)).to(kind_N.device), popularity_N)
    known = float(trust_G[kind_N.cpu().numpy()].mean())
    return Kinds(kind_N, kinds, KINDS_WEIGHT * weight * known * excess_GG / max(size_G1.sum(), 1e-12), attraction)


def codes_of_kinds(
    kinds: Kinds, codes: list[Tensor], clusters: int, partner_NP: Tensor, share_NP: Tensor, size_weight: float, sweeps: int, seed: int
) -> Tensor:
    """The best codes that the search finds from any of several starts, one for all products of a kind: int64[N].

    Args:
        codes: int64[N] of each start.
        share_NP: each pair's share of its product's gains, as products move by.
    """
    worth_GG = gains_between(kinds.kind_N, kinds.count, partner_NP, share_NP)
    if kinds.excess_GG is not None:
        worth_GG += kinds.excess_GG
    np.fill_diagonal(worth_GG, 0)
    kind_N = kinds.kind_N.cpu().numpy()
    size_G = np.bincount(kind_N, minlength=len(worth_GG))
    best, code_of_best_G = -np.inf, np.zeros(len(worth_GG), np.int64)
    for code_N in codes:
        code_G = _usual_codes(kind_N, code_N.cpu().numpy(), len(worth_GG), clusters)
        code_G = move_kinds(code_G, worth_GG, size_G, clusters, size_weight, sweeps, np.random.default_rng(seed))
        if (worth := float(worth_GG[code_G[:, None] == code_G].sum())) > best:
            best, code_of_best_G = worth, code_G
    return torch.from_numpy(code_of_best_G).to(kinds.kind_N.device)[kinds.kind_N]


def move_kinds(
    code_G: NDArray[np.int64], worth_GG: NDArray[np.float64], size_G: NDArray[np.int64], clusters: int, size_weight: float, sweeps: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:  # fmt: skip
    """Codes of kinds after a search in which one kind moves at a time, and the last one stays where it is: int64[G].

    Args:
        worth_GG: symmetric, of any two kinds that share a codeword.
        size_weight: what a large codeword costs a product, as in moves.py.
    """
    code_G, products = code_G.copy(), size_G.sum()
    size_K = np.bincount(code_G, weights=size_G, minlength=clusters)
    moving_G = np.flatnonzero(size_G)
    kinds_K = np.bincount(code_G[moving_G], minlength=clusters)
    for _ in range(sweeps):
        moved = False
        for kind in rng.permutation(moving_G):
            own, size = code_G[kind], size_G[kind]
            if kinds_K[own] == 1:  # a codeword that nothing has would be lost to all levels below
                continue
            size_K[own] -= size
            cost_K = size_weight * size / products * np.log((size_K + size) * clusters / products)
            score_K = 2 * np.bincount(code_G, weights=worth_GG[kind], minlength=clusters) - cost_K
            best = int(score_K.argmax())
            if score_K[best] > score_K[own] + 1e-12:
                code_G[kind], moved = best, True
                kinds_K[[own, best]] += -1, 1
            size_K[code_G[kind]] += size
        if not moved:
            break
    return code_G


def gains_between(kind_N: Tensor, kinds: int, partner_NP: Tensor, share_NP: Tensor) -> NDArray[np.float64]:
    """Mean over products of what pairs gain, by the kinds of their two products: float64[G, G], made symmetric."""
    gain = torch.zeros(kinds * kinds, dtype=torch.float64, device=kind_N.device)
    for first in range(0, len(kind_N), ROWS_ADDED):
        of = slice(first, first + ROWS_ADDED)
        cell_BP = kind_N[of, None] * kinds + kind_N[partner_NP[of]]
        gain += torch.bincount(cell_BP.flatten(), weights=share_NP[of].flatten().double(), minlength=kinds * kinds)
    gain_GG: NDArray[np.float64] = gain.reshape(kinds, kinds).cpu().numpy() / len(kind_N)
    return (gain_GG + gain_GG.T) / 2


def _usual_codes(kind_N: NDArray[np.int64], code_N: NDArray[np.int64], kinds: int, clusters: int) -> NDArray[np.int64]:
    """The code that most products of each kind have: int64[G]."""
    count_GK = np.bincount(kind_N * clusters + code_N, minlength=kinds * clusters).reshape(kinds, clusters)
    return count_GK.argmax(axis=1).astype(np.int64)
