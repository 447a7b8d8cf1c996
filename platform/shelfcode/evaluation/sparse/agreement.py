"""What the products under one deep prefix agree on: a value that nearly all of those have that say anything."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.semantic_id import format_codes
from shelfcode.text import fold


@dataclass(frozen=True)
class Agreed:
    """A value that the products under a prefix agree on.

    Attributes:
        value: in its commonest spelling.
        support: products that have it.
        agreement: their share of the products under the prefix that have any value.
    """

    value: str
    prefix: str
    support: int
    agreement: float


def agreed_values(
    values: Sequence[str | None], codes_NL: NDArray[np.integer], asked_QL: NDArray[np.integer], own_Q: NDArray[np.int64],
    codebook_sizes: Sequence[int], settings: SparseSettings,
) -> list[Agreed | None]:  # fmt: skip
    """What the neighbours of Q products agree on in one field, or None; the first of `settings.depths` that agrees is taken.

    Args:
        values: of the N products of a catalog, None where a product has none.
        codes_NL, asked_QL: codes of these, and of the products that are asked for.
        own_Q: position of each asked product in the catalog, -1 for one that is not there. No product votes on itself.
    """
    known_M = np.array([at for at, value in enumerate(values) if value], np.int64)
    place_N = {int(at): slot for slot, at in enumerate(known_M)}
    numbers = prefix_numbers(np.concatenate([codes_NL[known_M], asked_QL]).astype(np.int64), codebook_sizes)
    found: list[Agreed | None] = [None] * len(asked_QL)
    for depth in (depth for depth in settings.depths if depth <= len(numbers)):
        number_M, number_Q = np.split(numbers[depth - 1], [len(known_M)])
        order_M = np.argsort(number_M, kind="stable")
        sorted_M = number_M[order_M]
        counted: dict[int, Counter[str]] = {}
        for asked in (at for at, value in enumerate(found) if value is None):
            number, own = int(number_Q[asked]), int(own_Q[asked])
            if number not in counted:
                first, last = np.searchsorted(sorted_M, [number, number + 1])
                counted[number] = Counter(values[member] or "" for member in known_M[order_M[first:last]].tolist())
            votes = counted[number]
            if own in place_N and number_M[place_N[own]] == number:
                votes = votes - Counter([values[own] or ""])
            found[asked] = _agreed(votes, format_codes(asked_QL[asked, :depth].tolist()), settings)
    return found


def _agreed(votes: Counter[str], prefix: str, settings: SparseSettings) -> Agreed | None:
    voters = votes.total()
    folded: Counter[str] = Counter()
    for value, count in votes.items():
        folded[fold(value)] += count
    commonest, support = folded.most_common(1)[0] if folded else ("", 0)
    if support < settings.least_agreeing or support < settings.agreement * voters:
        return None
    spelling = max((value for value in votes if fold(value) == commonest), key=lambda value: (votes[value], value))
    return Agreed(spelling, prefix, support, support / voters)
