"""A transformer as large as the generator of the small recipe, not trained: for measuring what is around it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SmallTransformer(nn.Module):
    """Decoder-only, with one output a level. Its beams share the prompt's keys and values, and keep those of their own codewords."""

    def __init__(
        self, sizes: Sequence[int], requests: int, layers: int = 4, width: int = 128, heads: int = 4, hidden: int = 344, prompt: int = 96
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.codeword = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.output = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.register_buffer("token_RTD", torch.randn(requests, prompt, width))
        self.read()

    @torch.inference_mode()
    def read(self) -> None:
        """Read the prompt."""
        x_RTD, kept = self.token_RTD, []
        for block in self.blocks:
            x_RTD, keys_values = block.read(x_RTD)
            kept.append(keys_values)
        self.prompt, self.last_RD, self.beams = kept, self.norm(x_RTD[:, -1]), None

    def start(self) -> Tensor:
        self.beams = None
        return self.output[0](self.last_RD)

    def step(self, level: int, parent_RW: Tensor, code_RW: Tensor) -> Tensor:
        x_RWD = self.codeword[level - 1](code_RW)
        if self.beams is not None:  # [layers, 2, R, H, W, tokens, E]
            shape = list(self.beams.shape)
            shape[4] = parent_RW.shape[1]
            self.beams = self.beams.gather(4, parent_RW[None, None, :, None, :, None, None].expand(shape))
        kept = []
        for layer, block in enumerate(self.blocks):
            x_RWD, keys_values = block(x_RWD, self.prompt[layer], None if self.beams is None else self.beams[layer])
            kept.append(keys_values)
        self.beams = torch.stack(kept)
        return self.output[level](self.norm(x_RWD))


class Block(nn.Module):
    """Attention to the prompt and to the beam's own tokens under one softmax, and a gated linear unit."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate, self.up, self.down = nn.Linear(width, hidden), nn.Linear(width, hidden), nn.Linear(hidden, width)

    def read(self, x_RTD: Tensor) -> tuple[Tensor, Tensor]:
        """The prompt, each token after those before it."""
        query, *own = self._projected(x_RTD)
        return self._finished(x_RTD, nn.functional.scaled_dot_product_attention(query, *own, is_causal=True)), torch.stack(own)

    def forward(self, x_RWD: Tensor, prompt: Tensor, beams: Tensor | None) -> tuple[Tensor, Tensor]:
        """One more token of each beam."""
        qkv = self._projected(x_RWD)
        query, own = qkv[0] * qkv.shape[-1] ** -0.5, qkv[1:].unsqueeze(4)
        own = own if beams is None else torch.cat([beams, own], dim=4)
        scores = torch.cat([query @ prompt[0].transpose(2, 3), (query.unsqueeze(3) * own[0]).sum(4)], dim=3)
        share, tokens = scores.softmax(dim=3), prompt.shape[3]
        return self._finished(x_RWD, share[..., :tokens] @ prompt[1] + (share[..., tokens:, None] * own[1]).sum(3)), own

    def _projected(self, x_RWD: Tensor) -> Tensor:
        """Queries, keys and values: [3, R, H, W, E]."""
        return self.qkv(self.before(x_RWD)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def _finished(self, x_RWD: Tensor, found: Tensor) -> Tensor:
        x_RWD = x_RWD + self.out(found.transpose(1, 2).flatten(2))
        y_RWD = self.between(x_RWD)
        return x_RWD + self.down(nn.functional.silu(self.gate(y_RWD)) * self.up(y_RWD))
