"""Whether filled text brings a code back: known text deleted, filled from neighbours, coded again, held against the full text's code."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shelfcode.evaluation.sparse.coded_texts import CodedTexts, Coder
from shelfcode.evaluation.sparse.enrichment import INFERRED, Inferred, enriched_products, infer, is_filled, right_values, rows_of
from shelfcode.evaluation.sparse.fields import Fields
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.reporting.intervals import LEAST_GROUPS, RESAMPLES, bootstrap_interval
from shelfcode.semantic_id import shared_depth


class RestoredLevel(BaseModel):
    """Share of cut products whose code agrees with the full text's down to a level: left as they are, and filled.

    Attributes:
        gain: filled less untouched, with a 95% bootstrap interval over products; None where there are too few.
    """

    model_config = ConfigDict(frozen=True)

    level: int
    untouched: float
    filled: float
    gain: float
    gain_low: float | None
    gain_high: float | None

    @property
    def helps(self) -> bool | None:
        """Whether more codes are right with the filled text; None where the interval holds 0, or there is none."""
        if self.gain_low is None or self.gain_high is None or self.gain_low <= 0 <= self.gain_high:
            return None
        return self.gain > 0

    def sentence(self) -> str:
        """What was done did this."""
        told = {True: "helps", False: "harms", None: "makes no difference that can be told from chance"}[self.helps]
        interval = (
            "" if self.gain_low is None or self.gain_high is None else f" [{100 * self.gain_low:+.1f} to {100 * self.gain_high:+.1f}]"
        )
        return f"{told}: the full text's L{self.level} {self.untouched:.1%} -> {self.filled:.1%} ({100 * self.gain:+.1f} points{interval})"


class Restoration(BaseModel):
    """What filling in did to products whose text was deleted.

    Attributes:
        cut_to: what was left of their texts.
        products: that were cut; `filled_products`: those of them for which neighbours agreed on something.
        of_all, of_filled: by level, over all cut products, and over those that something was filled in for.
        with_leaf: over all, filled and with the leaf of the own category path said, too; empty where the settings leave it out.
        right: field -> share of the filled values that are the deleted ones, where these are known.
        filled_fields: field -> how often it was filled.
    """

    model_config = ConfigDict(frozen=True)

    cut_to: str
    products: int
    filled_products: int
    of_all: tuple[RestoredLevel, ...]
    of_filled: tuple[RestoredLevel, ...]
    with_leaf: tuple[RestoredLevel, ...] = ()
    filled_fields: dict[str, int] = {}
    right: dict[str, float] = {}

    @property
    def helps(self) -> bool | None:
        """Whether filling from neighbours brings first codewords back; None where that cannot be told."""
        return self.of_all[0].helps if self.of_all else None

    def verdict(self) -> list[str]:
        """A sentence for people on what neighbours agree on, and one on the leaf where it was tried."""
        if not self.of_all:
            return ["nothing could be deleted, so nothing is known of what filling in does"]
        tries = {f"what neighbours agree on, for {self.filled_products:,} of them,": self.of_all[0]}
        if self.with_leaf:
            tries["that and the leaf of their own category path"] = self.with_leaf[0]
        return [f"of {self.products:,} products cut to {self.cut_to}: {name} {each.sentence()}" for name, each in tries.items()]


def restored_levels(
    full_NL: NDArray[np.integer], cut_NL: NDArray[np.integer], filled_NL: NDArray[np.integer], seed: int = 0, levels: int = 2
) -> tuple[RestoredLevel, ...]:
    """Codes of N products with their full texts, with cut ones, and with cut and filled ones, compared down to the first levels."""
    if not len(full_NL):
        return ()
    untouched_N, filled_N = shared_depth(full_NL, cut_NL), shared_depth(full_NL, filled_NL)
    rng = np.random.default_rng(seed)
    found = []
    for level in range(1, min(levels, full_NL.shape[1]) + 1):
        before_N, after_N = untouched_N >= level, filled_N >= level
        gain_N = after_N.astype(float) - before_N
        low, high = _interval(gain_N, rng)
        found.append(RestoredLevel(
            level=level, untouched=float(before_N.mean()), filled=float(after_N.mean()), gain=float(gain_N.mean()), gain_low=low,
            gain_high=high,
        ))  # fmt: skip
    return tuple(found)


def _interval(gain_N: NDArray[np.float64], rng: np.random.Generator) -> tuple[float | None, float | None]:
    if len(gain_N) < LEAST_GROUPS:
        return None, None
    means_S = np.array([gain_N[rng.integers(0, len(gain_N), len(gain_N))].mean() for _ in range(RESAMPLES)])
    return bootstrap_interval(means_S) or (None, None)


@dataclass(frozen=True)
class Deletion:
    """Products of a catalog of whose texts something was deleted.

    Attributes:
        cut_to: what was left, for people.
        products: item_id, title, description, brand as they were left; product types and formats count as deleted, too.
        place_R: places of these products among the catalog's coded ones.
        coded: what was left, as the release codes it.
    """

    cut_to: str
    products: pa.Table
    place_R: NDArray[np.int64]
    coded: CodedTexts


def restore(
    deletion: Deletion, code: Coder, catalog: CodedTexts, fields: Fields, codebook_sizes: Sequence[int], settings: SparseSettings
) -> Restoration:
    """Fill cut products from the neighbours of the codes that they have as they were left, code them again, and compare.

    Args:
        catalog, fields: of all coded products of the catalog, in their order.
    """
    before_QL, own_Q = deletion.coded.codes_NL, deletion.place_R[deletion.coded.positions_N]
    cut = deletion.products.take(pa.array(deletion.coded.positions_N))
    lacks = {name: np.ones(len(cut), bool) for name in INFERRED if name in fields.values}
    lacks["brand"] = np.array([not brand for brand in cut["brand"].to_pylist()], bool)
    inferred = infer(fields, catalog.codes_NL, before_QL, own_Q, lacks, codebook_sizes, settings)
    filled_Q, full_QL = is_filled(inferred), catalog.codes_NL[own_Q]
    none: list[str | None] = [None] * len(cut)
    after_QL = code_filled(cut, before_QL, inferred, none, code, f"coding {deletion.cut_to}, filled")
    with_leaf: tuple[RestoredLevel, ...] = ()
    if settings.say_leaf:
        leaves = [fields.values["category_path"][own] for own in own_Q.tolist()]
        leaf_QL = code_filled(cut, before_QL, inferred, leaves, code, f"coding {deletion.cut_to}, filled, with leaves")
        with_leaf = restored_levels(full_QL, before_QL, leaf_QL, settings.seed)
    right = {name: right_values(found, fields.values[name], own_Q) for name, found in inferred.items()}
    return Restoration(
        cut_to=deletion.cut_to, products=len(cut), filled_products=int(filled_Q.sum()),
        of_all=restored_levels(full_QL, before_QL, after_QL, settings.seed),
        of_filled=restored_levels(full_QL[filled_Q], before_QL[filled_Q], after_QL[filled_Q], settings.seed),
        with_leaf=with_leaf, filled_fields={name: sum(each is not None for each in found) for name, found in inferred.items()},
        right={name: float(np.mean(hits)) for name, hits in right.items() if hits},
    )  # fmt: skip


def code_filled(
    products: pa.Table, before_QL: NDArray[np.integer], inferred: Inferred, leaves: Sequence[str | None], code: Coder, name: str
) -> NDArray[np.int64]:
    """Codes of products with enriched texts, and as before where there is nothing to add: int64[Q, L]."""
    after_QL = before_QL.astype(np.int64)
    at_M = np.flatnonzero(is_filled(inferred) | np.array([leaf is not None for leaf in leaves], bool))
    if len(at_M):
        enriched = enriched_products(products.take(pa.array(at_M)), rows_of(inferred, at_M), [leaves[at] for at in at_M.tolist()])
        coded = code(enriched, name)
        after_QL[at_M[coded.positions_N]] = coded.codes_NL
    return after_QL
