"""Pairs of coded products, from the rows of a relation: plain pairs as they stand, and pairs within baskets and queries.

A basket of n products has n (n - 1) / 2 pairs. At most 200 of a basket or of a query are taken, and about 500,000 of a
relation, both drawn by the seed: otherwise large baskets would decide the result and its cost.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.interactions.columns import LABELS
from shelfcode.interactions.relations import SAME_BASKET, RelationRows, Relations
from shelfcode.keys import KeyIndex, Keys, index_keys

MOST_PAIRS_PER_GROUP = 200
MOST_PAIRS = 500_000

_DRAW = 3


@dataclass(frozen=True)
class RelationPairs:
    """P pairs of two different products.

    Attributes:
        relation: its name.
        ordered: whether left and right differ in kind, such as a product and what can stand in for it.
        left_P, right_P: int64, positions of the two products among the coded ones.
        group_P: int64, dense from 0: the basket, the query, or the left product of a plain pair. Pairs of one group
            are not independent of each other.
        pairs_there: pairs of coded products that the relation has; more than P where some were drawn.
        unknown_items: distinct item_ids of the relation that have no code; they are left out.
        unknown_rows: rows of the table that name one of those.
    """

    relation: str
    ordered: bool
    left_P: NDArray[np.int64]
    right_P: NDArray[np.int64]
    group_P: NDArray[np.int64]
    pairs_there: int
    unknown_items: int
    unknown_rows: int


def relation_pairs(relations: Relations, item_keys_N: Keys, seed: int = 0, most_pairs: int = MOST_PAIRS) -> tuple[RelationPairs, ...]:
    """The pairs of every relation, in the order of `relations.rows`.

    Args:
        item_keys_N: item keys of the coded products; a pair holds positions in this array.
        seed: of what is drawn where there are too many pairs.
        most_pairs: of a relation. Whole groups are drawn, so the last one may exceed it.
    """
    place_of = index_keys(item_keys_N)
    pairs: list[RelationPairs] = []
    for rows in relations.rows:
        rng = np.random.default_rng([seed, _DRAW])
        if rows.kind == "pairs":
            pairs.append(_plain_pairs(rows, place_of, rng, most_pairs))
        elif rows.kind == "baskets":
            pairs += _group_pairs(rows, place_of, {SAME_BASKET: 0}, rng, most_pairs)
        else:
            right_labels = {f"query_{LABELS[0]}{label}": place for place, label in enumerate(LABELS)}
            pairs += _group_pairs(rows, place_of, right_labels, rng, most_pairs)
    return tuple(pairs)


def _plain_pairs(rows: RelationRows, place_of: KeyIndex, rng: np.random.Generator, most_pairs: int) -> RelationPairs:
    left_R, right_R = place_of.get(rows.owner_R), place_of.get(rows.item_R)
    unknown = np.concatenate([rows.owner_R[left_R < 0], rows.item_R[right_R < 0]])
    known_R = (left_R >= 0) & (right_R >= 0)
    pair_P = np.flatnonzero(known_R & (left_R != right_R))
    group_P = _dense(left_R[pair_P])
    chosen = pair_P[_draw_groups(np.bincount(group_P), rng, most_pairs)[group_P]]
    return RelationPairs(
        rows.name, True, left_R[chosen], right_R[chosen], _dense(left_R[chosen]),
        len(pair_P), len(np.unique(unknown)), int((~known_R).sum()),
    )  # fmt: skip


def _group_pairs(
    rows: RelationRows, place_of: KeyIndex, right_labels: dict[str, int], rng: np.random.Generator, most_pairs: int
) -> list[RelationPairs]:
    """For each relation, pairs within a group: on the left a product of the first label, on the right one of the relation's own label."""
    place_R = place_of.get(rows.item_R)
    known_R = place_R >= 0
    unknown_items, unknown_rows = len(np.unique(rows.item_R[~known_R])), int((~known_R).sum())
    products, labels = max(len(place_of), 1), len(LABELS)
    # A product counts once per group and label, however often it is named there.
    key_M = np.unique((_dense(rows.owner_R[known_R]) * products + place_R[known_R]) * labels + rows.label_R[known_R])
    member_M, label_M = np.divmod(key_M, labels)
    group_M, place_M = np.divmod(member_M, products)
    left_A = np.flatnonzero(label_M == 0)
    of_relations = []
    for relation, label in right_labels.items():
        right_B = np.flatnonzero(label_M == label)
        one, other, there = _pairs_within(group_M[left_A], group_M[right_B], label == 0, rng, most_pairs)
        left_P, right_P, group_P = place_M[left_A[one]], place_M[right_B[other]], group_M[left_A[one]]
        differ_P = left_P != right_P
        of_relations.append(
            RelationPairs(
                relation, label != 0, left_P[differ_P], right_P[differ_P], _dense(group_P[differ_P]),
                there - int((~differ_P).sum()), unknown_items, unknown_rows,
            )
        )  # fmt: skip
    return of_relations


def _pairs_within(
    left_A: NDArray[np.int64], right_B: NDArray[np.int64], same: bool, rng: np.random.Generator, most_pairs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Pairs of a left and a right member of one group, at most MOST_PAIRS_PER_GROUP per group and `most_pairs` in all.

    Args:
        left_A, right_B: group of each member, rising.
        same: both sides are the same members; a pair is then unordered, of two different ones.

    Returns:
        Places in left_A and right_B of each pair, and how many pairs there are in all groups.
    """
    groups = 1 + max(int(side[-1]) if len(side) else -1 for side in (left_A, right_B))
    left_G, right_G = np.bincount(left_A, minlength=groups), np.bincount(right_B, minlength=groups)
    there_G = left_G * (left_G - 1) // 2 if same else left_G * right_G
    taken_G = np.minimum(there_G, MOST_PAIRS_PER_GROUP)
    taken_G[~_draw_groups(taken_G, rng, most_pairs)] = 0
    group_P = np.repeat(np.arange(groups), taken_G)
    first_G = np.cumsum(taken_G) - taken_G
    number_P = np.arange(len(group_P)) - first_G[group_P]
    for group in np.flatnonzero((taken_G > 0) & (there_G > taken_G)):
        some = rng.choice(int(there_G[group]), int(taken_G[group]), replace=False, shuffle=False)
        number_P[first_G[group] : first_G[group] + taken_G[group]] = some
    one, other = _unordered(number_P) if same else np.divmod(number_P, np.maximum(right_G[group_P], 1))
    left_first_G, right_first_G = np.cumsum(left_G) - left_G, np.cumsum(right_G) - right_G
    return left_first_G[group_P] + one, right_first_G[group_P] + other, int(there_G.sum())


def _unordered(number_P: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number-th pair of (1, 0), (2, 0), (2, 1), (3, 0), ..."""
    larger_P = ((1 + np.sqrt(1 + 8 * number_P.astype(np.float64))) / 2).astype(np.int64)
    larger_P -= larger_P * (larger_P - 1) // 2 > number_P  # the root may be rounded up
    return larger_P, number_P - larger_P * (larger_P - 1) // 2


def _draw_groups(pairs_G: NDArray[np.int64], rng: np.random.Generator, most_pairs: int) -> NDArray[np.bool_]:
    """Which groups to take: all of them, or random ones until their pairs come to `most_pairs`; the last one may exceed it."""
    drawn_G = np.ones(len(pairs_G), dtype=bool)
    if pairs_G.sum() > most_pairs:
        order_G = rng.permutation(len(pairs_G))
        before_G = np.cumsum(pairs_G[order_G]) - pairs_G[order_G]
        drawn_G[order_G[before_G >= most_pairs]] = False
    return drawn_G


def _dense(values_P: NDArray[np.generic]) -> NDArray[np.int64]:
    """Numbers from 0, equal for equal values."""
    return np.unique(values_P, return_inverse=True)[1].astype(np.int64)
