"""k-means for setting up codebooks: bounded in time by iterations, in memory by chunks, and the same on every run."""

import torch
from torch import Tensor

CHUNK = 8192
"""Rows compared with the codewords at a time: the distances take CHUNK x K floats."""


def nearest(x_ND: Tensor, codewords_KD: Tensor) -> Tensor:
    """Index of the nearest codeword by squared Euclidean distance: int64[N]."""
    half_norm_K = codewords_KD.square().sum(dim=1) / 2
    chunks = x_ND.split(CHUNK)
    return torch.cat([(torch.addmm(-half_norm_K, chunk_BD, codewords_KD.T)).argmax(dim=1) for chunk_BD in chunks])


def cluster_sums(x_ND: Tensor, assigned_N: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Sum of the rows of each cluster and their number: float[K, D], float[K]."""
    sums_KD = torch.zeros(clusters, x_ND.shape[1], dtype=x_ND.dtype, device=x_ND.device).index_add_(0, assigned_N, x_ND)
    return sums_KD, torch.bincount(assigned_N, minlength=clusters).to(x_ND.dtype)


def kmeans(x_ND: Tensor, clusters: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Codewords that Lloyd's algorithm finds from a random start: float[K, D].

    A cluster that loses all its rows starts again at the row farthest from its own codeword.

    Args:
        x_ND: rows to cluster, at least as many as clusters.
        generator: on the CPU, whatever the device of the rows, so that every device starts alike.
    """
    start_K = torch.randperm(len(x_ND), generator=generator)[:clusters].to(x_ND.device)
    codewords_KD = x_ND[start_K].clone()
    for _ in range(iterations):
        assigned_N = nearest(x_ND, codewords_KD)
        sums_KD, count_K = cluster_sums(x_ND, assigned_N, clusters)
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
