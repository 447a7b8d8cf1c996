"""Products that are one and the same, but for their label: equal titles, or embeddings that are next to equal."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from shelfcode.text import fold

Path = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+")


def title_keys(titles: Iterable[str | None]) -> NDArray[np.int64]:
    """A key for each title, equal for titles that differ in letter case, accents, punctuation or spaces only: int64[N]."""
    words = (" ".join(_WORD.findall(fold(title or ""))) or title or "" for title in titles)
    return np.array([xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in words], np.uint64).view(np.int64)


def other_label(label: int, of_title: Mapping[int, int] | None, near: Iterable[int], paths: Sequence[Path]) -> tuple[int, int, int] | None:
    """Which other label the same product has. One further up or down the same path does not contradict its own.

    Args:
        label: of the product itself.
        of_title: leaf -> products of this title, itself included; None where none of them has another label.
        near: labels of the nearest products whose embeddings are next to equal.
        paths: of all leaves.

    Returns:
        The other label that most have, how many have it, and how many others have the product's own; None without another label.
    """
    by_title = Counter(of_title or {label: 1})
    by_title[label] -= 1
    counts = by_title | Counter(near)  # the larger of each: the nearest of the same title would be counted twice
    own = paths[label]
    others = [
        (count, -leaf) for leaf, count in counts.items()
        if count > 0 and paths[leaf][: len(own)] != own and paths[leaf] != own[: len(paths[leaf])]
    ]  # fmt: skip
    if not others:
        return None
    count, leaf = max(others)
    return -leaf, count, max(0, counts[label])
