"""Training steps of the two fastest public RQ-VAEs, to be timed beside the library's: quantizer_speed.py.

Both as plain as their authors leave them: MLPs with ReLU, residual quantization of the latent, mean squared error. Each gives a
pair of functions: one trains on a batch in place, the other codes a batch. Codebooks start by k-means of the first batch, which
therefore takes longer than the others, comes before any coding, and needs as many rows as the largest codebook has codewords.
Modules lie on the default device: under `with torch.device("cuda"):` on the GPU.
"""

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.nn.functional import embedding, mse_loss

Peer = tuple[Callable[[Tensor], None], Callable[[Tensor], Tensor]]
"""Trains on x_BE; codes x_BE: int64[B, L]."""

LEARNING_RATE = 1e-3
KMEANS_ITERATIONS = 10


def vector_quantize_pytorch_step(dimensions: int, hidden_sizes: Sequence[int], latent_size: int, sizes: Sequence[int]) -> Peer:
    """`ResidualVQ` of the package vector-quantize-pytorch: codewords are moving averages; the rotation trick, which takes time, is off."""
    from vector_quantize_pytorch import ResidualVQ  # only in the extra `benchmarks`

    quantizer = ResidualVQ(
        dim=latent_size, num_quantizers=len(sizes), codebook_size=tuple(sizes), kmeans_init=True, kmeans_iters=KMEANS_ITERATIONS,
        rotation_trick=False,
    )  # fmt: skip

    def quantize(z_BD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized_B1D, codes_B1L, losses_L = quantizer(z_BD[:, None])  # the package quantizes sequences
        return quantized_B1D[:, 0], codes_B1L[:, 0], losses_L.sum()

    return _peer(quantizer, quantize, dimensions, hidden_sizes, latent_size)


def lcrec_step(dimensions: int, hidden_sizes: Sequence[int], latent_size: int, sizes: Sequence[int]) -> Peer:
    """The RQ-VAE of LC-Rec (Zheng et al. 2024, arXiv 2311.09049), after its public code: codewords move by gradient.

    Left out, as they cost time: Sinkhorn's balancing of the last level, an option there, and the trainer's clipping of gradients.
    """
    quantizer = LCRecQuantizer(sizes, latent_size)
    return _peer(quantizer, quantizer, dimensions, hidden_sizes, latent_size)


class LCRecQuantizer(nn.Module):
    """Residual quantization with codebooks that are parameters."""

    def __init__(self, sizes: Sequence[int], latent_size: int) -> None:
        super().__init__()
        self.codebooks = nn.ParameterList([nn.Parameter(torch.zeros(size, latent_size)) for size in sizes])
        self.started = False

    def forward(self, z_BD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of codewords, straight-through; codes; mean over levels of codebook plus commitment loss."""
        residual_BD, quantized_BD = z_BD, torch.zeros_like(z_BD)
        codes, losses = [], []
        for codewords_KD in self.codebooks:
            if not self.started:
                _start_by_kmeans(codewords_KD, residual_BD)
            distance_BK = (residual_BD**2).sum(dim=1, keepdim=True) + (codewords_KD**2).sum(dim=1) - 2 * residual_BD @ codewords_KD.T
            code_B = distance_BK.argmin(dim=1)
            chosen_BD = embedding(code_B, codewords_KD)
            losses.append(mse_loss(chosen_BD, residual_BD.detach()) + 0.25 * mse_loss(chosen_BD.detach(), residual_BD))
            chosen_BD = residual_BD + (chosen_BD - residual_BD).detach()
            residual_BD, quantized_BD = residual_BD - chosen_BD, quantized_BD + chosen_BD
            codes.append(code_B)
        self.started = True
        return quantized_BD, torch.stack(codes, dim=1), torch.stack(losses).mean()


@torch.no_grad()
def _start_by_kmeans(codewords_KD: Tensor, residual_BD: Tensor) -> None:
    """scikit-learn's k-means; it would warn that residuals are zero where a level above had a codeword for nearly every row."""
    clusters = KMeans(n_clusters=len(codewords_KD), max_iter=KMEANS_ITERATIONS, random_state=0)
    with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):
        clusters.fit(residual_BD.cpu().numpy())
    codewords_KD.copy_(torch.from_numpy(clusters.cluster_centers_))


def _peer(
    quantizer: nn.Module,
    quantize: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    dimensions: int,
    hidden_sizes: Sequence[int],
    latent_size: int,
) -> Peer:
    """Encoder and decoder around a quantizer, which gives quantized latents, codes and its own loss."""
    encoder, decoder = _mlp([dimensions, *hidden_sizes, latent_size]), _mlp([latent_size, *reversed(hidden_sizes), dimensions])
    parameters = nn.ModuleList([encoder, decoder, quantizer]).parameters()
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True)

    def train_step(x_BE: Tensor) -> None:
        quantizer.train()
        quantized_BD, _, loss = quantize(encoder(x_BE))
        loss = mse_loss(decoder(quantized_BD), x_BE) + loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def encode(x_BE: Tensor) -> Tensor:
        quantizer.eval()
        return quantize(encoder(x_BE))[1]

    return train_step, encode


def _mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between, started as LC-Rec starts them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        linear = nn.Linear(before, after)
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
