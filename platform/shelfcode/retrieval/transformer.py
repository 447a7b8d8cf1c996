"""The transformer that the generator and the scoring model share: decoder blocks as in Llama, in plain torch.

RMSNorm before each part, rotary positions, gated linear units, no biases (Touvron et al. 2023): the weights of a causal one can be
written as a Llama model, which other engines load.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here B rows, T tokens, D width, H heads, E width of a head.

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6
ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer.

    Attributes:
        width: of a token's vector.
        hidden: width of the gated linear unit.
    """

    width: int
    layers: int
    heads: int
    hidden: int


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of some tokens in every layer: [layers, B, H, T, E] each."""

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Multi-head attention with rotary positions."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, dropout
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(shape.width, shape.width, bias=False) for _ in range(4))

    def project(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of some tokens: [B, H, T, E] each."""
        q, k, v = (
            projection(x_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return _rotated(q, rotation), _rotated(k, rotation), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """What the queries find, as vectors of the tokens."""
        dropout = self.dropout if self.training else 0.0
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)
        return self.o_proj(found.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Attention and a gated linear unit, each added to what comes in."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.self_attn = Attention(shape, dropout)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.gate_proj, self.up_proj = (nn.Linear(shape.width, shape.hidden, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)
        self.drop = nn.Dropout(dropout)

    def finish(self, x_BTD: Tensor, attended_BTD: Tensor) -> Tensor:
        """The tokens after the block, from what attention found for them."""
        x_BTD = x_BTD + self.drop(attended_BTD)
        y_BTD = self.post_attention_layernorm(x_BTD)
        return x_BTD + self.drop(self.down_proj(functional.silu(self.gate_proj(y_BTD)) * self.up_proj(y_BTD)))


class Transformer(nn.Module):
    """Vectors of tokens in, vectors of tokens out."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.apply(_start_weights)

    def forward(self, x_BTD: Tensor, position_BT: Tensor, mask: Tensor | None = None) -> Tensor:
        """All tokens at once.

        Args:
            position_BT: of each token, from 0.
            mask: bool [B, 1, T, T], which tokens (last) each token sees; None: itself and those before it.
        """
        return self._run(x_BTD, position_BT, mask)[0]

    def read(self, x_BTD: Tensor, position_BT: Tensor, mask: Tensor | None = None) -> tuple[Tensor, KeysValues]:
        """The same, with the keys and values of all tokens, for those that come after them."""
        h_BTD, kept = self._run(x_BTD, position_BT, mask)
        keys, values = zip(*kept, strict=True)
        return h_BTD, KeysValues(torch.stack(keys), torch.stack(values))

    def _run(self, x_BTD: Tensor, position_BT: Tensor, mask: Tensor | None) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        rotation, kept = self.rotation(position_BT, x_BTD.dtype), []
        x_BTD = self.drop(x_BTD)
        for block in self.blocks:
            q, k, v = block.self_attn.project(block.input_layernorm(x_BTD), rotation)
            x_BTD = block.finish(x_BTD, block.self_attn.attend(q, k, v, mask, causal=mask is None))
            kept.append((k, v))
        return self.norm(x_BTD), kept

    @property
    def blocks(self) -> list[Block]:
        """The layers, from the first on."""
        return [block for block in self.layers if isinstance(block, Block)]

    def rotation(self, position_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotary angles at some positions: [B, 1, T, E] each (Su et al. 2021)."""
        half = self.shape.width // self.shape.heads // 2
        inverse_H = ROTARY_BASE ** (-torch.arange(half, device=position_BT.device, dtype=torch.float32) / half)
        angle = (position_BT[..., None].float() * inverse_H)[:, None]
        angle = torch.cat([angle, angle], dim=-1)
        return angle.cos().to(dtype), angle.sin().to(dtype)


def _rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cosine, sine = rotation
    low, high = x.chunk(2, dim=-1)
    return x * cosine.to(x.dtype) + torch.cat([-high, low], dim=-1) * sine.to(x.dtype)


def _start_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
