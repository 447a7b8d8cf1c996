"""The generator: a decoder-only transformer that writes the semantic ID of the next product, codeword by codeword.

A product that was read is one token: the sum of its codewords' vectors, a vector for each codeword of each level. A product that is to be
written hangs off the token after which it comes, as a branch of codeword tokens that see the prompt up to there and themselves:

    prompt token        -> codeword of level 1
    + codeword 1        -> codeword of level 2
    + codeword 2        -> codeword of level 3 ...

So one pass over a prompt learns all its targets, and in decoding all beams share the prompt's keys and values. Each level has an output
of its own. Codewords that lead to what a user had before have a second voice: the generator knows no product by itself.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, T tokens, O own products, M targets, L levels, K codewords, D width,
# W beams of a row, B branch tokens of a row.

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from shelfcode.retrieval.assortment import Assortment
from shelfcode.retrieval.examples import AGE_BUCKETS, Marks
from shelfcode.retrieval.existing import Followers, followers, prefix_numbers
from shelfcode.retrieval.prompt_embedding import START_STD, PromptEmbedding, TokenTensors, count_logarithms
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.transformer import KeysValues, Shape, Transformer

QUICKER = 10.0
"""By how much the few numbers that weigh own products learn faster than what there are thousands of."""

AFFINITY_WIDTH = 32
NEVER, TINY = -1e4, 1e-9
UINT16 = 0xFFFF


class Generator(nn.Module):
    """Log-probabilities of codewords for a prompt.

    The codes of the products are no weights: those of another catalog or a later release of the same model can be put in their place.
    They are no buffer of the module either, which every step of a training on several workers would send to all of them.

    Attributes:
        codes_NL: int16 with the bits of uint16, for which torch has few operations: `codes_of` reads it.
    """

    codes_NL: Tensor

    def __init__(self, recipe: RetrieverRecipe, marks: Marks, codebooks_LKE: Sequence[Tensor]) -> None:
        """
        Args:
            codebooks_LKE: the quantizer's codewords of each level.
        """
        super().__init__()
        size = recipe.model
        self.sizes = tuple(len(codebook_KE) for codebook_KE in codebooks_LKE)
        from_codebooks = recipe.generator.start == "codebooks"
        self.codeword, self.output = (
            nn.ModuleList(CodewordVectors(codebook_KE, size.width, from_codebooks) for codebook_KE in codebooks_LKE) for _ in range(2)
        )
        self.prompt = PromptEmbedding(marks, size.width)
        self.transformer = Transformer(Shape(size.width, size.layers, size.heads, size.hidden), size.dropout)
        self.own = OwnCodewords(len(self.sizes), size.width)
        self.codes_NL = torch.zeros((1, len(self.sizes)), dtype=torch.int16)
        self.followers: list[Followers] = []

    def with_codes(self, codes_NL: NDArray[np.integer], known: Sequence[Followers] = ()) -> "Generator":
        """Take up the codes of an assortment. Of uint16 ones no copy is made where the weights are on the CPU.

        Args:
            known: what follows each prefix in these codes, level by level, where that was found before.
        """
        device = self.device
        self.codes_NL = torch.from_numpy(np.ascontiguousarray(codes_NL, np.uint16).view(np.int16)).to(device)
        self.followers = [each.to(device) for each in known] or followers(codes_NL, self.sizes, device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.own.gate.device

    def _apply(self, move: Any, recurse: bool = True) -> "Generator":
        """As of any module; what exists goes along to another device."""
        super()._apply(move, recurse)  # type: ignore[no-untyped-call]
        self.codes_NL = self.codes_NL.to(self.device)
        self.followers = [each.to(self.device) for each in self.followers]
        return self

    def codes_of(self, product: Tensor) -> Tensor:
        """Codes of some products (negative ones: of any), int64, in one more dimension."""
        return self.codes_NL[product.clamp(min=0)].long() & UINT16

    def log_probabilities(
        self, level: int, h_MWD: Tensor, prefix_MWl: Tensor, weight_MO: Tensor, tokens: TokenTensors, row_M: Tensor
    ) -> Tensor:
        """Of all codewords of a level, after some prefixes: [M, W, K]; those that do not exist there have next to none.

        Args:
            weight_MO: how much each own product counts.
        """
        vectors = self.output[level]
        assert isinstance(vectors, CodewordVectors)
        return self.voiced(level, vectors.logits(h_MWD).float(), prefix_MWl, weight_MO, tokens, row_M)

    def voiced(self, level: int, logits_MWK: Tensor, prefix_MWl: Tensor, weight_MO: Tensor, tokens: TokenTensors, row_M: Tensor) -> Tensor:
        """The log-probabilities that follow from the transformer's logits, what exists, and what the user had before."""
        exist_MWK = self.followers[level].exist(prefix_numbers(prefix_MWl, self.sizes))
        logits_MWK = logits_MWK.masked_fill(~exist_MWK, NEVER)
        follows_MWO = self.follows(tokens, row_M, prefix_MWl)
        return self.own(level, logits_MWK, weight_MO, self.own_codes(tokens, level)[row_M], follows_MWO)

    def take_up(self, assortment: Assortment, trained: Assortment) -> None:  # noqa: ARG002
        """Speak of the products of another assortment, coded by the same quantizer."""
        self.with_codes(assortment.codes_NL)

    def product_vectors(self, product: Tensor) -> Tensor:
        """The sum of the codewords' vectors of some products (negative ones: of any)."""
        codes = self.codes_of(product)
        return torch.stack([self.vectors_of(level, codes[..., level]) for level in range(len(self.sizes))]).sum(0)

    def target_losses(self, tokens: TokenTensors, row_M: Tensor, position_M: Tensor, product_M: Tensor) -> Tensor:
        """Cross-entropy of each codeword of each target: [M, L]. The targets of a row must stand together."""
        levels, device = len(self.sizes), row_M.device
        codes_ML = self.codes_of(product_M)
        rows, length = tokens.mark_RT.shape
        place_M = torch.arange(len(row_M), device=device) - torch.searchsorted(row_M, row_M)
        width = levels - 1
        branch_RB = int(place_M.max()) * width + width
        x_RTD = self.prompt(tokens, self.product_vectors(tokens.product_RT))
        x_RBD = x_RTD.new_zeros((rows, branch_RB, x_RTD.shape[-1]))
        position_RB = torch.zeros((rows, branch_RB), dtype=torch.int64, device=device)
        seen_RB = torch.full((rows, branch_RB), -1, dtype=torch.int64, device=device)  # the last prompt token that a branch token sees
        for level in range(width):
            slot_M = place_M * width + level
            x_RBD[row_M, slot_M] = self.codeword[level](codes_ML[:, level]).to(x_RBD.dtype)
            position_RB[row_M, slot_M] = position_M + 1 + level
            seen_RB[row_M, slot_M] = position_M
        position_RT = torch.arange(length, device=device).expand(rows, length)
        mask = _branch_mask(position_RT, seen_RB, width)
        h = self.transformer(torch.cat([x_RTD, x_RBD], 1), torch.cat([position_RT, position_RB], 1), mask)
        weight_MO = self.own_weights(tokens, row_M, position_M)
        losses = []
        for level in range(levels):
            at_M = position_M if level == 0 else length + place_M * width + level - 1
            log_p_M1K = self.log_probabilities(level, h[row_M, at_M][:, None], codes_ML[:, None, :level], weight_MO, tokens, row_M)
            losses.append(-log_p_M1K[:, 0].gather(1, codes_ML[:, level, None])[:, 0])
        return torch.stack(losses, 1)

    def _own_vectors(self, tokens: TokenTensors) -> Tensor:
        return self.product_vectors(tokens.own_RO)

    def _seen_vectors(self, tokens: TokenTensors) -> Tensor:
        """The mean vector of the session's products up to each token: [R, T, D]; 0 where there are none."""
        in_session_RT = (tokens.product_RT >= 0) & (
            torch.arange(tokens.product_RT.shape[1], device=tokens.product_RT.device) > tokens.session_R[:, None]
        )
        total_RTD = (self.product_vectors(tokens.product_RT) * in_session_RT[..., None]).cumsum(1)
        return total_RTD / in_session_RT.cumsum(1).clamp(min=1)[..., None]

    def own_weights(self, tokens: TokenTensors, row_M: Tensor, position_M: Tensor) -> Tensor:
        """How much each own product counts after some tokens: [M, O]."""
        return self.own.weights(tokens, self._own_vectors(tokens), self._seen_vectors(tokens), row_M, position_M)

    def own_codes(self, tokens: TokenTensors, level: int) -> Tensor:
        """The codeword of each own product at a level: [R, O]."""
        return self.codes_of(tokens.own_RO)[..., level]

    def follows(self, tokens: TokenTensors, row_M: Tensor, prefix_MWl: Tensor) -> Tensor:
        """Which own products have some prefixes: bool [M, W, O]."""
        own_MOl = self.codes_of(tokens.own_RO)[row_M, :, : prefix_MWl.shape[-1]]
        return (own_MOl[:, None] == prefix_MWl[:, :, None]).all(-1) & (tokens.own_RO >= 0)[row_M, None]

    def decoding(self, tokens: TokenTensors) -> "Decoding":
        """Read prompts, once, for writing the products that follow them."""
        x_RTD = self.prompt(tokens, self.product_vectors(tokens.product_RT))
        position_RT = torch.arange(x_RTD.shape[1], device=x_RTD.device).expand(x_RTD.shape[:2])
        h_RTD, kept = self.transformer.read(x_RTD, position_RT)
        row_R = torch.arange(len(x_RTD), device=x_RTD.device)
        return Decoding(self, tokens, kept, h_RTD[row_R, tokens.length_R - 1])

    def fix_tables(self) -> "Generator":
        """Compute the vectors of all codewords once for good, for a model that is only to be asked. Training it again forgets them."""
        for vectors in (*self.codeword, *self.output):
            assert isinstance(vectors, CodewordVectors)
            vectors.fix()
        return self

    def codeword_table(self, level: int) -> Tensor:
        """Vectors of all codewords of a level: [K, D]."""
        vectors = self.codeword[level]
        assert isinstance(vectors, CodewordVectors)
        return vectors.weight()

    def vectors_of(self, level: int, code: Tensor) -> Tensor:
        """Vectors of codewords of a level."""
        vectors: Tensor = self.codeword[level](code)
        return vectors


def _branch_mask(position_RT: Tensor, seen_RB: Tensor, width: int) -> Tensor:
    """Which tokens each token sees: bool [R, 1, T + B, T + B]. Branch tokens see the prompt up to where they hang, and their own branch."""
    rows, length = position_RT.shape
    branches, device = seen_RB.shape[1], seen_RB.device
    mask = torch.zeros((rows, length + branches, length + branches), dtype=torch.bool, device=device)
    mask[:, :length, :length] = torch.ones((length, length), dtype=torch.bool, device=device).tril()
    mask[:, length:, :length] = position_RT[:, None, :] <= seen_RB[:, :, None]
    place_B = torch.arange(branches, device=device)
    own_BB = (place_B[:, None] // width == place_B[None, :] // width) & (place_B[None, :] <= place_B[:, None])
    mask[:, length:, length:] = own_BB
    return mask[:, None]


START_SIZE = 0.1
"""Root mean square of the vectors that training starts from."""


def shared_axes(rows: int, columns: int) -> Tensor:
    """A matrix that keeps angles as far as its shape allows, the same wherever it is asked for: [rows, columns].

    Codewords in and codewords out start in the same axes, so that before any training the codes of what was just seen are the likeliest.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.init.orthogonal_(torch.empty(rows, columns))


class CodewordVectors(nn.Module):
    """Vectors of a level's codewords: what the quantizer's codebook says of each, and what is learnt of each beside.

    A codeword that no session held still means something: its vector is that of codewords near it.
    """

    codebook_KE: Tensor
    fixed_KD: Tensor | None

    def __init__(self, codebook_KE: Tensor, width: int, from_codebook: bool) -> None:
        super().__init__()
        centred_KE = codebook_KE.float() - codebook_KE.float().mean(0)
        self.register_buffer("codebook_KE", centred_KE / centred_KE.pow(2).mean().sqrt().clamp(min=1e-6))
        self.register_buffer("fixed_KD", None, persistent=False)
        self.projection = nn.Linear(codebook_KE.shape[1], width, bias=False) if from_codebook else None
        self.free = nn.Embedding(len(codebook_KE), width)
        self.bias = nn.Parameter(torch.zeros(len(codebook_KE)))
        nn.init.normal_(self.free.weight, std=START_STD)
        if self.projection is not None:
            self.projection.weight = nn.Parameter(START_SIZE * shared_axes(width, codebook_KE.shape[1]))

    @torch.no_grad()
    def fix(self) -> None:
        """Compute the vectors once, so that a codebook is not projected at every step of a search. Weights must not change from here on."""
        self.fixed_KD = None
        self.fixed_KD = self.weight().detach()

    def train(self, mode: bool = True) -> "CodewordVectors":
        """As of any module; what was fixed holds in evaluation mode only."""
        if mode:
            self.fixed_KD = None
        return super().train(mode)

    def weight(self) -> Tensor:
        """All vectors: [K, D]."""
        if self.fixed_KD is not None:
            return self.fixed_KD
        return self.free.weight if self.projection is None else self.free.weight + self.projection(self.codebook_KE)

    def forward(self, code: Tensor) -> Tensor:
        """Vectors of some codewords."""
        return functional.embedding(code, self.weight())

    def logits(self, h: Tensor) -> Tensor:
        """Scores of all codewords of the level after some tokens."""
        return functional.linear(h, self.weight(), self.bias)


class OwnCodewords(nn.Module):
    """A second voice at each level: codewords that lead to what the user had before, mixed with what the transformer writes.

    The mixture is that of a pointer and a generator (See et al. 2017), a level at a time: among the own products below a prefix, each
    weighs by how often and how long ago it was had and by how well it goes with the cart; and the more of them there are, the more they
    say.
    """

    def __init__(self, levels: int, width: int) -> None:
        super().__init__()
        self.count = nn.Parameter(count_logarithms() / QUICKER)
        self.age = nn.Parameter(torch.zeros(AGE_BUCKETS + 1))
        self.gate = nn.Parameter(torch.full((levels,), -3.0) / QUICKER)
        self.slope = nn.Parameter(torch.full((levels,), 0.5) / QUICKER)
        self.asked, self.offered = (nn.Linear(width, AFFINITY_WIDTH, bias=False) for _ in range(2))
        for projection in (self.asked, self.offered):
            nn.init.normal_(projection.weight, std=width**-0.5)

    def weights(self, tokens: TokenTensors, own_ROD: Tensor, seen_RTD: Tensor, row_M: Tensor, position_M: Tensor) -> Tensor:
        """How much each own product counts after some tokens: [M, O], 0 where there is none.

        Args:
            own_ROD: vectors of the own products.
            seen_RTD: mean vector of the session up to each token.
        """
        habit_RO = QUICKER * (self.count[tokens.own_count_RO] + self.age[tokens.own_age_RO])
        offered_ROE, asked_ME = self.offered(own_ROD), self.asked(seen_RTD[row_M, position_M])
        affinity_MO = torch.einsum("me,moe->mo", asked_ME, offered_ROE[row_M])
        weight_MO = torch.exp((habit_RO[row_M] + affinity_MO).float().clamp(max=20))
        return torch.where((tokens.own_RO >= 0)[row_M], weight_MO, 0.0)

    def forward(self, level: int, logits_MWK: Tensor, weight_MO: Tensor, code_MO: Tensor, follows_MWO: Tensor) -> Tensor:
        """Log-probabilities of the codewords of a level: [M, W, K].

        Args:
            logits_MWK: of the transformer.
            code_MO: the codeword of each own product at this level.
            follows_MWO: which own products have the prefix of each beam.
        """
        weight_MWO = weight_MO[:, None] * follows_MWO
        total_MW1 = weight_MWO.sum(2, keepdim=True)
        gate_MW1 = QUICKER * (self.gate[level] + self.slope[level] * torch.log(total_MW1 + TINY))
        gate_MW1 = torch.where(total_MW1 > 0, gate_MW1, NEVER)
        others_MWK = logits_MWK.log_softmax(-1) + functional.logsigmoid(-gate_MW1)
        own_gate_MW1 = functional.logsigmoid(gate_MW1) - torch.log(total_MW1 + TINY)
        if torch.is_grad_enabled():
            below_MWK = torch.zeros_like(logits_MWK).scatter_add(2, code_MO[:, None].expand_as(follows_MWO), weight_MWO)
            return torch.logaddexp(others_MWK, _log_or_never(below_MWK, own_gate_MW1))
        # Few codewords lead to own products. Only these are looked at where nothing is learnt, which takes half of the time.
        below_MWO = weight_MWO @ (code_MO[:, :, None] == code_MO[:, None]).to(weight_MWO.dtype)
        code_MWO = code_MO[:, None].expand_as(follows_MWO)
        mixed_MWO = torch.logaddexp(others_MWK.gather(2, code_MWO), _log_or_never(below_MWO, own_gate_MW1))
        return others_MWK.scatter_(2, code_MWO, mixed_MWO)  # of equal codewords each has the same number


def _log_or_never(weight: Tensor, log_factor: Tensor) -> Tensor:
    """Logarithm of a weight times a factor; next to none where there is no weight."""
    return torch.where(weight > 0, torch.log(weight + TINY) + log_factor, NEVER)


class Decoding:
    """Prompts that were read, and the beams that are written after them: the codeword model that the decoder asks (decoder/beam_search.py).

    The keys and values of a prompt are kept once, whatever the number of its beams; each beam adds those of its own codewords.
    """

    def __init__(self, generator: Generator, tokens: TokenTensors, prompt: KeysValues, last_RD: Tensor) -> None:
        self._generator, self._tokens, self._prompt, self._last_RD = generator, tokens, prompt, last_RD
        rows, length = tokens.mark_RT.shape
        device = tokens.mark_RT.device
        self._row_R = torch.arange(rows, device=device)
        self._weight_RO = generator.own_weights(tokens, self._row_R, tokens.length_R - 1)
        self._hidden_R11T = (torch.arange(length, device=device) >= tokens.length_R[:, None])[:, None, None]
        self._codes_RWl = torch.zeros((rows, 1, 0), dtype=torch.int64, device=device)
        self._beams: KeysValues | None = None

    def start(self) -> Tensor:
        """Forget all beams. Logits of the first level: [R, K]."""
        self._codes_RWl, self._beams = self._codes_RWl.new_zeros((len(self._row_R), 1, 0)), None
        return self._logits(0, self._last_RD[:, None], self._codes_RWl)[:, 0]

    def step(self, level: int, parent_RW: Tensor, code_RW: Tensor) -> Tensor:
        """Logits of a level, from 1, after beams were taken: [R, W, K].

        Args:
            parent_RW: the beam of the step before that each beam goes on from.
            code_RW: the codeword of the level before that each beam takes.
        """
        generator = self._generator
        before_RWl = self._codes_RWl.gather(1, parent_RW[..., None].expand(-1, -1, self._codes_RWl.shape[2]))
        self._codes_RWl = torch.cat([before_RWl, code_RW[..., None]], 2)
        h_RWD, self._beams = _extended(
            generator.transformer, generator.vectors_of(level - 1, code_RW), self._tokens.length_R + level - 1, self._prompt,
            self._hidden_R11T, _reordered(self._beams, parent_RW),
        )  # fmt: skip
        return self._logits(level, h_RWD, self._codes_RWl)

    def _logits(self, level: int, h_RWD: Tensor, prefix_RWl: Tensor) -> Tensor:
        return self._generator.log_probabilities(level, h_RWD, prefix_RWl, self._weight_RO, self._tokens, self._row_R)


def _reordered(beams: KeysValues | None, parent_RW: Tensor) -> KeysValues | None:
    """Keys and values of the beams' own tokens, [layers, R, H, W, l, E], in the order of the beams that go on."""
    if beams is None:
        return None
    layers, _, heads, _, tokens, size = beams.keys.shape
    index = parent_RW[None, :, None, :, None, None].expand(layers, -1, heads, -1, tokens, size)
    return KeysValues(beams.keys.gather(3, index), beams.values.gather(3, index))


def _extended(
    transformer: Transformer, x_RWD: Tensor, position_R: Tensor, prompt: KeysValues, hidden_R11T: Tensor, beams: KeysValues | None
) -> tuple[Tensor, KeysValues]:
    """One more token for each beam: its vector after all layers, and the keys and values of the beams with it.

    Scores against the prompt, which all beams of a row share, and against a beam's own tokens are computed apart and share a softmax.
    """
    rotation = transformer.rotation(position_R[:, None].expand(x_RWD.shape[:2]), x_RWD.dtype)
    kept = []
    for layer, block in enumerate(transformer.blocks):
        q, k, v = block.self_attn.project(block.input_layernorm(x_RWD), rotation)  # [R, H, W, E]
        own_k, own_v = k[..., None, :], v[..., None, :]
        if beams is not None:
            own_k, own_v = torch.cat([beams.keys[layer], own_k], 3), torch.cat([beams.values[layer], own_v], 3)
        q = q * q.shape[-1] ** -0.5
        to_prompt = (q @ prompt.keys[layer].transpose(-1, -2)).masked_fill(hidden_R11T, float("-inf"))
        to_own = (q[..., None, :] * own_k).sum(-1)
        share = torch.cat([to_prompt, to_own], -1).softmax(-1)
        length = to_prompt.shape[-1]
        found = share[..., :length] @ prompt.values[layer] + (share[..., length:, None] * own_v).sum(-2)
        x_RWD = block.finish(x_RWD, block.self_attn.o_proj(found.transpose(1, 2).flatten(-2)))
        kept.append((own_k, own_v))
    keys, values = zip(*kept, strict=True)
    return transformer.norm(x_RWD), KeysValues(torch.stack(keys), torch.stack(values))
