"""Teaching a student to extract, in plain torch: pairs of product text and answer -> a causal language model.

The loss is the cross-entropy of the answer's tokens given the product's text (sequence-level distillation, Kim & Rush 2016):
the teacher's words are the target, so any teacher will do, even one that is only known by its output.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from shelfcode.attributes.distil.student import StudentRecipe, freeze_below, value_spans
from shelfcode.attributes.prompt import messages
from shelfcode.attributes.schema import ExtraAttributes
from shelfcode.llm.prompt import prompt_text
from shelfcode.optimisation import Worker, descend, warmup_cosine

IGNORED = -100
BATCHES_SORTED_TOGETHER = 32
"""Pairs of so many batches are sorted by length before they are dealt out: little padding, and still a mix. Never more than there are
pairs: the repetitions of a pair would end up side by side."""


@dataclass(frozen=True)
class Lesson:
    """One pair as tokens: a prompt, the answer, and the end.

    Attributes:
        left_out: places of the answer's tokens that are read and not learnt, because the teacher does not know what stands there.
    """

    tokens_T: NDArray[np.int32]
    answer_from: int
    left_out: tuple[int, ...] = ()


@dataclass
class Teaching:
    """The state of training after `step` batches."""

    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])


def lessons(
    pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, extra: ExtraAttributes, max_tokens: int,
    known: Sequence[Collection[str]] | None = None,
) -> tuple[list[Lesson], int]:  # fmt: skip
    """Pairs as tokens, and how many were left out because prompt and answer are longer than `max_tokens`.

    Args:
        known: the attributes that each pair's teacher knows, all of them when None. The others' values are left out of the loss, and an
            answer ends with the last value that is known.
    """
    prompts = [prompt_text(tokenizer, messages(text, extra)) for text, _ in pairs]
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    answers = tokenizer([answer for _, answer in pairs], add_special_tokens=False, return_offsets_mapping=True)
    made = []
    for row, (_, answer) in enumerate(pairs):
        prompt, ids, left_out = prompt_ids[row], [*answers["input_ids"][row], tokenizer.eos_token_id], tuple[int, ...]()
        if known is not None:
            taught, left_out = _known_tokens(answer, answers["offset_mapping"][row], known[row], len(prompt))
            ids = ids[:taught]
        if len(prompt) + len(ids) <= max_tokens:
            made.append(Lesson(np.array([*prompt, *ids], dtype=np.int32), len(prompt), left_out))
    return made, len(pairs) - len(made)


def _known_tokens(answer: str, offsets: Sequence[tuple[int, int]], known: Collection[str], answer_from: int) -> tuple[int, tuple[int, ...]]:
    """How many of an answer's tokens, and its end, are taught at all, and which of these are left out of the loss."""
    spans = value_spans(answer)
    strange = [span for name, span in spans.items() if name not in known]
    last = max(spans[name][1] for name in known if name in spans)
    whole = last == max(end for _, end in spans.values())
    taught = len(offsets) + 1 if whole else sum(start < last for start, _ in offsets)
    left_out = [
        answer_from + place
        for place, (start, end) in enumerate(offsets[:taught])
        if any(start < span_end and end > span_start for span_start, span_end in strange)
    ]
    return taught, tuple(left_out)


class AnswerLoss(nn.Module):
    """Mean cross-entropy of the answers' tokens; logits are made for those only."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BT: Tensor, target_BT: Tensor) -> Tensor:
        """tokens_BT: padded on the right; target_BT: the next token where it is to be learnt, else IGNORED."""
        hidden_BTD = self.model.base_model(input_ids=tokens_BT).last_hidden_state
        taught_BT = target_BT != IGNORED
        logits_AV = self.model.get_output_embeddings()(hidden_BTD[taught_BT])
        return nn.functional.cross_entropy(logits_AV.float(), target_BT[taught_BT])


def start_teaching(recipe: StudentRecipe, model: PreTrainedModel, device: torch.device) -> Teaching:
    """Model and optimizer before the first batch; raises as `freeze_below`."""
    model = model.to(device)
    if recipe.trained_layers:
        freeze_below(model, recipe.trained_layers)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay, fused=True)
    return Teaching(model, optimizer)


def teach(
    recipe: StudentRecipe,
    taught: Sequence[Lesson],
    state: Teaching,
    worker: Worker,
    distribute: Callable[[nn.Module], nn.Module] = DistributedDataParallel,
) -> Iterator[tuple[int, float]]:
    """Train from `state.step` on, in place; yields step and loss after every batch. The batches do not depend on the number of workers.

    Args:
        distribute: makes several workers average their gradients.
    """
    module: nn.Module = AnswerLoss(state.model)
    if worker.world_size > 1:
        module = distribute(module)
    state.model.train()
    share, device = worker.share(recipe.batch_size), worker.device
    for step in range(state.step, recipe.steps):
        batch = [taught[row] for row in batch_rows(taught, recipe.batch_size, recipe.seed, step)[share]]
        tokens_BT, target_BT = (array_BT.to(device) for array_BT in padded(batch))
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            loss = module(tokens_BT, target_BT)
        rate = warmup_cosine(step, recipe.steps, recipe.warmup_steps, recipe.learning_rate, floor=0.01)
        descend(state.optimizer, loss, rate, clip_norm=1.0)
        state.step = step + 1
        yield state.step, float(loss.detach())


def batch_rows(taught: Sequence[Lesson], batch_size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Which pairs make up a batch: every pair once per epoch, pairs of similar length together."""
    window = min(BATCHES_SORTED_TOGETHER, max(1, len(taught) // batch_size)) * batch_size
    first = step * batch_size
    begin = first - first % window
    places = _shuffled(len(taught), seed, begin, begin + window)
    by_length = places[np.argsort([len(taught[row].tokens_T) for row in places], kind="stable")].reshape(-1, batch_size)
    order = np.random.default_rng([seed, 1, begin]).permutation(len(by_length))
    return by_length[order[(first - begin) // batch_size]]


def _shuffled(count: int, seed: int, begin: int, end: int) -> NDArray[np.int64]:
    """Positions begin to end of an endless row of shuffled epochs."""
    rows = [np.random.default_rng([seed, epoch]).permutation(count) for epoch in range(begin // count, (end - 1) // count + 1)]
    offset = begin - begin // count * count
    return np.concatenate(rows)[offset : offset + end - begin]


def padded(batch: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
    """Tokens and targets of a batch, int64[B, T], shifted against each other by one."""
    longest = max(len(lesson.tokens_T) for lesson in batch) - 1
    tokens_BT = torch.zeros(len(batch), longest, dtype=torch.int64)
    target_BT = torch.full((len(batch), longest), IGNORED, dtype=torch.int64)
    for row, lesson in enumerate(batch):
        tokens_T = torch.from_numpy(lesson.tokens_T.astype(np.int64))
        tokens_BT[row, : len(tokens_T) - 1] = tokens_T[:-1]
        target_BT[row, lesson.answer_from - 1 : len(tokens_T) - 1] = tokens_T[lesson.answer_from :]
        target_BT[row, [place - 1 for place in lesson.left_out]] = IGNORED
    return tokens_BT, target_BT
