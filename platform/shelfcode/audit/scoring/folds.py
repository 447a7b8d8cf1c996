"""Which products the audit is fitted to, and which fold each is in.

A fold goes by the text, so that products with one text are never learnt from for one another's sake; and by nothing else, so that it
does not matter in which order or batch a product comes.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from shelfcode.audit.scoring.settings import ScoringSettings
from shelfcode.catalog.taxonomy import NO_LEAF

_MIX = 0x9E3779B97F4A7C15


def text_keys(text_N: Sequence[str]) -> NDArray[np.uint64]:
    """A key of each text, the same for texts that differ in letter case and white space only: uint64[N]."""
    texts = (" ".join(text.lower().split()).encode("utf-8", "surrogatepass") for text in text_N)
    return np.fromiter(map(xxh3_64_intdigest, texts), np.uint64, len(text_N))


def folds_of(text_key_N: NDArray[np.uint64], folds: int, seed: int) -> NDArray[np.int8]:
    """The fold of each text: int8[N], below `folds`."""
    return ((_scrambled(text_key_N, seed) >> np.uint64(32)) % np.uint64(folds)).astype(np.int8)


def products_to_fit(key_N: NDArray[np.uint64], leaf_N: NDArray[np.integer], settings: ScoringSettings) -> NDArray[np.int64]:
    """Which products to fit the audit to, rising: int64[M]. All of a small catalog; of a larger one some of every leaf, others at random.

    The draw goes by item keys: another order of the catalog changes nothing.
    """
    if len(key_N) <= settings.fit_products:
        return np.arange(len(key_N))
    draw_N = _scrambled(key_N, settings.seed + 1)
    by_leaf = np.lexsort((draw_N, leaf_N))
    sorted_leaf = leaf_N[by_leaf]
    first_of_leaf = np.searchsorted(sorted_leaf, sorted_leaf)
    always_N = np.zeros(len(key_N), bool)
    always_N[by_leaf] = (np.arange(len(key_N)) - first_of_leaf < settings.fit_per_leaf) & (sorted_leaf != NO_LEAF)
    order = np.lexsort((draw_N, ~always_N))
    return np.sort(order[: settings.fit_products])


def _scrambled(key_N: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Other 64 bits of each key: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), whose bits all depend on all of the key."""
    z = key_N + np.uint64(_MIX * (seed + 1) % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
