"""The ordinary RQ-VAE in one file: the row that the library's quantizer has to beat, kept so that the row can be run again.

    x -> encoder -> z -> residual codebooks -> codes, sum of codewords -> decoder -> x_hat
    L = |x - x_hat|^2 + 0.25 sum over levels |z - sg(prefix)|^2 + lambda * L_contrastive(straight-through prefixes)

Encoder and decoder start as a projection onto principal components, the codebooks as residual k-means of it. From there on
everything moves: the encoder by gradient, the codewords after the products that choose them. How they move, or how products
choose, or how the decoder's gradient reaches the encoder, is what the variants change.

Settings are the library's from before its codebooks stood still; k-means, batches and the contrastive term are its own, so that
rows differ in the quantizer alone.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.quantization.codebook import kmeans, nearest
from shelfcode.quantization.losses import contrastive_loss, graded_pairs
from shelfcode.quantization.sampler import build_sampler

Kind = Literal["moving average", "gradient", "Sinkhorn", "rotation trick"]

HIDDEN_SIZES, LATENT_SIZE = (512, 256), 128
LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY = 1e-3, 50, 1e-4
COMMITMENT_WEIGHT = 0.25
DECAY, RESTART_BELOW = 0.99, 0.1
"""Of the moving averages; the part of the even share of products below which a codeword is set anew."""
TEMPERATURE, SAME_LEAF, SIBLING_LEAF = 0.2, 1.0, 0.4
PARENT_SHARE, PRODUCTS_PER_SLOT = 0.5, 4
KMEANS_SAMPLE, KMEANS_ITERATIONS = 65536, 20


def train_plain_rqvae(
    x_NE: NDArray[np.float32],
    taxonomy: Taxonomy,
    sizes: Sequence[int],
    seed: int,
    steps: int,
    batch_size: int,
    codebooks: Kind = "moving average",
    contrastive_weight: float = 0.01,
    encode_NE: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Train on all products, then code them: int64[N, L].

    Args:
        taxonomy: of the same products, in the order of x_NE.
        sizes: codewords of each level.
        codebooks: "moving average": codewords follow their products (van den Oord et al. 2017, appendix A.1).
            "gradient": codewords follow the gradient of |sg(r) - e|^2, by Adam.
            "Sinkhorn": as the first, but products are spread evenly over the codewords in training, as LC-Rec does.
            "rotation trick": as the first, but the decoder's gradient reaches the encoder turned from code to product.
        contrastive_weight: lambda; 0 leaves the term out.
        encode_NE: products to code instead of those trained on.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = PlainRQVAE(x_NE.shape[1], sizes, codebooks)
    sample = np.random.default_rng(seed).permutation(len(x_NE))[:KMEANS_SAMPLE]
    model.set_up(torch.from_numpy(x_NE[np.sort(sample)]), generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    sampler = build_sampler(taxonomy, seed, batch_size, PARENT_SHARE, PRODUCTS_PER_SLOT)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        batch_B = sampler.batch(step)
        z_BD, codes_BL, prefix_LBD, loss = model(torch.from_numpy(x_NE[batch_B]))
        if contrastive_weight:
            loss = loss + contrastive_weight * contrast(prefix_LBD, taxonomy, batch_B)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        model.codebooks.follow(z_BD.detach(), codes_BL, generator)
    chunks = torch.from_numpy(x_NE if encode_NE is None else encode_NE).split(8192)
    return np.concatenate([model.encode(chunk_BE).numpy() for chunk_BE in chunks])


class PlainRQVAE(nn.Module):
    """MLP encoder and decoder around residual codebooks, which are no parameters: they move on their own."""

    def __init__(self, dimensions: int, sizes: Sequence[int], kind: Kind) -> None:
        super().__init__()
        self.encoder = SkipMLP([dimensions, *HIDDEN_SIZES, LATENT_SIZE])
        self.decoder = SkipMLP([LATENT_SIZE, *reversed(HIDDEN_SIZES), dimensions])
        self.codebooks = CODEBOOKS[kind](sizes)
        self.rotates = kind == "rotation trick"

    def forward(self, x_BE: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latent, codes, straight-through prefixes float[L, B, D], and the loss without its contrastive term."""
        z_BD = self.encoder(x_BE)
        codes_BL, prefix_LBD = self.codebooks.assign_in_training(z_BD)
        straight_LBD = z_BD + (prefix_LBD - z_BD).detach()
        decoded_BE = self.decoder(rotate(z_BD, prefix_LBD[-1]) if self.rotates else straight_LBD[-1])
        reconstruction = (decoded_BE - x_BE).square().sum(dim=1).mean()
        # Against the detached codewords at every level: with straight-through ones, levels below the first would not pull.
        commitment = (z_BD - prefix_LBD).square().sum(dim=(0, 2)).mean()
        return z_BD, codes_BL, straight_LBD, reconstruction + COMMITMENT_WEIGHT * commitment

    @torch.inference_mode()
    def encode(self, x_BE: Tensor) -> Tensor:
        """int64[B, L]."""
        return self.codebooks.assign(self.encoder(x_BE))[0]

    @torch.no_grad()
    def set_up(self, x_NE: Tensor, generator: torch.Generator) -> None:
        """Principal components for encoder and decoder, k-means for the codebooks."""
        mean_E = x_NE.mean(dim=0)
        _, vectors_EE = torch.linalg.eigh((x_NE - mean_E).T @ (x_NE - mean_E))
        basis_DE = vectors_EE.flip(1)[:, :LATENT_SIZE].T
        self.encoder.skip.load_state_dict({"weight": basis_DE, "bias": -basis_DE @ mean_E})
        self.decoder.skip.load_state_dict({"weight": basis_DE.T, "bias": mean_E})
        self.codebooks.set_up(self.encoder(x_NE), generator)


class SkipMLP(nn.Module):
    """A linear map plus an MLP that adds nothing at first."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.skip = nn.Linear(sizes[0], sizes[-1])
        layers = [layer for before, after in pairwise(sizes) for layer in (nn.Linear(before, after), nn.ReLU())]
        self.layers = nn.Sequential(*layers[:-1])
        self.layers[-1].load_state_dict({"weight": torch.zeros(sizes[-1], sizes[-2]), "bias": torch.zeros(sizes[-1])})

    def forward(self, x_BE: Tensor) -> Tensor:
        return self.skip(x_BE) + self.layers(x_BE)


class Codebooks:
    """One codebook a level; codewords are moving averages of what is assigned to them."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.codewords, self.sums, self.counts = list[Tensor](), list[Tensor](), list[Tensor]()

    @torch.no_grad()
    def assign(self, z_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Codes int64[B, L], and the sum of codewords down to each level, float[L, B, D]."""
        return self._choose(nearest, z_BD)

    assign_in_training = assign

    @torch.no_grad()
    def set_up(self, z_ND: Tensor, generator: torch.Generator) -> None:
        """k-means of the residuals, level by level."""
        residual_ND = z_ND
        for size in self.sizes:
            codewords_KD = kmeans(residual_ND, size, KMEANS_ITERATIONS, 1, generator)
            code_N = nearest(residual_ND, codewords_KD)
            count_K = torch.bincount(code_N, minlength=size).to(z_ND.dtype)
            count_K = count_K / count_K.mean()  # in units of the even share, so that the first batches have their weight
            self.codewords.append(codewords_KD)
            self.counts.append(count_K)
            self.sums.append(codewords_KD * count_K[:, None])
            residual_ND = residual_ND - codewords_KD[code_N]

    @torch.no_grad()
    def follow(self, z_BD: Tensor, codes_BL: Tensor, generator: torch.Generator) -> None:
        """Move the codewords towards their products; those with hardly any start anew at a random residual of the batch.

        Restarts: Dhariwal et al. 2020, Jukebox, section 3.1.
        """
        residual_BD = z_BD
        for level, code_B in enumerate(codes_BL.T):
            chosen_BD = self.codewords[level][code_B]
            sums_KD = torch.zeros_like(self.codewords[level]).index_add_(0, code_B, residual_BD)
            count_K = torch.bincount(code_B, minlength=self.sizes[level]).to(z_BD.dtype)
            share = self.sizes[level] / len(z_BD)
            self._move(level, sums_KD * share, count_K * share)
            dead_E = (self.counts[level] < RESTART_BELOW).nonzero().flatten()
            pick_E = torch.randint(len(z_BD), (len(dead_E),), generator=generator)
            self.codewords[level][dead_E] = self.sums[level][dead_E] = residual_BD[pick_E]
            self.counts[level][dead_E] = 1.0
            residual_BD = residual_BD - chosen_BD

    def _move(self, level: int, sums_KD: Tensor, count_K: Tensor) -> None:
        """Move the codewords of a level; sums and counts of the batch are in units of the even share."""
        self.counts[level].lerp_(count_K, 1 - DECAY)
        self.sums[level].lerp_(sums_KD, 1 - DECAY)
        self.codewords[level].copy_(self.sums[level] / self.counts[level].clamp(min=1e-6)[:, None])

    def _choose(self, choose: Callable[[Tensor, Tensor], Tensor], z_BD: Tensor) -> tuple[Tensor, Tensor]:
        residual_BD, codes, prefixes = z_BD, [], []
        for codewords_KD in self.codewords:
            code_B = choose(residual_BD, codewords_KD)
            residual_BD = residual_BD - codewords_KD[code_B]
            codes.append(code_B)
            prefixes.append(z_BD - residual_BD)
        return torch.stack(codes, dim=1), torch.stack(prefixes)


class GradientCodebooks(Codebooks):
    """Codewords moved by Adam along the gradient of |sg(r) - e|^2; counts and restarts as in the moving average."""

    def set_up(self, z_ND: Tensor, generator: torch.Generator) -> None:
        super().set_up(z_ND, generator)
        self.adams = [torch.optim.Adam([codewords_KD], lr=LEARNING_RATE) for codewords_KD in self.codewords]

    def _move(self, level: int, sums_KD: Tensor, count_K: Tensor) -> None:
        self.counts[level].lerp_(count_K, 1 - DECAY)
        codewords_KD = self.codewords[level]
        codewords_KD.grad = 2 * (count_K[:, None] * codewords_KD - sums_KD) / self.sizes[level]
        self.adams[level].step()


class SinkhornCodebooks(Codebooks):
    """Products spread evenly over the codewords in training, by Sinkhorn's iterations; coding takes the nearest."""

    @torch.no_grad()
    def assign_in_training(self, z_BD: Tensor) -> tuple[Tensor, Tensor]:
        return self._choose(spread_evenly, z_BD)


CODEBOOKS = {"moving average": Codebooks, "rotation trick": Codebooks, "gradient": GradientCodebooks, "Sinkhorn": SinkhornCodebooks}


def spread_evenly(residual_BD: Tensor, codewords_KD: Tensor, sharpness: float = 20.0, rounds: int = 20) -> Tensor:
    """The likeliest codeword of each product once every codeword has its even share: int64[B]."""
    cost_BK = torch.cdist(residual_BD, codewords_KD).square()
    log_BK = -sharpness * cost_BK / cost_BK.mean()
    for _ in range(rounds):
        log_BK = log_BK - log_BK.logsumexp(dim=0, keepdim=True)
        log_BK = log_BK - log_BK.logsumexp(dim=1, keepdim=True)
    return log_BK.argmax(dim=1)


def rotate(z_BD: Tensor, code_BD: Tensor) -> Tensor:
    """The code, reached from z by a rotation and a scale that no gradient sees (Fifty et al. 2024, arXiv 2410.06424)."""
    z, code = z_BD.detach(), code_BD.detach()
    e_BD, q_BD = normalize(z, dim=1), normalize(code, dim=1)
    r_BD = normalize(e_BD + q_BD, dim=1)
    scale_B1 = code.norm(dim=1, keepdim=True) / z.norm(dim=1, keepdim=True).clamp(min=1e-6)
    along_r_B1, along_e_B1 = (z_BD * r_BD).sum(dim=1, keepdim=True), (z_BD * e_BD).sum(dim=1, keepdim=True)
    return scale_B1 * (z_BD - 2 * along_r_B1 * r_BD + 2 * along_e_B1 * q_BD)


def contrast(prefix_LBD: Tensor, taxonomy: Taxonomy, batch_B: NDArray[np.int64]) -> Tensor:
    """The graded contrastive term, every product of the batch an anchor; each level weighs half of the one above."""
    leaf_B = taxonomy.leaf_of_N[batch_B]
    places_3B = torch.from_numpy(np.stack([leaf_B, taxonomy.parent_P[leaf_B], taxonomy.ancestors_PD[leaf_B, 0]]))
    anchors_A = torch.arange(len(batch_B))
    strength_AB, counted_AB = graded_pairs(*places_3B, anchors_A, SAME_LEAF, SIBLING_LEAF)
    level_weights = [0.5**level for level in range(len(prefix_LBD))]
    return contrastive_loss(prefix_LBD, anchors_A, strength_AB, counted_AB, TEMPERATURE, level_weights)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    if step < WARMUP_STEPS:
        return LEARNING_RATE * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return LEARNING_RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))
