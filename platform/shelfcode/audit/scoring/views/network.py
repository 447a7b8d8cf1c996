"""Views that a small network learns: from the embedding, and from the words, of a product to its leaf.

One network a fold is trained on the products of the other folds. Of the words' network the first layer is a table with a row per gram, as
in fastText (Joulin et al. 2017). Trained in torch, asked in numpy, so that whoever scores needs no torch.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from shelfcode.audit.scoring.settings import NetworkSettings
from shelfcode.audit.scoring.views.batch import Batch, log_probabilities

SMOOTHING = 0.05
WEIGHT_DECAY = 0.01
WARM_UP = 0.1
STEPS_PER_EPOCH = 35
INPUT_DROPOUT = 0.1
ADAM = (0.9, 0.999)
GRAM_SCALE = 4.0
"""Rows of words have unit norm, spread over some 70 grams; scaled up they move the hidden units as fast as the dense layers move."""


@dataclass(frozen=True)
class NetworkWeights:
    """Of one fold: float16 where there are many. `into` is [D, H] for the embedding and [G, H] for words."""

    into: NDArray[np.float16]
    bias_H: NDArray[np.float32]
    out_HU: NDArray[np.float32]
    bias_U: NDArray[np.float32]


@dataclass(frozen=True)
class NetworkView:
    """One network per fold."""

    name: str
    words: bool
    folds: tuple[NetworkWeights, ...]

    def log_posterior(self, batch: Batch) -> NDArray[np.float32]:
        """What the network of each product's fold says of it: float32[B, U]."""
        log_p_BU = np.empty((len(batch), len(self.folds[0].bias_U)), np.float32)
        for fold, weights in enumerate(self.folds):
            rows = np.flatnonzero(batch.fold_B == fold)
            if len(rows):
                log_p_BU[rows] = self._asked(weights, batch, rows)
        return log_p_BU

    def _asked(self, weights: NetworkWeights, batch: Batch, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        if self.words:
            assert batch.words_BG is not None
            hidden_BH = _table_rows(batch.words_BG[rows], weights.into) * np.float32(GRAM_SCALE) + weights.bias_H
        else:
            hidden_BH = _gelu(_scaled(batch.x_BD[rows]) @ weights.into.astype(np.float32) + weights.bias_H)
        z_BU = hidden_BH @ weights.out_HU + weights.bias_U
        z_BU -= z_BU.max(axis=1, keepdims=True)
        np.exp(z_BU, out=z_BU)
        return log_probabilities(z_BU / z_BU.sum(axis=1, keepdims=True))


def fit_network(
    name: str, inputs: NDArray[np.float32] | csr_matrix, label_M: NDArray[np.integer],
    fold_M: NDArray[np.integer], leaves: int, folds: int, settings: NetworkSettings, seed: int, threads: int = 1,
) -> NetworkView:  # fmt: skip
    """One network per fold, trained on the labelled products of all other folds.

    Args:
        inputs: embeddings, float32[M, D], or tf-idf weights of grams, sparse [M, G].
        label_M: a leaf's number among those in use, -1 where there is none.
        threads: folds trained at a time.
    """

    def fold(number: int) -> NetworkWeights:
        torch.set_num_threads(1)  # of this thread
        learnt = np.flatnonzero((fold_M != number) & (label_M >= 0))
        return _train(inputs, label_M, learnt, leaves, settings, seed * 101 + number)

    with ThreadPoolExecutor(threads) as pool:
        return NetworkView(name, isinstance(inputs, csr_matrix), tuple(pool.map(fold, range(folds))))


def _train(
    inputs: NDArray[np.float32] | csr_matrix, label_M: NDArray[np.integer], learnt: NDArray[np.integer],
    leaves: int, settings: NetworkSettings, seed: int,
) -> NetworkWeights:  # fmt: skip
    """Minimises the cross-entropy of smoothed labels, by Adam; the rate rises for a tenth of the steps and then falls to zero."""
    draw, make = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    hidden = settings.hidden
    first: Any = _GramLayer(inputs.shape[1], hidden, make) if isinstance(inputs, csr_matrix) else _DenseLayer(inputs.shape[1], hidden, make)
    bias_H, bias_U = torch.zeros(hidden, requires_grad=True), torch.zeros(leaves, requires_grad=True)
    out_HU = torch.randn(hidden, leaves, generator=make).mul_(hidden**-0.5).requires_grad_()
    adam = _Adam([*first.dense, bias_H, out_HU, bias_U])
    size = max(1, min(settings.batch_size, len(learnt) // STEPS_PER_EPOCH))
    steps, step = settings.epochs * -(-len(learnt) // size), 0
    for _ in range(settings.epochs):
        for rows in _batches(draw.permutation(learnt), size):
            rate = settings.learning_rate * min(1.0, (step + 1) / (WARM_UP * steps)) * (1 - step / steps)
            hidden_BH = _dropout(first.activated(inputs[rows], bias_H, make), settings.dropout, make)
            loss = torch.nn.functional.cross_entropy(
                hidden_BH @ out_HU + bias_U, torch.from_numpy(label_M[rows].astype(np.int64)), label_smoothing=SMOOTHING
            )
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step(rate)
            first.step(rate)
            step += 1
    into = first.into.detach().numpy().astype(np.float16)
    return NetworkWeights(into, bias_H.detach().numpy(), out_HU.detach().numpy(), bias_U.detach().numpy())


class _Adam:
    """Adam with decoupled weight decay (Loshchilov, Hutter 2019). That of torch loads a compiler first, which takes seconds."""

    def __init__(self, weights: list[torch.Tensor]) -> None:
        self._weights = [(each, torch.zeros_like(each), torch.zeros_like(each)) for each in weights]
        self._steps = 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step along the gradients, which are spent."""
        self._steps += 1
        for weight, mean, square in self._weights:
            assert weight.grad is not None
            weight.mul_(1 - rate * WEIGHT_DECAY)
            weight.sub_(_adam_step(weight.grad, mean, square, self._steps), alpha=rate)
            weight.grad = None


def _adam_step(gradient: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, steps: int) -> torch.Tensor:
    """Updates both moments, and gives the step for a rate of one."""
    mean.lerp_(gradient, 1 - ADAM[0])
    square.mul_(ADAM[1]).addcmul_(gradient, gradient, value=1 - ADAM[1])
    return mean / (square.sqrt() + 1e-8) * float((1 - ADAM[1] ** steps) ** 0.5 / (1 - ADAM[0] ** steps))


class _DenseLayer:
    """From an embedding to hidden units."""

    def __init__(self, dimensions: int, hidden: int, make: torch.Generator) -> None:
        self.into = torch.randn(dimensions, hidden, generator=make).mul_(dimensions**-0.5).requires_grad_()
        self.dense = [self.into]

    def activated(self, x_BD: NDArray[np.float32], bias_H: torch.Tensor, make: torch.Generator) -> torch.Tensor:
        x = _dropout(torch.from_numpy(_scaled(x_BD)), INPUT_DROPOUT, make)
        return torch.nn.functional.gelu(x @ self.into + bias_H, approximate="tanh")

    def step(self, rate: float) -> None:
        """All its weights are the optimiser's."""


class _GramLayer:
    """From grams to hidden units: a row of a table per gram. A step reads and writes the rows that a batch has, by Adam's rule."""

    def __init__(self, grams: int, hidden: int, make: torch.Generator) -> None:
        self.into = torch.randn(grams, hidden, generator=make).mul_(0.05)
        self.dense: list[torch.Tensor] = []
        self._mean, self._square, self._steps = torch.zeros(grams, hidden), torch.zeros(grams, hidden), 0
        self._place_G = np.zeros(grams, np.int64)
        self._used, self._table = torch.zeros(0, dtype=torch.int64), torch.zeros(0, hidden)

    def activated(self, words_BG: csr_matrix, bias_H: torch.Tensor, make: torch.Generator) -> torch.Tensor:  # noqa: ARG002
        is_used_G = np.zeros(len(self._place_G), bool)
        is_used_G[words_BG.indices] = True
        used = np.flatnonzero(is_used_G)
        self._place_G[used] = np.arange(len(used))
        self._used = torch.from_numpy(used)
        self._table = self.into[self._used].requires_grad_()
        place, start = torch.from_numpy(self._place_G[words_BG.indices]), torch.from_numpy(words_BG.indptr[:-1].astype(np.int64))
        weights = torch.from_numpy(words_BG.data)
        summed = torch.nn.functional.embedding_bag(place, self._table, start, mode="sum", per_sample_weights=weights)
        return summed * GRAM_SCALE + bias_H

    def step(self, rate: float) -> None:
        if not len(self._used) or self._table.grad is None:
            return
        self._steps += 1
        mean, square = self._mean[self._used], self._square[self._used]
        self.into[self._used] = self._table.detach() - rate * _adam_step(self._table.grad, mean, square, self._steps)
        self._mean[self._used], self._square[self._used] = mean, square


def _batches(rows: NDArray[np.integer], size: int) -> Iterator[NDArray[np.integer]]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


def _dropout(x: torch.Tensor, share: float, make: torch.Generator) -> torch.Tensor:
    """Dropout whose draw does not depend on what else the process draws."""
    return x * (torch.rand(x.shape, generator=make) >= share) / (1 - share) if share else x


def _scaled(x_BD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of unit norm as ones whose entries have a variance of about one."""
    return np.ascontiguousarray(x_BD, np.float32) * np.float32(x_BD.shape[1] ** 0.5)


def _table_rows(words_BG: csr_matrix, into_GH: NDArray[np.float16]) -> NDArray[np.float32]:
    """The weighted sum of each text's rows. Only the rows that occur are widened to float32."""
    used_G, place = np.unique(words_BG.indices, return_inverse=True)
    own = csr_matrix((words_BG.data, place, words_BG.indptr), (words_BG.shape[0], max(1, len(used_G))))
    table = into_GH[used_G].astype(np.float32) if len(used_G) else np.zeros((1, into_GH.shape[1]), np.float32)
    return np.asarray(own @ table, np.float32)


def _gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Gaussian error linear unit by its usual approximation (Hendrycks, Gimpel 2016)."""
    return (0.5 * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x**3)))).astype(np.float32)
