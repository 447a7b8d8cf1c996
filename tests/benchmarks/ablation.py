"""Does each choice in the quantizer earn its place? The default recipe on the Instacart catalog, one choice changed a row.

SHELFCODE_DATA=... python tests/benchmarks/ablation.py [--steps 1000] [--only "no restarts"]

Choices that lost are not in the library; those that are more than a setting are written out here, so that their rows can be run again.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer
from instacart import load_instacart
from numpy.typing import NDArray
from quantizer_quality import COLUMNS, FLAVORS, add_row
from rich.console import Console
from rich.table import Table
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.evaluate import evaluate
from shelfcode.flavor import Recipe, load_recipe
from shelfcode.quantization.codebook import ResidualCodebooks
from shelfcode.quantization.fitting import Fit, Worker, fit, start
from shelfcode.quantization.kmeans import cluster_sums


class GradientCodebooks(ResidualCodebooks):
    """Codewords moved by Adam along the gradient of |sg(r) - e|^2, instead of a moving average; dead ones restart alike."""

    def follow(self, z_BD: Tensor, codes_BL: Tensor, decay: float, restart_below: float, generator: torch.Generator) -> int:
        codewords = [self.codewords(level) for level in range(len(self.sizes))]
        if not hasattr(self, "adam"):
            self.adam = torch.optim.Adam(codewords, lr=1e-3)
        before = [codewords_KD.clone() for codewords_KD in codewords]
        restarted = super().follow(z_BD, codes_BL, decay, restart_below, generator)  # for its counts and restarts
        residual_BD = z_BD
        for level, old_KD in enumerate(before):
            sums_KD, count_K = cluster_sums(residual_BD, codes_BL[:, level], len(old_KD))
            residual_BD = residual_BD - old_KD[codes_BL[:, level]]
            fresh_K = self.get_buffer(f"counts_{level}") == 1.0
            restarted_KD = codewords[level].clone()
            codewords[level].copy_(old_KD)
            codewords[level].grad = 2 * (count_K[:, None] * old_KD - sums_KD) / len(z_BD)
            self.get_buffer(f"sums_{level}").copy_(old_KD * self.get_buffer(f"counts_{level}")[:, None])
            codewords[level][fresh_K] = restarted_KD[fresh_K]
        self.adam.step()
        return restarted


class SinkhornCodebooks(ResidualCodebooks):
    """Assignment in training balanced over the batch by Sinkhorn's iterations, as LC-Rec does; coding takes the nearest."""

    training_assignment = True

    @torch.no_grad()
    def assign(self, z_BD: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training_assignment:
            return super().assign(z_BD)
        residual_BD, codes, prefixes = z_BD, [], []
        for level in range(len(self.sizes)):
            codewords_KD = self.codewords(level)
            code_B = sinkhorn(torch.cdist(residual_BD, codewords_KD).square()).argmax(dim=1)
            residual_BD = residual_BD - codewords_KD[code_B]
            codes.append(code_B)
            prefixes.append(z_BD - residual_BD)
        return torch.stack(codes, dim=1), torch.stack(prefixes)


def sinkhorn(cost_BK: Tensor, sharpness: float = 20.0, rounds: int = 20) -> Tensor:
    """Balanced soft assignment: rows add up to one, columns to the even share. float[B, K]."""
    log_BK = -sharpness * cost_BK / cost_BK.mean()
    for _ in range(rounds):
        log_BK = log_BK - log_BK.logsumexp(dim=0, keepdim=True)
        log_BK = log_BK - log_BK.logsumexp(dim=1, keepdim=True)
    return log_BK.exp()


def swap_codebooks(kind: type[ResidualCodebooks]) -> Callable[[Fit], None]:
    """Replace the codebooks of an untrained model by ones of another kind with the same codewords."""

    def swap(state: Fit) -> None:
        old = state.model.codebooks
        new = kind(old.sizes, old.codewords(0).shape[1])
        new.load_state_dict(old.state_dict())
        state.model.codebooks = new

    return swap


def random_start(state: Fit) -> None:
    """Encoder and decoder as torch initialises them, without the projection; the codebooks then fit nothing at first."""
    for layer in (*state.model.encoder.modules(), *state.model.decoder.modules()):
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()


VARIANTS: dict[str, tuple[tuple[str, ...], Callable[[Fit], None] | None]] = {
    "default recipe": ((), None),
    "lambda 0": (("quantizer.contrastive_weight=0",), None),
    "lambda 0.1": (("quantizer.contrastive_weight=0.1",), None),
    "random batches": (("training.parent_share=0", "training.products_per_slot=1"), None),
    "equal codebooks 4 x 512": (("quantizer.codebook_sizes=[512, 512, 512, 512]",), None),
    "no restarts": (("quantizer.restart_below=0",), None),
    "moving average 0.9": (("quantizer.codebook_decay=0.9",), None),
    "gradient codebooks": ((), swap_codebooks(GradientCodebooks)),
    "Sinkhorn assignment": ((), swap_codebooks(SinkhornCodebooks)),
    "random start": ((), random_start),
}


def main(
    steps: Annotated[int, typer.Option(help="Training steps of every row.")] = 1000,
    only: Annotated[list[str] | None, typer.Option(help="Names of rows; all when left out.")] = None,
) -> None:
    """Print the table, a row as soon as it is known."""
    x_ND, taxonomy = load_instacart()
    table = Table(*COLUMNS[:-2], title=f"{len(x_ND):,} products, {steps} steps")
    for name in only or VARIANTS:
        fields, change = VARIANTS[name]
        recipe = load_recipe("precision", FLAVORS, [f"training.steps={steps}", *fields])
        codes_NL = train_changed(recipe, x_ND, taxonomy, change)
        add_row(table, name, evaluate(x_ND, codes_NL, recipe.quantizer.codebook_sizes, taxonomy))
        Console(width=180).print(table)


def train_changed(recipe: Recipe, x_ND: NDArray[np.float32], taxonomy: Taxonomy, change: Callable[[Fit], None] | None) -> NDArray[np.int64]:
    """Codes after training with one thing changed."""
    state = start(recipe, x_ND, Worker())
    if change:
        change(state)
    for _ in fit(recipe, x_ND, taxonomy, state, Worker()):
        continue
    if isinstance(state.model.codebooks, SinkhornCodebooks):
        state.model.codebooks.training_assignment = False
    chunks = (state.model.encode(chunk_BE).numpy() for chunk_BE in torch.split(torch.from_numpy(x_ND), 8192))
    return np.concatenate(list(chunks))


if __name__ == "__main__":
    typer.run(main)
