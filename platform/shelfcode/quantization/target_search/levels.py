"""Codebooks and codes of a whole catalog, level by level.

k-means of what the levels above leave over gives each level its first codes. Moves (moves.py) then bring similar products together and part
unlike ones, which k-means does not ask for. At the first level kinds of products move before them, as a whole (kinds.py). At the last level
near-twins share a codeword, and others with their prefix do not (twins.py).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.flavor import Recipe
from shelfcode.quantization.codebook import kmeans, lloyd, nearest, nearest_of_group
from shelfcode.quantization.sampler import KINDS, SETUP, sample_rows, torch_stream
from shelfcode.quantization.target_search.engagement import Engagement
from shelfcode.quantization.target_search.kinds import Kinds, codes_of_kinds, engaged_kinds
from shelfcode.quantization.target_search.moves import Groups, Moves, drawn_together, means, move, shares
from shelfcode.quantization.target_search.pair_gains import Pairs, weighted_gains
from shelfcode.quantization.target_search.twins import NO_CODE, twin_codes

REFINEMENTS = 1
"""Iterations of k-means from a parent's codewords: they follow the catalog by one step (docs/stability.md)."""

COARSE_STARTS = 8
"""Starts of k-means at the first level, whose few borders decide over every prefix. That counts whose pairs gain most."""

TOWARDS_CATEGORY = (0.3, 0.3)
"""How far the first level draws a product towards the mean of its department, and the second towards that of its leaf, before k-means."""

SIZE_WEIGHTS = (0.02,)
DISTANCE_WEIGHTS = (0.0, 0.03, 0.05)
"""What a large and what a far codeword costs in the moves of each level; levels below have the last entry of distance and none of size."""


@dataclass(frozen=True)
class Inherited:
    """What is taken over from a parent's model: codewords, float[K_l, D] of each level, and the codes that it gives, int64[M, L]."""

    codewords: tuple[Tensor, ...]
    codes_ML: Tensor


@dataclass(frozen=True)
class LevelSearch:
    """Codebooks and codes, level by level: each level sees what the levels above leave over of its own smoothed products.

    Attributes:
        copy_M: the first product that has the same embedding; copies get one code, whatever the leaf that each is in.
        pairs: what moves go by; None for no moves.
        inherited: codewords and codes to start from. At frozen levels they are taken over unchanged.
        groups: what the first level keeps apart; None without a constraint.
        engaged: what customers take together; the first level goes by it, too. None where that is not known.
    """

    recipe: Recipe
    x_ME: NDArray[np.float32]
    taxonomy: Taxonomy
    copy_M: NDArray[np.int64]
    pairs: Pairs | None
    inherited: Inherited | None
    groups: Groups | None = None
    engaged: Engagement | None = None

    def levels(self, smoothed: list[Tensor]) -> tuple[list[Tensor], Tensor, list[float]]:
        """float[K_l, D] of each level, int64[M, L] codes, mean squared distance to the codeword at each level."""
        generator = torch_stream(self.recipe.training.seed, SETUP)
        prefix_MD = torch.zeros_like(smoothed[0])
        codewords, codes, spread = [], list[Tensor](), []
        for level, z_MD in enumerate(smoothed):
            if self.inherited and level < self.recipe.frozen_levels:
                codewords_KD, code_M = self.inherited.codewords[level], self.inherited.codes_ML[:, level]
            elif level == len(smoothed) - 1:
                codewords_KD, code_M = self._last(level, z_MD - prefix_MD, codes, generator)
            else:
                codewords_KD, code_M = self._moved(level, z_MD, prefix_MD, codes, generator)
            prefix_MD = prefix_MD + codewords_KD[code_M]
            codewords.append(codewords_KD)
            codes.append(code_M)
            spread.append(float((z_MD - prefix_MD).square().sum(dim=1).mean()))
        return codewords, torch.stack(codes, dim=1), spread

    def _moved(self, level: int, z_MD: Tensor, prefix_MD: Tensor, codes: list[Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A level above the last: k-means, then moves."""
        starts = COARSE_STARTS if level == 0 and not self.inherited else 1
        if not self.pairs:
            codewords_KD = self._clustered(level, z_MD - prefix_MD, starts, generator)
            return codewords_KD, self._of_copies(self._nearest(level, z_MD - prefix_MD, codewords_KD))
        drawn_MD = self._towards_category(level, z_MD) - prefix_MD
        found = [self._clustered(level, drawn_MD, 1, generator) for _ in range(starts)]
        codes_SM = [self._kept(level, self._nearest(level, drawn_MD, codewords_KD), codes) for codewords_KD in found]
        gain_MP = weighted_gains(self.pairs, level, codes_SM[0], self._share_all(self.pairs, codes))
        gained_S = [float(gain_MP[self.pairs.together(code_M)].sum()) for code_M in codes_SM]
        best = gained_S.index(max(gained_S))
        code_M, codewords_KD, kinds = codes_SM[best], found[best], self._kinds(level, drawn_MD)
        if kinds and not self.inherited:  # an heir starts where its parent has the products, and kinds would move far
            code_M = self._in_group(self._gathered(level, kinds, codes_SM, gain_MP), drawn_MD, codewords_KD)
            codewords_KD = means(drawn_MD, code_M, codewords_KD)
        attraction, groups = kinds.attraction if kinds else None, self.groups if level == 0 else None
        code_M = move(code_M, codewords_KD, self.pairs.partner_NP, gain_MP, drawn_MD, self._moves(level), generator, attraction, groups)
        code_M = self._of_copies(code_M)
        return means(z_MD - prefix_MD, code_M, found[best]), code_M

    def _kinds(self, level: int, drawn_MD: Tensor) -> Kinds | None:
        """Kinds of products, with their engagement where there is any: at the first level only, and of an heir only for the engagement."""
        quantizer, engaged = self.recipe.quantizer, self.engaged if self.recipe.quantizer.engagement.weight else None
        kinds = min(quantizer.engagement.kinds if engaged else quantizer.moves.kinds, len(drawn_MD), quantizer.kmeans_sample)
        if level or not kinds or (self.inherited and not engaged):
            return None
        centres_GD = self._clustered_alone(drawn_MD, None, kinds, 1, torch_stream(self.recipe.training.seed, KINDS))
        kind_M = nearest(drawn_MD, centres_GD)
        if not engaged:
            return Kinds(kind_M, kinds)
        return engaged_kinds(engaged, kind_M, kinds, quantizer.engagement.weight, quantizer.engagement.support)

    def _gathered(self, level: int, kinds: Kinds, codes_SM: list[Tensor], gain_MP: Tensor) -> Tensor:
        """Codes after the search that moves whole kinds, from the codes of all starts: int64[M]."""
        assert self.pairs, "kinds move by the gains of pairs"
        moves, clusters = self._moves(level), self.recipe.quantizer.codebook_sizes[level]
        seed = self.recipe.training.seed
        return codes_of_kinds(kinds, codes_SM, clusters, self.pairs.partner_NP, shares(gain_MP), moves.size_weight, moves.sweeps, seed)

    def _in_group(self, code_M: Tensor, drawn_MD: Tensor, codewords_KD: Tensor) -> Tensor:
        """Codes of the first level, but the nearest of its group for a product whose kind went to another group's codeword."""
        if not self.groups:
            return code_M
        group_M = self.groups.of_product_N
        outside_M = (self.groups.of_codeword_K[code_M] != group_M) & (group_M >= 0)
        return torch.where(outside_M, self._nearest(0, drawn_MD, codewords_KD), code_M)

    def _nearest(self, level: int, residual_MD: Tensor, codewords_KD: Tensor) -> Tensor:
        if self.groups and level == 0:
            return nearest_of_group(residual_MD, codewords_KD, self.groups.of_codeword_K, self.groups.of_product_N)
        return nearest(residual_MD, codewords_KD)

    def _of_copies(self, code_M: Tensor) -> Tensor:
        """To every product the code of its first copy."""
        return code_M[torch.from_numpy(self.copy_M).to(code_M.device)]

    def _moves(self, level: int) -> Moves:
        size_weight = SIZE_WEIGHTS[level] if level < len(SIZE_WEIGHTS) else 0.0
        return Moves(self.recipe.quantizer.moves.sweeps, size_weight, DISTANCE_WEIGHTS[min(level, len(DISTANCE_WEIGHTS) - 1)])

    def _last(self, level: int, residual_MD: Tensor, codes: list[Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        codewords_KD = self._clustered(level, residual_MD, 1, generator)
        if not self.recipe.quantizer.moves.sweeps:
            return codewords_KD, nearest(residual_MD, codewords_KD)
        _, prefix_M = torch.unique(torch.stack(codes, dim=1), dim=0, return_inverse=True)
        cosine = self.recipe.quantizer.moves.twin_cosine
        held_M = self._kept(level, torch.full_like(prefix_M, NO_CODE), codes)
        code_M, codewords_KD = twin_codes(
            self.x_ME, self.copy_M, prefix_M.cpu().numpy(), cosine, residual_MD, codewords_KD, held_M.cpu().numpy()
        )
        return codewords_KD, code_M

    def _clustered(self, level: int, residual_MD: Tensor, starts: int, generator: torch.Generator) -> Tensor:
        """Codewords of k-means, or those of the parent after an iteration of it: float[K, D]. Under a constraint each group has its own."""
        inherited_KD = self.inherited.codewords[level] if self.inherited else None
        if not self.groups or level:
            return self._clustered_alone(residual_MD, inherited_KD, self.recipe.quantizer.codebook_sizes[level], starts, generator)
        codebooks = list[Tensor]()
        for group in range(int(self.groups.of_codeword_K.max()) + 1):
            mine_K = self.groups.of_codeword_K == group
            rows_GD = residual_MD[self.groups.of_product_N == group]
            kept_KD = inherited_KD[mine_K] if inherited_KD is not None else None
            if len(rows_GD):
                codebooks.append(self._clustered_alone(rows_GD, kept_KD, int(mine_K.sum()), starts, generator))
            else:  # none of its products is trained on; those that come later find codewords all the same
                codebooks.append(residual_MD.mean(dim=0).repeat(int(mine_K.sum()), 1) if kept_KD is None else kept_KD)
        return torch.cat(codebooks)

    def _clustered_alone(self, rows_MD: Tensor, inherited_KD: Tensor | None, size: int, starts: int, generator: torch.Generator) -> Tensor:
        quantizer = self.recipe.quantizer
        rows = sample_rows(len(rows_MD), quantizer.kmeans_sample, self.recipe.training.seed)
        sample_SD = rows_MD[torch.from_numpy(rows).to(rows_MD.device)]
        if inherited_KD is not None:
            return lloyd(sample_SD, inherited_KD, REFINEMENTS)
        return kmeans(sample_SD, size, quantizer.kmeans_iterations, starts, generator)

    def _kept(self, level: int, code_M: Tensor, codes: list[Tensor]) -> Tensor:
        """The parent's codes of products that have kept all codes above, and `code_M` of the others."""
        if not self.inherited or not self.recipe.quantizer.moves.sweeps:
            return code_M
        kept_M = torch.ones_like(code_M, dtype=torch.bool)
        for above, each_M in enumerate(codes):
            kept_M &= each_M == self.inherited.codes_ML[:, above]
        return torch.where(kept_M, self.inherited.codes_ML[:, level], code_M)

    def _share_all(self, pairs: Pairs, codes: list[Tensor]) -> Tensor:
        """Which pairs share all of these codes: bool[M, P]."""
        share_MP = torch.ones_like(pairs.partner_NP, dtype=torch.bool)
        for code_M in codes:
            share_MP &= pairs.together(code_M)
        return share_MP

    def _towards_category(self, level: int, z_MD: Tensor) -> Tensor:
        if level >= len(TOWARDS_CATEGORY):
            return z_MD
        label_M = self.taxonomy.labels_at(1) if level == 0 else self.taxonomy.leaf_of_N
        return drawn_together(z_MD, torch.from_numpy(label_M.astype(np.int64)).to(z_MD.device), TOWARDS_CATEGORY[level])
