"""The products of a newer release in the codes of an older one: for a generator that was trained on those.

A product that the older release had keeps its code. A new one gets the code where the products of its new prefix came from, by
translation.parquet. So the generator answers with it before it was trained again; measure what that costs, and train again.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, U distinct new codes, L levels of the old codes.

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.index.translation_table import read_translation, translate
from shelfcode.releases.release import Manifest
from shelfcode.retrieval.assortment import Assortment, open_assortment
from shelfcode.semantic_id import format_many, pack, parse, unpack
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class TranslatedProducts:
    """How the products of a newer release came to codes of an older one.

    Attributes:
        kept: that the older one had, with their code.
        translated: new ones whose whole code the translation knows.
        completed: new ones of which it knows a shorter prefix; they have the commonest ID below that.
        left_out: new ones of which it does not know even the first codeword; they cannot be answered with.
    """

    kept: int
    translated: int
    completed: int
    left_out: int


def translated_assortment(workspace: Workspace, old: Manifest, new: Manifest) -> tuple[Assortment, TranslatedProducts]:
    """The products of a newer release, with codes of the older one.

    Raises:
        ShelfcodeError: there are new products, and no translation between the two releases; or it knows none of the products.
    """
    before, now = open_assortment(workspace, old), open_assortment(workspace, new)
    place_N = before.place_of.get(now.keys_N)
    codes_NL, depth_N = before.codes_NL[place_N], np.full(len(now), len(before.sizes))
    if len(new_N := np.flatnonzero(place_N < 0)):
        distinct_UL, of_N = np.unique(now.codes_NL[new_N], axis=0, return_inverse=True)
        codes_UL, depth_U = old_codes(distinct_UL, read_translation(workspace, new, old), before.codes_NL, before.sizes)
        codes_NL[new_N], depth_N[new_N] = codes_UL[of_N], depth_U[of_N]
    kept_N = depth_N > 0
    if not kept_N.any():
        raise ShelfcodeError(f"no product of {new.name} can be said in the codes of {old.name}; train a retriever on {new.name}")
    assortment = Assortment(now.release, now.item_ids.filter(pa.array(kept_N)), now.keys_N[kept_N], codes_NL[kept_N], before.sizes)
    whole = int((depth_N[new_N] == len(before.sizes)).sum())
    counts = TranslatedProducts(len(now) - len(new_N), whole, int(kept_N[new_N].sum()) - whole, int((~kept_N).sum()))
    return assortment, counts


def old_codes(
    new_UL: NDArray[np.uint16], table: pa.Table, old_NL: NDArray[np.uint16], sizes: Sequence[int]
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Old codes for new ones: the heaviest old prefix of the deepest new prefix that is known, completed by the commonest ID below it.

    Args:
        new_UL: codes of the newer release, of any number of levels.
        table: rows of translation.parquet.
        old_NL: codes of the older release's products.
        sizes: their codewords per level.

    Returns:
        The codes, uint16[U, L], and how many levels of each the table knew; 0 where it knew none, and the code means nothing.
    """
    packed_I, products_I = np.unique(pack(old_NL, sizes), return_counts=True)
    texts = format_many(new_UL)
    parts_of = translate(table, texts, "new_to_old")
    packed_U, depth_U = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    for place, text in enumerate(texts):
        prefix = parse(parts_of[text][0][0]) if parts_of[text] else ()
        below = prod(sizes[len(prefix) :])
        first = int(pack(np.array([prefix], np.int64).reshape(1, -1), sizes[: len(prefix)])[0]) * below
        low, high = np.searchsorted(packed_I, [first, first + below])
        if prefix and low < high:
            packed_U[place], depth_U[place] = packed_I[low + int(products_I[low:high].argmax())], len(prefix)
    return unpack(packed_U, sizes), depth_U
