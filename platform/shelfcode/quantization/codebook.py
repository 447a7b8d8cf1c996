"""The codebooks of all levels: found by k-means, and the greedy assignment through them.

k-means is bounded in time by iterations and in memory by chunks, and gives the same codewords on every run.
"""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

CHUNK = 2048
"""Rows compared with the codewords at a time. Their distances take CHUNK x K floats, which should fit a CPU's cache."""

START_ROWS = 2048
START_ROWS_PER_CODEWORD = 8
"""k-means++ chooses the first codewords among so many rows, whichever is more."""


def nearest(x_ND: Tensor, codewords_KD: Tensor, chunk: int = CHUNK) -> Tensor:
    """Index of the nearest codeword by squared Euclidean distance: int64[N]."""
    half_norm_K = codewords_KD.square().sum(dim=1) / 2
    nearness = (linear(chunk_BD, codewords_KD, -half_norm_K) for chunk_BD in x_ND.split(chunk))
    return torch.cat([_largest(nearness_BK) for nearness_BK in nearness])


def nearest_of_group(x_ND: Tensor, codewords_KD: Tensor, group_K: Tensor, group_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """`nearest` among the codewords of each row's group, or among all for a row of a negative group: int64[N]."""
    half_norm_K = codewords_KD.square().sum(dim=1) / 2
    codes = []
    for chunk_BD, group_B in zip(x_ND.split(chunk), group_N.split(chunk), strict=True):
        nearness_BK = linear(chunk_BD, codewords_KD, -half_norm_K)
        codes.append(_largest(nearness_BK.masked_fill_(other_group(group_K, group_B), -torch.inf)))
    return torch.cat(codes)


def other_group(group_K: Tensor, group_B: Tensor) -> Tensor:
    """Which codewords belong to another group than a row's own; none for a row of a negative group: bool[B, K]."""
    return (group_K[None] != group_B[:, None]) & (group_B >= 0)[:, None]


def two_nearest(x_ND: Tensor, codewords_KD: Tensor) -> tuple[Tensor, Tensor]:
    """The two nearest codewords, of which `nearest` finds the first: indexes int64[N, 2] and Euclidean distances float[N, 2]."""
    index_N2 = (linear(x_ND, codewords_KD, codewords_KD.square().sum(dim=1) / -2)).topk(2, dim=1).indices
    return index_N2, (x_ND[:, None] - codewords_KD[index_N2]).norm(dim=2)


def _largest(nearness_BK: Tensor) -> Tensor:
    if nearness_BK.device.type == "cpu":  # torch 2.13's argmax on a CPU takes longer than the matrix product; numpy's does not
        return torch.from_numpy(nearness_BK.numpy().argmax(axis=1))
    return nearness_BK.argmax(dim=1)


def kmeans(x_ND: Tensor, clusters: int, iterations: int, starts: int, generator: torch.Generator) -> Tensor:
    """The best codewords that Lloyd's algorithm finds from several k-means++ starts: float[K, D].

    Arthur and Vassilvitskii 2007, k-means++: the advantages of careful seeding.

    Args:
        x_ND: rows to cluster, at least as many as clusters.
        generator: on the CPU, whatever the device of the rows, so that all devices start alike.
    """
    codebooks = [lloyd(x_ND, _spread_start(x_ND, clusters, generator), iterations) for _ in range(starts)]
    return codebooks[0] if starts == 1 else min(codebooks, key=lambda codewords_KD: mean_squared_distance(x_ND, codewords_KD))


def mean_squared_distance(x_ND: Tensor, codewords_KD: Tensor) -> float:
    """Mean squared distance of rows to their nearest codeword."""
    return float((x_ND - codewords_KD[nearest(x_ND, codewords_KD)]).square().sum(dim=1).mean())


def _spread_start(x_ND: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    from sklearn.cluster import kmeans_plusplus  # seconds to import: only those who train pay for it, not every actor that codes

    rows = min(len(x_ND), max(START_ROWS, START_ROWS_PER_CODEWORD * clusters))
    sample_SD = x_ND[torch.randperm(len(x_ND), generator=generator)[:rows].to(x_ND.device)]
    seed = int(torch.randint(2**31, (1,), generator=generator))
    # One trial per codeword, as published: more take several times as long, for codewords that Lloyd's iterations find anyway.
    _, chosen_K = kmeans_plusplus(sample_SD.cpu().numpy(), clusters, random_state=seed, n_local_trials=1)
    return sample_SD[torch.from_numpy(chosen_K).to(x_ND.device)].clone()


def lloyd(x_ND: Tensor, codewords_KD: Tensor, iterations: int) -> Tensor:
    """Lloyd's iterations from given codewords, whose order stays.

    A codeword that loses all its rows starts again at the row that lies farthest from its own codeword.
    """
    for _ in range(iterations):
        assigned_N = nearest(x_ND, codewords_KD)
        sums_KD = torch.zeros_like(codewords_KD).index_add_(0, assigned_N, x_ND)
        count_K = torch.bincount(assigned_N, minlength=len(codewords_KD)).to(x_ND.dtype)
        moved_KD = sums_KD / count_K.clamp(min=1)[:, None]
        empty_E = (count_K == 0).nonzero().flatten()
        if len(empty_E):
            error_N = (x_ND - codewords_KD[assigned_N]).square().sum(dim=1)
            moved_KD[empty_E] = x_ND[error_N.topk(len(empty_E)).indices]
        shift = (moved_KD - codewords_KD).square().sum()
        codewords_KD = moved_KD
        if not len(empty_E) and shift < 1e-6 * codewords_KD.square().sum():
            break
    return codewords_KD


class ResidualCodebooks(nn.Module):
    """L codebooks, each with a size of its own, all in D dimensions. They are buffers: training does not move them.

    Under a constraint (constraint.py) each codeword of the first level belongs to a group of products.
    """

    def __init__(self, sizes: Sequence[int], dimensions: int, constrained: bool = False) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.group_K: Tensor | None
        self.register_buffer("group_K", torch.zeros(self.sizes[0], dtype=torch.int64) if constrained else None)
        for level, size in enumerate(self.sizes):
            self.register_buffer(f"codewords_{level}", torch.zeros(size, dimensions))

    def codewords(self, level: int) -> Tensor:
        """float[K, D] of one level."""
        return self.get_buffer(f"codewords_{level}")

    @torch.no_grad()
    def start_at(self, codewords: Iterable[Tensor]) -> None:
        """Set the codebooks: float[K_l, D] of each level."""
        for level, codewords_KD in enumerate(codewords):
            self.codewords(level).copy_(codewords_KD)

    def rename(self, names: Sequence[NDArray[np.int64]]) -> None:
        """Renumber the codewords of each level: codeword k of level l becomes names[l][k]."""
        for level, name_K in enumerate(names):
            codewords_KD = self.codewords(level)
            codewords_KD[torch.from_numpy(name_K)] = codewords_KD.clone()
        if self.group_K is not None:
            self.group_K[torch.from_numpy(names[0])] = self.group_K.clone()

    @torch.no_grad()
    def assign(self, z_LBD: Sequence[Tensor], group_B: Tensor | None = None) -> Tensor:
        """At each level, the codeword nearest to what the levels above leave over of that level's latent: int64[B, L].

        Args:
            group_B: the group of each product, whose codewords alone it may have at the first level.
        """
        prefix_BD = torch.zeros_like(z_LBD[0])
        codes = []
        for level, z_BD in enumerate(z_LBD):
            codewords_KD = self.codewords(level)
            if level == 0 and group_B is not None and self.group_K is not None:
                code_B = nearest_of_group(z_BD, codewords_KD, self.group_K, group_B)
            else:
                code_B = nearest(z_BD - prefix_BD, codewords_KD)
            prefix_BD += codewords_KD[code_B]
            codes.append(code_B)
        return torch.stack(codes, dim=1)

    @torch.no_grad()
    def assign_with_margins(self, z_LBD: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """`assign`, and how much nearer each codeword was than the second nearest: 1 - d1 / d2 of Euclidean distances.

        Returns:
            int64[B, L] codes and float[B, L] margins, from 0 (two codewords equally near) to 1 (exactly on the codeword).
        """
        prefix_BD = torch.zeros_like(z_LBD[0])
        codes, margins = [], []
        for level, z_BD in enumerate(z_LBD):
            codewords_KD = self.codewords(level)
            index_B2, distance_B2 = two_nearest(z_BD - prefix_BD, codewords_KD)
            prefix_BD += codewords_KD[index_B2[:, 0]]
            codes.append(index_B2[:, 0])
            margins.append(1 - distance_B2[:, 0] / distance_B2[:, 1].clamp(min=1e-12))
        return torch.stack(codes, dim=1), torch.stack(margins, dim=1).clamp(0, 1)
