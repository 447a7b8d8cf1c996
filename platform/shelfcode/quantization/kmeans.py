"""k-means for the codebooks: bounded in time by iterations, in memory by chunks, and the same on every run."""

import torch
from sklearn.cluster import kmeans_plusplus
from torch import Tensor
from torch.nn.functional import linear

CHUNK = 2048
"""Rows compared with the codewords at a time: the distances take CHUNK x K floats, which should fit a CPU's cache."""

START_ROWS = 2048
START_ROWS_A_CODEWORD = 8
"""Rows among which k-means++ chooses the first codewords."""


def nearest(x_ND: Tensor, codewords_KD: Tensor) -> Tensor:
    """Index of the nearest codeword by squared Euclidean distance: int64[N]."""
    half_norm_K = codewords_KD.square().sum(dim=1) / 2
    nearness = (linear(chunk_BD, codewords_KD, -half_norm_K) for chunk_BD in x_ND.split(CHUNK))
    return torch.cat([_largest(nearness_BK) for nearness_BK in nearness])


def two_nearest(x_ND: Tensor, codewords_KD: Tensor) -> tuple[Tensor, Tensor]:
    """The two nearest codewords, as `nearest` finds the first: indexes int64[N, 2], and Euclidean distances float[N, 2]."""
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
        generator: on the CPU, whatever the device of the rows, so that every device starts alike.
    """
    found = [lloyd(x_ND, _spread_start(x_ND, clusters, generator), iterations) for _ in range(starts)]
    return found[0] if starts == 1 else min(found, key=lambda codewords_KD: mean_squared_distance(x_ND, codewords_KD))


def mean_squared_distance(x_ND: Tensor, codewords_KD: Tensor) -> float:
    """Mean squared distance of rows to their nearest codeword."""
    return float((x_ND - codewords_KD[nearest(x_ND, codewords_KD)]).square().sum(dim=1).mean())


def _spread_start(x_ND: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    rows = min(len(x_ND), max(START_ROWS, START_ROWS_A_CODEWORD * clusters))
    sample_SD = x_ND[torch.randperm(len(x_ND), generator=generator)[:rows].to(x_ND.device)]
    seed = int(torch.randint(2**31, (1,), generator=generator))
    _, chosen_K = kmeans_plusplus(sample_SD.cpu().numpy(), clusters, random_state=seed)
    return sample_SD[torch.from_numpy(chosen_K).to(x_ND.device)].clone()


def lloyd(x_ND: Tensor, codewords_KD: Tensor, iterations: int) -> Tensor:
    """Lloyd's iterations from given codewords, in their order; one that loses all its rows starts anew at the row farthest from its own."""
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
