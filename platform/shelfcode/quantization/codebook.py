"""The codebooks of all levels: residual assignment, the moving average that moves codewords, and no dead ones.

Codewords follow the products assigned to them by an exponential moving average of sums and counts (van den Oord et al.
2017, appendix A.1). With several workers the sums are added up over all of them first, so every worker holds the same
codebooks as if it had seen the whole batch.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from shelfcode.quantization.kmeans import cluster_sums, kmeans, nearest


class ResidualCodebooks(nn.Module):
    """L codebooks, each of its own size, all in D dimensions; buffers, moved without gradients."""

    def __init__(self, sizes: Sequence[int], dimensions: int) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        for level, size in enumerate(self.sizes):
            self.register_buffer(f"codewords_{level}", torch.zeros(size, dimensions))
            self.register_buffer(f"sums_{level}", torch.zeros(size, dimensions))
            self.register_buffer(f"counts_{level}", torch.zeros(size))

    def codewords(self, level: int) -> Tensor:
        """float[K, D] of one level."""
        return self.get_buffer(f"codewords_{level}")

    @torch.no_grad()
    def assign(self, z_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest codeword of what the levels before have left over.

        Returns:
            int64[B, L] codes, and float[L, B, D] the sum of the chosen codewords down to each level.
        """
        residual_BD, codes, prefixes = z_BD, [], []
        for level in range(len(self.sizes)):
            codewords_KD = self.codewords(level)
            code_B = nearest(residual_BD, codewords_KD)
            residual_BD = residual_BD - codewords_KD[code_B]
            codes.append(code_B)
            prefixes.append(z_BD - residual_BD)
        return torch.stack(codes, dim=1), torch.stack(prefixes)

    @torch.no_grad()
    def set_up(self, z_ND: Tensor, iterations: int, generator: torch.Generator) -> None:
        """k-means of the residuals, level by level."""
        residual_ND = z_ND
        for level, size in enumerate(self.sizes):
            codewords_KD = kmeans(residual_ND, size, iterations, generator)
            code_N = nearest(residual_ND, codewords_KD)
            _, count_K = cluster_sums(residual_ND, code_N, size)
            # As if the average had seen a batch of the even share a codeword, so that the first real batches count.
            count_K = count_K / count_K.sum() * size
            self._store(level, codewords_KD, codewords_KD * count_K[:, None], count_K)
            residual_ND = residual_ND - codewords_KD[code_N]

    @torch.no_grad()
    def follow(self, z_BD: Tensor, codes_BL: Tensor, decay: float, restart_below: float, generator: torch.Generator) -> int:
        """Move every codeword towards its products; set those anew that hardly any product chooses.

        A codeword whose average count falls below `restart_below` of the even share restarts at the residual of a random
        product of the batch (Dhariwal et al. 2020, Jukebox, section 3.1).

        Args:
            z_BD: encoded products of this worker.
            generator: on the CPU, in the same state on every worker.

        Returns:
            How many codewords were set anew.
        """
        residual_BD, restarted = z_BD, 0
        for level, size in enumerate(self.sizes):
            code_B = codes_BL[:, level]
            chosen_BD = self.codewords(level)[code_B]
            sums_KD, count_K = cluster_sums(residual_BD, code_B, size)
            total_KD = _sum_over_workers(torch.cat([sums_KD, count_K[:, None]], dim=1))
            share = size / float(total_KD[:, -1].sum())  # counts in units of the even share
            sums_KD = self.get_buffer(f"sums_{level}").lerp(total_KD[:, :-1] * share, 1 - decay)
            count_K = self.get_buffer(f"counts_{level}").lerp(total_KD[:, -1] * share, 1 - decay)
            codewords_KD = torch.where(count_K[:, None] > 1e-6, sums_KD / count_K.clamp(min=1e-6)[:, None], self.codewords(level))
            dead_E = (count_K < restart_below).nonzero().flatten()
            if len(dead_E):
                all_BD = _gather_from_workers(residual_BD)
                pick_E = torch.randint(len(all_BD), (len(dead_E),), generator=generator).to(all_BD.device)
                codewords_KD[dead_E] = all_BD[pick_E]
                count_K[dead_E] = 1.0
                sums_KD[dead_E] = codewords_KD[dead_E]
                restarted += len(dead_E)
            self._store(level, codewords_KD, sums_KD, count_K)
            residual_BD = residual_BD - chosen_BD
        return restarted

    def _store(self, level: int, codewords_KD: Tensor, sums_KD: Tensor, count_K: Tensor) -> None:
        self.codewords(level).copy_(codewords_KD)
        self.get_buffer(f"sums_{level}").copy_(sums_KD)
        self.get_buffer(f"counts_{level}").copy_(count_K)


def _sum_over_workers(tensor: Tensor) -> Tensor:
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def _gather_from_workers(rows_BD: Tensor) -> Tensor:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows_BD
    gathered = [torch.empty_like(rows_BD) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, rows_BD.contiguous())
    return torch.cat(gathered)
