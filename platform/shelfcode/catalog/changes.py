"""What a catalog is against the products that were coded before: added, changed, removed, unchanged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, index_keys

MOST_REMOVED = 0.2
"""Share of the coded products that may be missing from a catalog before that is taken for a mistake of whoever made it."""


@dataclass(frozen=True)
class Changes:
    """Products of a catalog by what became of them since a release; the first three add up to all that can be coded.

    Attributes:
        new_N: bool, for each product of the catalog: whether it has to be coded, being added or changed.
        added, changed, unchanged: of them.
        removed: products of the release that the catalog no longer has, or whose row or text is rejected now.
    """

    new_N: NDArray[np.bool_]
    added: int
    changed: int
    unchanged: int
    removed: int

    @property
    def any(self) -> bool:
        """Whether a product has to be coded or removed."""
        return bool(self.added or self.changed or self.removed)

    def counts(self, rejected: int) -> dict[str, int]:
        """As a job tells them: added, changed, unchanged and rejected add up to the rows that were read."""
        return {
            "added": self.added, "changed": self.changed, "removed": self.removed, "unchanged": self.unchanged, "rejected": rejected,
        }  # fmt: skip


def compare_products(coded_K: Keys, texts_K: Keys, item_keys_N: Keys, row_keys_N: Keys) -> Changes:
    """Changes of a catalog since a release.

    Args:
        coded_K: item keys of the products that the release coded.
        texts_K: row keys of the texts that it coded them from; a product whose text is not known counts as changed.
        item_keys_N, row_keys_N: of the products of the catalog that can be coded.
    """
    was_coded_N = index_keys(coded_K).get(item_keys_N) >= 0
    unchanged_N = was_coded_N & (index_keys(texts_K).get(row_keys_N) >= 0)
    kept = int(was_coded_N.sum())
    return Changes(~unchanged_N, len(was_coded_N) - kept, kept - int(unchanged_N.sum()), int(unchanged_N.sum()), len(coded_K) - kept)


def check_removals(coded_K: Keys, now_K: Keys, allowed: bool) -> None:
    """Refuse a catalog that lost much of what was coded, before any work is done for it.

    Raises:
        ShelfcodeError: more than MOST_REMOVED of the coded products are missing, and that was not allowed.
    """
    removed = int((index_keys(now_K).get(coded_K) < 0).sum())
    if removed > MOST_REMOVED * len(coded_K) and not allowed:
        raise ShelfcodeError(
            f"the catalog lacks {removed:,} of the {len(coded_K):,} products that are coded now ({removed / len(coded_K):.0%}). "
            "Was it read whole? To remove them all the same: --allow-removals. Nothing was changed"
        )
