"""The oracle of beam search: every semantic ID that may be returned, scored and sorted.

It shares nothing with the search but the model: no trie, no set counts, no cut. The model is made to write every prefix that exists.
"""
# Tensor suffixes: N products, L levels, R requests, P prefixes without the last level, I semantic IDs, K codewords

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.retrieval.decoder.beam_search import Beams, CodewordModel
from shelfcode.semantic_id import pack

CHUNK = 4096


@torch.inference_mode()
def score_all(model: CodewordModel, codes_IL: NDArray[np.integer], chunk: int = CHUNK) -> NDArray[np.float32]:
    """The model's log-probability of every semantic ID: float32[R, I].

    Args:
        codes_IL: distinct semantic IDs, ascending.
        chunk: beams that the model is given at once.
    """
    prefix_PL, prefix_I = np.unique(codes_IL[:, :-1].astype(np.int64), axis=0, return_inverse=True)
    if not prefix_PL.shape[1]:
        return _log_softmax(model.start())[:, codes_IL[:, -1].astype(np.int64)].cpu().numpy()
    of_chunks = []
    for low in range(0, len(prefix_PL), chunk):
        log_p_RP, last_RPK = _write(model, torch.from_numpy(prefix_PL[low : low + chunk]))
        here_I = (prefix_I >= low) & (prefix_I < low + chunk)
        at_I, code_I = torch.from_numpy(prefix_I[here_I] - low), torch.from_numpy(codes_IL[here_I, -1].astype(np.int64))
        of_chunks.append((log_p_RP[:, at_I] + last_RPK[:, at_I, code_I]).cpu().numpy())
    return np.concatenate(of_chunks, axis=1)  # chunks of prefixes in order, and so the semantic IDs


def exhaustive_search(
    model: CodewordModel, codes_NL: NDArray[np.integer], sizes: Sequence[int], holds_RN: NDArray[np.bool_], width: int, chunk: int = CHUNK
) -> Beams:
    """The most probable semantic IDs of the products that each request may be answered with. Ties go to the smaller ID.

    Args:
        holds_RN: the products that each request may be answered with.
        width: semantic IDs a request.
    """
    _, first_I, leaf_N = np.unique(pack(codes_NL, sizes), return_index=True, return_inverse=True)
    score_RI = score_all(model, codes_NL[first_I], chunk)
    leaf_RW, log_p_RW = np.full((len(holds_RN), width), -1, np.int32), np.full((len(holds_RN), width), -np.inf, np.float32)
    for request, holds_N in enumerate(holds_RN):
        leaf_M = np.unique(leaf_N[holds_N])
        best_W = leaf_M[np.argsort(-score_RI[request, leaf_M], kind="stable")][:width]
        leaf_RW[request, : len(best_W)], log_p_RW[request, : len(best_W)] = best_W, score_RI[request, best_W]
    return Beams(torch.from_numpy(leaf_RW), torch.from_numpy(log_p_RW))


def _write(model: CodewordModel, prefix_PL: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability of some prefixes, [R, P], and of every codeword after them, [R, P, K]."""
    log_softmax_RK = _log_softmax(model.start())
    prefix_PL = prefix_PL.to(log_softmax_RK.device)
    log_p_RP = log_softmax_RK[:, prefix_PL[:, 0]]
    parent_RP = torch.zeros(log_p_RP.shape, dtype=torch.int64, device=log_p_RP.device)
    last_RPK = log_softmax_RK.unsqueeze(1)
    for level in range(1, prefix_PL.shape[1] + 1):
        last_RPK = _log_softmax(model.step(level, parent_RP, prefix_PL[:, level - 1].expand_as(parent_RP)))
        if level < prefix_PL.shape[1]:
            log_p_RP = log_p_RP + last_RPK.gather(2, prefix_PL[:, level].view(1, -1, 1).expand(len(last_RPK), -1, 1)).squeeze(2)
        parent_RP = torch.arange(len(prefix_PL), device=log_p_RP.device).expand_as(parent_RP)
    return log_p_RP, last_RPK


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.float().log_softmax(dim=-1)
