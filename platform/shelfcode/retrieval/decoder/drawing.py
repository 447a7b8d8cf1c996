"""Drawing without replacement from the leaves of a tree, by Gumbel noise that is drawn from the top down.

Leaves with the largest log p + Gumbel noise are a sample without replacement, in the order in which they would be drawn one by one (the
Gumbel-top-k trick). The largest perturbed log p below a node is itself Gumbel noise around the node's log p, so it can be drawn at the
node first and the noise of its children on the condition that the largest is that: a search that keeps the B nodes with the largest ends
with the B leaves with the largest (Kool, van Hoof and Welling, 2019, "Stochastic beams and where to find them", algorithm 1).
"""
# Tensor suffixes: R requests, W beams of a request, C candidates below a beam

from dataclasses import dataclass

import torch
from torch import Tensor

COLDEST = 1e-6
"""Temperatures below this draw as this one does."""


@dataclass(frozen=True)
class Drawing:
    """How to draw.

    Attributes:
        temperature_R: float32; of a request that is not drawn but searched, 0.
        generator: of the noise; None is the device's own.
    """

    temperature_R: Tensor
    generator: torch.Generator | None


@dataclass(frozen=True)
class Drawn:
    """Nodes in the course of drawing.

    Attributes:
        log_p: float32[R, W] or [R, W, C], of the distribution that is drawn from.
        perturbed: the same plus Gumbel noise, of the same shape.
    """

    log_p: Tensor
    perturbed: Tensor


def draw_children(drawn: Drawn, log_p_RWC: Tensor, legal_RWC: Tensor, drawing: Drawing) -> Drawn:
    """The children of some nodes: of each, the largest perturbed log p is the node's own, and the others are drawn on that condition.

    A codeword is drawn with probability softmax(log-probability / temperature) over the children that may be taken. Given phi, a child's
    log p, G its noise around phi, Z the largest G and G* the node's perturbed log p, the child's is
    -log(exp(-G*) - exp(-Z) + exp(-G)), computed as in appendix B.3 of the paper.

    Args:
        drawn: [R, W].
        log_p_RWC: the model's, of each child given its node.
        legal_RWC: which children may be taken; the others get no number that means anything.
    """
    temperature_R11 = drawing.temperature_R.clamp(min=COLDEST).view(-1, 1, 1)
    tempered_RWC = torch.where(legal_RWC, log_p_RWC / temperature_R11, -torch.inf).log_softmax(dim=2).nan_to_num(nan=-torch.inf)
    phi_RWC = drawn.log_p.unsqueeze(2) + tempered_RWC
    waiting_RWC = torch.empty_like(phi_RWC).exponential_(generator=drawing.generator)
    gumbel_RWC = phi_RWC - waiting_RWC.clamp_(min=torch.finfo(torch.float32).tiny).log_()
    largest_RW1, node_RW1 = gumbel_RWC.amax(dim=2, keepdim=True), drawn.perturbed.unsqueeze(2)
    v_RWC = node_RW1 - gumbel_RWC + torch.log1p(-(gumbel_RWC - largest_RW1).exp())
    perturbed_RWC = node_RW1 - v_RWC.clamp(min=0) - torch.log1p((-v_RWC.abs()).exp())
    return Drawn(phi_RWC, perturbed_RWC.nan_to_num(nan=-torch.inf))
