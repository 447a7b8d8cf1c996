"""How fast a generator is trained on a device, and what share of the device's matrix throughput that is: part of gpu.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from constraint_cost import SIZES, uneven_codes
from device_timing import Clock, milliseconds, reason
from torch import Tensor
from untrained_generator import CODEBOOK_WIDTH

from shelfcode.interactions.session_log import SessionLog
from shelfcode.optimisation import Worker, descend
from shelfcode.retrieval.batches import SessionSampler
from shelfcode.retrieval.examples import Marks, Sampled, sample_batch
from shelfcode.retrieval.fitting import Fitting, fit, start_fitting
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.prompt_embedding import TokenTensors, on_device
from shelfcode.retrieval.recipe import ModelSettings, PromptSettings, RetrieverRecipe, RetrieverTraining
from shelfcode.retrieval.transformer import Shape


@dataclass(frozen=True)
class TrainingSize:
    """What is measured.

    Attributes:
        sessions: in all, of `products_a_session` each, a user having SESSIONS_A_USER of them.
        sessions_per_batch: of a step.
    """

    products: int
    sessions: int
    products_a_session: int
    sessions_per_batch: int
    models: tuple[ModelSettings, ...]
    compiled: tuple[bool, ...]


SESSIONS_A_USER = 8
FULL = TrainingSize(
    200_000, sessions=20_000, products_a_session=12, sessions_per_batch=512, compiled=(False, True),
    models=(
        ModelSettings(width=256, layers=6, heads=4, hidden=688),
        ModelSettings(width=1024, layers=8, heads=16, hidden=2752),
    ),
)  # fmt: skip
SMALL = TrainingSize(
    500, sessions=40, products_a_session=4, sessions_per_batch=4, compiled=(False,),
    models=(ModelSettings(width=32, layers=1, heads=2, hidden=48),),
)  # fmt: skip
MARKS = Marks(retailers=100, surfaces=2)

Row = dict[str, Any]
Batch = tuple[TokenTensors, Tensor, Tensor, Tensor, Tensor]


def measure_training(size: TrainingSize, device: torch.device, clock: Clock, matrix_flops: float) -> Iterator[Row]:
    """A row for each model, compiled and not: a step on a batch that lies on the device, and the whole loop, which samples each batch.

    Args:
        matrix_flops: floating-point operations a second of the device's largest product, in bfloat16.
    """
    log, codes_NL = some_log(size), uneven_codes(size.products, np.random.default_rng(0))
    for settings in size.models:
        recipe = recipe_of(size, settings)
        sampled = sample_batch(log, np.arange(size.sessions_per_batch), MARKS, recipe.prompt, np.random.default_rng(0))
        for compiled in size.compiled:
            if clock.over():
                return
            torch.manual_seed(0)
            generator = Generator(recipe, MARKS, [torch.randn(codewords, CODEBOOK_WIDTH) for codewords in SIZES])
            state = start_fitting(generator, recipe, Worker(device=device))
            generator.with_codes(codes_NL)  # puts them where the weights are
            if compiled:
                generator.transformer.compile()
            parameters = sum(weight.numel() for weight in generator.parameters())
            row: Row = {"width": settings.width, "parameters": parameters, "compiled": compiled}
            try:
                row |= of_step(generator, state, sampled, device, clock, matrix_flops)
            except Exception as error:  # compiling needs tools that a machine may lack
                if not compiled:
                    raise
                yield row | {"failed": reason(error)}
                continue
            # Batches differ in their lengths, for each of which a compiled model would be compiled again.
            yield row if compiled else row | of_loop(state, recipe, log, sampled, device, clock)


def of_step(generator: Generator, state: Fitting, sampled: Sampled, device: torch.device, clock: Clock, matrix_flops: float) -> Row:
    """A batch that lies on the device, again and again."""
    step = step_of(generator, state.optimizer, batch_of(sampled, device))
    seconds = float(np.median(milliseconds({"step": step}, device, clock.each)["step"])) / 1000
    tokens, flops = tokens_and_flops(generator.transformer.shape, sampled)
    share = flops / seconds / matrix_flops
    return {"step_ms": round(1000 * seconds, 2), "tokens_per_s": round(tokens / seconds), "share_of_matrix_rate": round(share, 4)}


def of_loop(state: Fitting, recipe: RetrieverRecipe, log: SessionLog, sampled: Sampled, device: torch.device, clock: Clock) -> Row:
    """Training as it is, with every batch sampled on the CPU."""
    sampler = SessionSampler(np.arange(log.sessions), np.diff(log.first_S), 0, recipe.training.sessions_per_batch)
    steps = fit(recipe, log, MARKS, sampler, state, Worker(device=device))
    seconds = float(np.median(milliseconds({"loop": lambda: next(steps)}, device, clock.each)["loop"])) / 1000
    (tokens, _), sessions = tokens_and_flops(state.model.transformer.shape, sampled), recipe.training.sessions_per_batch
    return {"loop_tokens_per_s": round(tokens / seconds), "loop_sessions_per_s": round(sessions / seconds)}


def step_of(generator: Generator, optimizer: torch.optim.Optimizer, batch: Batch) -> Callable[[], None]:
    """A step of training on one batch, as `fit` takes it."""
    tokens, row_M, position_M, product_M, weight_M = batch
    generator.train()

    def step() -> None:
        with torch.autocast(row_M.device.type, torch.bfloat16):
            loss_ML = generator.target_losses(tokens, row_M, position_M, product_M)
        descend(optimizer, (loss_ML.sum(1) * weight_M).sum() / weight_M.sum(), 1e-4, clip_norm=1.0)

    return step


def tokens_and_flops(model: Shape, sampled: Sampled) -> tuple[int, float]:
    """Tokens of a batch without its padding, those of the targets' branches included, and what a step on them takes at the least.

    Two operations a weight and token forward, twice as many backward; attention to the prompt, and the outputs of all levels.
    """
    length_R, targets, levels = sampled.tokens.length_R, len(sampled.targets.row_M), len(SIZES)
    tokens = int(length_R.sum()) + targets * (levels - 1)
    block = 4 * model.width**2 + 3 * model.width * model.hidden
    seen = float((length_R**2).sum() / 2 + (levels - 1) * length_R[sampled.targets.row_M].sum())
    forward = 2 * model.layers * (tokens * block + 2 * seen * model.width) + 2 * targets * model.width * sum(SIZES)
    return tokens, 3 * forward


def batch_of(sampled: Sampled, device: torch.device) -> Batch:
    """On the device."""
    targets = sampled.targets
    row_M, position_M, product_M, weight_M = (
        torch.from_numpy(array).to(device) for array in (targets.row_M, targets.position_M, targets.product_M, targets.weight_M)
    )
    return on_device(sampled.tokens, device), row_M, position_M, product_M, weight_M


def recipe_of(size: TrainingSize, settings: ModelSettings) -> RetrieverRecipe:
    """bfloat16, and the defaults otherwise."""
    training = RetrieverTraining(precision="bfloat16", sessions_per_batch=size.sessions_per_batch, epochs=1000)
    return RetrieverRecipe(model=settings, prompt=PromptSettings(), training=training)


def some_log(size: TrainingSize) -> SessionLog:
    """Sets of products drawn at random."""
    random, count = np.random.default_rng(0), size.sessions
    product_SE = np.stack([random.choice(size.products, size.products_a_session, replace=False) for _ in range(count)])
    return SessionLog(
        product_E=product_SE.reshape(-1).astype(np.int32),
        first_S=np.arange(count + 1) * size.products_a_session,
        user_S=(np.arange(count) // SESSIONS_A_USER).astype(np.int32),
        retailer_S=random.integers(0, MARKS.retailers, count).astype(np.int32),
        surface_S=random.integers(0, MARKS.surfaces, count).astype(np.int32),
        at_S=1_600_000_000 + np.arange(count) % SESSIONS_A_USER * 86_400,
        retailers=tuple(map(str, range(MARKS.retailers))), surfaces=tuple(map(str, range(MARKS.surfaces))),
        ordered=False, key_S=np.arange(count, dtype=np.uint64),
    )  # fmt: skip
