"""The softmax over a whole catalog and its gradient, a few tokens at a time: logits of all tokens at once would not fit into a cache."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here A tokens that something is predicted after, M targets, N products, D width.

from typing import Any

import torch
from torch import Tensor

LOGITS_AT_A_TIME = 2**23


def catalog_cross_entropy(
    h_AD: Tensor, weight_ND: Tensor, bias_N: Tensor, extra: tuple[Tensor, Tensor, Tensor], of_M: Tensor, product_M: Tensor,
    weight_M: Tensor, smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Weighted sum over targets of -log softmax(h W^T + b + extra)[target].

    Args:
        extra: values, tokens and products: what is added to the logit of some products at some tokens.
        of_M, product_M, weight_M: the token (ascending), the product and the weight of each target.
        smoothing: share of each target that goes to all products alike.
    """
    loss: Tensor = _CatalogCrossEntropy.apply(h_AD, weight_ND, bias_N, *extra, of_M, product_M, weight_M, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _CatalogCrossEntropy(torch.autograd.Function):
    """The loss, and its gradient made on the way, as in fused kernels for GPUs."""

    @staticmethod
    def forward(
        ctx: Any, h_AD: Tensor, weight_ND: Tensor, bias_N: Tensor, extra_E: Tensor, at_E: Tensor, product_E: Tensor, of_M: Tensor,
        product_M: Tensor, weight_M: Tensor, smoothing: float,
    ) -> Tensor:  # fmt: skip
        half = h_AD.dtype == torch.bfloat16 or torch.is_autocast_enabled(h_AD.device.type)
        dtype = torch.bfloat16 if half else torch.float32
        h, weight = h_AD.to(dtype), weight_ND.to(dtype)
        grad_h, grad_weight, grad_bias = torch.zeros_like(h_AD), torch.zeros_like(weight_ND), torch.zeros_like(bias_N)
        grad_extra, loss = torch.zeros_like(extra_E), h_AD.new_zeros((), dtype=torch.float32)
        order_E = torch.argsort(at_E, stable=True)
        step = max(1, LOGITS_AT_A_TIME // len(weight))
        edges = torch.arange(0, len(h) + step, step, device=h.device).clamp(max=len(h))
        edges_E, edges_M = (torch.searchsorted(rows.contiguous(), edges).tolist() for rows in (at_E[order_E], of_M))
        for chunk, low in enumerate(range(0, len(h), step)):
            part = slice(low, min(low + step, len(h)))
            extra, targets = order_E[edges_E[chunk] : edges_E[chunk + 1]], slice(edges_M[chunk], edges_M[chunk + 1])
            logits = (h[part] @ weight.T).float().add_(bias_N)
            logits.index_put_((at_E[extra] - low, product_E[extra]), extra_E[extra].float(), accumulate=True)
            normaliser = logits.logsumexp(1)
            at, product, share = of_M[targets] - low, product_M[targets], weight_M[targets]
            logit_M = logits[at, product]
            loss += (share * (normaliser[at] - (1 - smoothing) * logit_M)).sum()
            total = torch.zeros_like(normaliser).index_add_(0, at, share)
            if smoothing:
                loss -= smoothing * (total * logits.mean(1)).sum()
            gradient = logits.sub_(normaliser[:, None]).exp_().mul_(total[:, None])
            if smoothing:
                gradient.sub_(smoothing / len(weight) * total[:, None])
            gradient.index_put_((at, product), -(1 - smoothing) * share, accumulate=True)
            grad_extra[extra] = gradient[at_E[extra] - low, product_E[extra]].to(grad_extra.dtype)
            grad_bias += gradient.sum(0)
            small = gradient.to(dtype)
            grad_h[part] = (small @ weight).to(grad_h.dtype)
            grad_weight += (small.T @ h[part]).float()
        ctx.save_for_backward(grad_h, grad_weight, grad_bias, grad_extra)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_h, grad_weight, grad_bias, grad_extra = ctx.saved_tensors
        by = grad[0]
        return grad_h * by.to(grad_h.dtype), grad_weight * by, grad_bias * by, grad_extra * by, *[None] * 6
