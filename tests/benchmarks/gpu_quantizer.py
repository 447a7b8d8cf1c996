"""How fast the quantizer trains and encodes on a device: part of gpu.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from device_timing import Clock, reason, rows_per_second
from numpy.typing import NDArray
from synthetic import synthetic_products
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.codebook import lloyd, nearest
from shelfcode.quantization.fitting import Fit, fit, start
from shelfcode.quantization.settings import QuantizerSettings, TrainingSettings
from shelfcode.quantization.target_search.projection import principal_components
from shelfcode.quantization.target_search.targets import Targets

PRECISIONS = ("float32", "bfloat16")
ITERATIONS = 5
"""Of k-means. How good the codebooks are does not matter here, but products should use all of them."""


@dataclass(frozen=True)
class QuantizerSize:
    """What is measured.

    Attributes:
        steps: of training, each time they are timed.
        rows_at_once: products that are encoded together.
    """

    products: int
    dimensions: int
    batch_size: int
    steps: int
    rows_at_once: int
    compiled: tuple[bool, ...]


FULL = QuantizerSize(200_000, 512, 1024, steps=20, rows_at_once=65_536, compiled=(False, True))
SMALL = QuantizerSize(1500, 32, 128, steps=1, rows_at_once=750, compiled=(False,))

Row = dict[str, Any]


def measure_quantizer(size: QuantizerSize, device: torch.device, clock: Clock) -> Iterator[tuple[str, Row]]:
    """Rows a second of "training" and of "encoding", for each precision, compiled and not; or why one of them does not work."""
    x_NE, taxonomy = synthetic_products(size.products, size.dimensions, np.random.default_rng(0))
    targets = rough_targets(recipe_of(size, "float32"), x_NE, device)
    state = start(recipe_of(size, "float32"), targets, Worker(device=device))
    for compiled in size.compiled:
        for precision in PRECISIONS:
            if clock.over():
                return
            work = training(size, precision, compiled, x_NE, taxonomy, targets, device)
            yield "training", row_of(precision, compiled, work, device, clock)
    x_on_device_NE = torch.from_numpy(x_NE).to(device)
    reference_NL = encoded(state, x_on_device_NE, "float32", size.rows_at_once, state.model.latents)
    for compiled in size.compiled:
        latents = torch.compile(state.model.latents) if compiled else state.model.latents
        for precision in PRECISIONS:
            if clock.over():
                return
            row = row_of(precision, compiled, encoding(state, x_on_device_NE, precision, size.rows_at_once, latents), device, clock)
            if "failed" not in row:
                codes_NL = encoded(state, x_on_device_NE, precision, size.rows_at_once, latents)
                row["same_ids"] = round(float((codes_NL == reference_NL).all(1).float().mean()), 4)
            yield "encoding", row


def row_of(precision: str, compiled: bool, work: Callable[[], int], device: torch.device, clock: Clock) -> Row:
    """The figure of one way to do it. Compiling needs tools that a machine may lack: then the row says what failed."""
    row: Row = {"precision": precision, "compiled": compiled}
    try:
        return row | {"rows_per_s": round(rows_per_second(work, device, clock.each))}
    except Exception as error:
        if not compiled:
            raise
        return row | {"failed": reason(error)}


def training(
    size: QuantizerSize,
    precision: str,
    compiled: bool,
    x_NE: NDArray[np.float32],
    taxonomy: Taxonomy,
    targets: Targets,
    device: torch.device,
) -> Callable[[], int]:
    """Some steps of training as they are, sampler and losses included."""
    recipe = recipe_of(size, precision)
    state = start(recipe, targets, Worker(device=device))
    if compiled:
        state.model.compile()
    reports = fit(recipe, x_NE, taxonomy, targets, state, Worker(device=device))

    def work() -> int:
        for _ in range(size.steps):
            next(reports)
        return size.steps * size.batch_size

    return work


Latents = Callable[[Tensor], list[Tensor]]


def encoding(state: Fit, x_NE: Tensor, precision: str, rows: int, latents: Latents) -> Callable[[], int]:
    """All products from embeddings on the device to codes."""
    return lambda: len(encoded(state, x_NE, precision, rows, latents))


@torch.inference_mode()
def encoded(state: Fit, x_NE: Tensor, precision: str, rows: int, latents: Latents) -> Tensor:
    """Codes; codewords are compared in float32 whatever the precision, for near ones differ in less than bfloat16 can tell."""
    codes = []
    for x_BE in x_NE.split(rows):
        with torch.autocast(x_NE.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            z_LBD = latents(x_BE)
        codes.append(state.model.codebooks.assign(z_LBD))
    return torch.cat(codes)


def recipe_of(size: QuantizerSize, precision: str) -> Recipe:
    """The flavors' sizes of layers and codebooks."""
    training_settings = TrainingSettings(precision=precision, batch_size=size.batch_size, steps=1_000_000)
    return Recipe(name="gpu", quantizer=QuantizerSettings(), training=training_settings)


@torch.no_grad()
def rough_targets(recipe: Recipe, x_NE: NDArray[np.float32], device: torch.device) -> Targets:
    """Where training starts, without the smoothing over neighbours and with few iterations of k-means."""
    mean_E, basis_DE = principal_components(recipe, x_NE, device)
    residual_ND = (torch.from_numpy(x_NE).to(device) - mean_E) @ basis_DE.T
    generator, codewords, codes, spread = torch.Generator().manual_seed(0), [], [], []
    for size in recipe.quantizer.codebook_sizes:
        sample_SD = residual_ND[torch.randperm(len(residual_ND), generator=generator)[: 40 * size].to(device)]
        codewords_KD = lloyd(sample_SD, sample_SD[:size].clone(), ITERATIONS)
        code_N = nearest(residual_ND, codewords_KD)
        residual_ND = residual_ND - codewords_KD[code_N]
        codewords.append(codewords_KD.cpu().numpy())
        codes.append(code_N.cpu().numpy().astype(np.uint16))
        spread.append(float(residual_ND.square().sum(1).mean()))
    arrays = (mean_E.cpu().numpy(), basis_DE.cpu().numpy(), tuple(codewords))
    return Targets(np.stack(codes, 1), *arrays, np.array(spread, np.float32))
