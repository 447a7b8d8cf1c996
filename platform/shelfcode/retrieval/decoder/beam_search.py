"""Beam search for the semantic IDs that a model finds most probable, among those that may be returned.

The score of a prefix is the sum of its levels' log-softmax over the whole codebook. Children that do not exist or may not be returned are
left out and the others are not renormalised, so that the scores of two retailers compare. Every node that a beam takes has a leaf below
it that may be returned; so B beams end in B semantic IDs wherever there are B.

All shapes depend only on the number of requests, the width, the trie and how many products a request may exclude, and nothing waits for
the device: on a GPU the whole search can be captured in one CUDA graph.

With a temperature above 0 semantic IDs are drawn without replacement instead (drawing.py) and come in the order in which they were drawn.
The first of them tends to the greedy choice as the temperature tends to 0.
"""
# Tensor suffixes: R requests, W beams of a request, C candidates below a beam, M = W * C, K codewords of a level, X excluded products

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from shelfcode.retrieval.decoder.allowed import Allowed, Closed
from shelfcode.retrieval.decoder.drawing import Drawing, Drawn, draw_children
from shelfcode.retrieval.decoder.trie import LevelTensors, TrieTensors

SCORE = 1 << 32
"""A key is the bits of a cost times this, plus a node: the smaller key is the better candidate, and of equal costs the smaller node."""
BARRED = 0x7FFFFFFF * SCORE
"""The key of a candidate that may not be taken, plus the number of nodes, where no beam can go on: above that of any cost, even NaN."""


class CodewordModel(Protocol):
    """Asks a generator for the next codeword. Levels count from 0; one state serves R requests with W beams each."""

    def start(self) -> Tensor:
        """Forget all beams and go back to the end of the prompt. Returns the logits of level 0: float[R, K]."""
        ...

    def step(self, level: int, parent_RW: Tensor, code_RW: Tensor) -> Tensor:
        """Write one more codeword to every beam.

        Args:
            level: the level to predict, 1 or more.
            parent_RW: int64, the beam that each beam goes on from; at level 1 all are 0. W may differ from level to level.
            code_RW: int64, the codeword that each beam took on the level above.

        Returns:
            Logits of the level: float[R, W, K].
        """
        ...


@dataclass(frozen=True)
class Beams:
    """What was found for R requests, best first; with a temperature, first drawn first.

    Attributes:
        leaf_RW: int32, leaves of the trie; -1 where a request has fewer.
        log_probability_RW: float32, of the model, at temperature 1 and over whole codebooks; -inf where a request has fewer.
        steps: how they came about, level by level; empty where there was no search.
    """

    leaf_RW: Tensor
    log_probability_RW: Tensor
    steps: tuple["BeamStep", ...] = ()


@dataclass(frozen=True)
class BeamStep:
    """The beams after one level, the best first; fewer on the first levels, where there are fewer prefixes.

    Attributes:
        parent_RW: int64, the beam of the level before that each goes on from.
        code_RW: int64, the codeword that each took.
        log_probability_RW: float32, of the prefix; -inf where a request has fewer beams.
    """

    parent_RW: Tensor
    code_RW: Tensor
    log_probability_RW: Tensor


@dataclass(frozen=True)
class _State:
    """The beams after a level, the best first.

    Attributes:
        node_RW: the node of each beam; where there is no such beam, as many as the level has nodes.
        beam_RW, code_RW: the beam that each comes from, and the codeword that it took.
        cost_RW: -log p of the model.
        drawn: None where nothing is drawn.
    """

    node_RW: Tensor
    beam_RW: Tensor
    code_RW: Tensor
    cost_RW: Tensor
    drawn: Drawn | None


@dataclass(frozen=True)
class _Candidates:
    """The children of all beams.

    Attributes:
        node_RWC: int64.
        code_RWC: int64, or None where candidate c is codeword c.
        legal_RWC: whether each may be taken.
    """

    node_RWC: Tensor
    code_RWC: Tensor | None
    legal_RWC: Tensor


@torch.inference_mode()
def beam_search(
    model: CodewordModel, trie: TrieTensors, allowed: Allowed, width: int, temperature: float | Tensor = 0.0,
    width_R: Tensor | None = None, generator: torch.Generator | None = None,
) -> Beams:  # fmt: skip
    """The most probable semantic IDs, or with a temperature some that are drawn without replacement. Ties go to the smaller ID.

    Args:
        width: W, beams a request.
        temperature: of all requests, or float[R]; 0 takes the most probable.
        width_R: int64, beams of each request where they differ, at most `width`; the answer is that of the request alone.
        generator: of the noise, on the device of the model.
    """
    drawing = _drawing(temperature, allowed.set_R, generator)
    state, steps = _root(allowed.set_R, drawing is not None), []
    set_R1, closed_L = allowed.set_R.unsqueeze(1), allowed.closed_L or [None] * len(trie.levels)
    for depth, (level, may_SV, closed) in enumerate(zip(trie.levels, allowed.may_LSV, closed_L, strict=True)):
        logits_RWK = model.step(depth, state.beam_RW, state.code_RW) if depth else model.start().unsqueeze(1)
        candidates = _candidates(state.node_RW, level, may_SV, set_R1, closed)
        state = _best(state, logits_RWK.log_softmax(dim=2, dtype=torch.float32), candidates, level, width, width_R, drawing)
        prefix_RW = torch.where(state.node_RW < level.nodes, -state.cost_RW, -torch.inf)
        steps.append(BeamStep(state.beam_RW, state.code_RW, prefix_RW))
    alive_RW, short = state.node_RW < trie.levels[-1].nodes, width - state.node_RW.shape[1]
    leaf_RW = torch.where(alive_RW, state.node_RW, -1).to(torch.int32)
    log_probability_RW = steps[-1].log_probability_RW
    if not short:
        return Beams(leaf_RW, log_probability_RW, tuple(steps))
    return Beams(pad(leaf_RW, (0, short), value=-1), pad(log_probability_RW, (0, short), value=-torch.inf), tuple(steps))


def _drawing(temperature: float | Tensor, set_R: Tensor, generator: torch.Generator | None) -> Drawing | None:
    if isinstance(temperature, Tensor):
        return Drawing(temperature.float(), generator)
    return Drawing(torch.full(set_R.shape, float(temperature), device=set_R.device), generator) if temperature else None


def _root(set_R: Tensor, drawn: bool) -> _State:
    """One beam a request, at the root. Its perturbed log p may be any number: which leaves are drawn does not depend on it."""
    node_R1 = torch.zeros_like(set_R).unsqueeze(1)
    zero_R1 = torch.zeros_like(node_R1, dtype=torch.float32)
    return _State(node_R1, node_R1, node_R1, zero_R1, Drawn(zero_R1, zero_R1) if drawn else None)


def _candidates(node_RW: Tensor, level: LevelTensors, may_SV: Tensor, set_R1: Tensor, closed: Closed | None) -> _Candidates:
    """The children of all beams, as many slots a beam as a parent may have children."""
    if level.range_P2 is None or level.code_V is None:
        row_RW = torch.add(node_RW, set_R1, alpha=level.parents + 1)
        legal_RWC = torch.embedding(may_SV.view(-1, level.branching), row_RW)
        found = _Candidates(torch.add(level.slot_C, node_RW.unsqueeze(2), alpha=level.branching), None, legal_RWC)
    else:
        first_RW1, end_RW1 = torch.embedding(level.range_P2, node_RW).split(1, dim=2)
        child_RWC = first_RW1 + level.slot_C
        at_RWC = torch.add(child_RWC, set_R1.unsqueeze(2), alpha=may_SV.shape[1])
        legal_RWC = _take(may_SV.view(-1), at_RWC).logical_and_(child_RWC < end_RW1)
        found = _Candidates(child_RWC, _take(level.code_V, child_RWC).long(), legal_RWC)
    if closed is not None:  # a closed node is among the children of the beam that is at its parent, if there is one
        open_RWX = node_RW.unsqueeze(2) != closed.parent_R1X
        slot_RWX = closed.slot_R1X.expand_as(open_RWX)
        found.legal_RWC.view(torch.uint8).scatter_reduce_(2, slot_RWX, open_RWX.view(torch.uint8), "amin")
    return found


def _best(
    state: _State, log_p_RWK: Tensor, candidates: _Candidates, level: LevelTensors, width: int, width_R: Tensor | None,
    drawing: Drawing | None,
) -> _State:  # fmt: skip
    """The best candidates of all beams together."""
    log_p_RWC = log_p_RWK if candidates.code_RWC is None else log_p_RWK.gather(2, candidates.code_RWC)
    cost_RWC = state.cost_RW.unsqueeze(2) - log_p_RWC
    bits_RWC = cost_RWC.view(torch.int32)  # of numbers from 0 up, which their bits order as the numbers
    drawn = None
    if drawing is not None and state.drawn is not None:
        drawn = draw_children(state.drawn, log_p_RWC, candidates.legal_RWC, drawing)
        bits_RWC = _ordered_bits(torch.where(drawing.temperature_R.view(-1, 1, 1) > 0, -drawn.perturbed, cost_RWC))
    barred = BARRED + level.nodes
    key_RWC = torch.where(candidates.legal_RWC, torch.add(candidates.node_RWC, bits_RWC, alpha=SCORE), barred)
    best_RW, index_RW = key_RWC.flatten(1).topk(min(width, key_RWC.shape[1] * level.branching), dim=1, largest=False)
    if width_R is not None:
        wanted_RW = torch.arange(best_RW.shape[1], device=best_RW.device) < width_R.unsqueeze(1)
        best_RW = torch.where(wanted_RW, best_RW, barred)
    node_RW, beam_RW = best_RW & (SCORE - 1), index_RW // level.branching
    code_RW = index_RW % level.branching if level.code_V is None else level.code_V.take(node_RW).long()
    drawn = drawn and Drawn(drawn.log_p.flatten(1).gather(1, index_RW), drawn.perturbed.flatten(1).gather(1, index_RW))
    return _State(node_RW, beam_RW, code_RW, cost_RWC.flatten(1).gather(1, index_RW), drawn)


def _ordered_bits(x: Tensor) -> Tensor:
    """float32 -> int32 in the same order."""
    bits = x.view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _take(table_V: Tensor, index: Tensor) -> Tensor:
    """`table_V[index]`, and `table_V.take(index)`, but many entries several times faster on a CPU."""
    return table_V.index_select(0, index.flatten()).view(index.shape)
