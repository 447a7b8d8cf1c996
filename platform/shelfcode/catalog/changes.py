"""What changed in a catalog since a release coded it: products added, changed, removed and unchanged."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, index_keys

MOST_REMOVED = 0.2
"""Share of the coded products that a catalog may lack. Where more are missing, the catalog itself is likely to be broken."""


@dataclass(frozen=True)
class Changes:
    """Products of a catalog by what became of them since a release. Added, changed and unchanged ones are all that can be coded.

    Attributes:
        new_N: whether each product of the catalog has to be coded, because it was added or changed.
        added, changed, unchanged: how many products of the catalog are.
        removed: how many products of the release the catalog no longer has, or now has with a row or text that is rejected.
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

    def and_changed(self, again_N: NDArray[np.bool_]) -> "Changes":
        """The same, with some products counted as changed, too."""
        more = int((again_N & ~self.new_N).sum())
        return replace(self, new_N=self.new_N | again_N, changed=self.changed + more, unchanged=self.unchanged - more)

    def counts(self, rejected: int) -> dict[str, int]:
        """The counts that a job prints. Added, changed, unchanged and rejected add up to the rows that were read."""
        return {
            "added": self.added, "changed": self.changed, "removed": self.removed, "unchanged": self.unchanged, "rejected": rejected,
        }  # fmt: skip


def compare_products(coded_K: Keys, texts_K: Keys, item_keys_N: Keys, row_keys_N: Keys) -> Changes:
    """Changes of a catalog since a release.

    Args:
        coded_K: item keys of the products that the release coded.
        texts_K: row keys of the texts from which it coded them. A product whose text is not known counts as changed.
        item_keys_N, row_keys_N: keys of the products of the catalog that can be coded.
    """
    was_coded_N = index_keys(coded_K).get(item_keys_N) >= 0
    unchanged_N = was_coded_N & (index_keys(texts_K).get(row_keys_N) >= 0)
    kept = int(was_coded_N.sum())
    return Changes(~unchanged_N, len(was_coded_N) - kept, kept - int(unchanged_N.sum()), int(unchanged_N.sum()), len(coded_K) - kept)


def check_removals(coded_K: Keys, now_K: Keys, allowed: bool) -> None:
    """Refuse a catalog that lacks many of the coded products, before any work is done.

    Raises:
        ShelfcodeError: more than MOST_REMOVED of the coded products are missing, and that was not allowed.
    """
    removed = int((index_keys(now_K).get(coded_K) < 0).sum())
    if removed > MOST_REMOVED * len(coded_K) and not allowed:
        raise ShelfcodeError(
            f"the catalog lacks {removed:,} of the {len(coded_K):,} products that are coded now ({removed / len(coded_K):.0%}). "
            "Was it read whole? To remove them all the same: --allow-removals. Nothing was changed"
        )
