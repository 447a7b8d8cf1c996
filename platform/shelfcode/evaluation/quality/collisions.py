"""Which products share a whole semantic ID, how many, and how alike they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.reporting.figures import Figures
from shelfcode.semantic_id import format_codes

SIZE_CLASSES = (1, 2, 3, 4, 5, 10, 20, 50, 100, 1000)
"""Smallest number of products of each class of the histogram of collision sizes."""

UNLIKE_BELOW = 0.8
"""A product whose mean cosine with the other products of its ID is below this is unlike them: another product, not a near-twin."""

WORST = 10
EXAMPLES = 5
_SAMPLED_PRODUCTS = 50_000
_PRODUCTS_PER_ID = 500


class SizeClass(Figures):
    """Semantic IDs that `least` to `most` products have; `most` is None for the last class, which is open.

    Attributes:
        ids: semantic IDs of the class.
        products: products that have them.
    """

    least: int
    most: int | None
    ids: int
    products: int


class Collision(Figures):
    """One semantic ID that several products share.

    Attributes:
        semantic_id: written a_b_c_d.
        products: how many share it.
        mean_cosine: mean cosine of two of its products; of at most 500 of them, drawn at random.
        examples: positions of up to five of those products: first the one closest to their centroid, then those furthest from it.
    """

    semantic_id: str
    products: int
    mean_cosine: float
    examples: tuple[int, ...]


class Collisions(Figures):
    """All collisions of a set of semantic IDs.

    Attributes:
        distinct_ids: different semantic IDs.
        distinct_share: distinct IDs over products.
        sharing_share: share of the products that share their ID with another.
        largest: products of the commonest ID.
        sizes: histogram of the IDs by number of products.
        sampled_ids: shared IDs whose products were compared, drawn at random up to a total of about 50,000 products.
        mean_cosine: mean over these IDs of the mean cosine of two of their products.
        mean_cosine_low: the tenth percentile of the same.
        unlike_share: of the products that share an ID, the share whose mean cosine with the others of their ID is below UNLIKE_BELOW.
            From the sampled IDs, each weighed by all its products, however many of them were compared. Also None in an evaluation
            that is older than this figure.
        unlike_products: the number of products in the catalog that this share stands for; None where the share is None.
        most_products: the IDs with most products, out of all.
        least_alike: the IDs with the lowest mean cosine, out of the sampled ones.
    """

    distinct_ids: int
    distinct_share: float
    sharing_share: float
    largest: int
    sizes: tuple[SizeClass, ...]
    sampled_ids: int
    mean_cosine: float | None
    mean_cosine_low: float | None
    unlike_share: float | None = None
    unlike_products: int | None = None
    most_products: tuple[Collision, ...]
    least_alike: tuple[Collision, ...]


@dataclass(frozen=True)
class ComparedIds:
    """The shared IDs whose products are compared, drawn before a vector is read.

    Attributes:
        size_I: products of each ID, by its number.
        largest, drawn: numbers of the IDs with most products, and of those drawn at random.
        members: positions of the products compared, of each of these IDs; of one with very many, some drawn at random.
    """

    size_I: NDArray[np.int64]
    largest: NDArray[np.int64]
    drawn: NDArray[np.int64]
    members: dict[int, NDArray[np.int64]]

    def positions(self) -> NDArray[np.int64]:
        """Positions of all products compared, rising, each once."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self.members.values()]))


def draw_compared(id_N: NDArray[np.integer], rng: np.random.Generator, sampled_products: int = _SAMPLED_PRODUCTS) -> ComparedIds:
    """Draw the IDs whose products are compared, and the products.

    Args:
        id_N: the number of each product's whole ID, dense from 0.
        sampled_products: no more shared IDs are drawn once they have this many products.
    """
    order_N = np.argsort(id_N, kind="stable")
    size_I = np.bincount(id_N)
    first_I = np.cumsum(size_I) - size_I
    shared = np.flatnonzero(size_I > 1)
    largest = shared[np.argsort(-size_I[shared], kind="stable")[:WORST]]
    drawn = rng.permutation(shared)
    read = np.cumsum(np.minimum(size_I[drawn], _PRODUCTS_PER_ID))
    drawn = drawn[: int(np.searchsorted(read, sampled_products)) + 1]

    def members(number: int) -> NDArray[np.int64]:
        inside = order_N[first_I[number] : first_I[number] + size_I[number]]
        return inside if len(inside) <= _PRODUCTS_PER_ID else np.sort(rng.choice(inside, _PRODUCTS_PER_ID, replace=False))

    return ComparedIds(size_I, largest, drawn, {number: members(number) for number in dict.fromkeys([*drawn.tolist(), *largest.tolist()])})


def collisions(
    x_ND: NDArray[np.floating],
    codes_NL: NDArray[np.integer],
    compared: ComparedIds,
    row_of: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None,
) -> Collisions:
    """Count who shares an ID with whom, and compare the embeddings of those who do, from a sample.

    Args:
        x_ND: unit rows, or a memory map of them; only rows of the products compared are read.
        codes_NL: the semantic IDs.
        compared: from `draw_compared`, of these IDs.
        row_of: positions of products -> their rows in x_ND; the same when left out.
    """
    size_I, drawn = compared.size_I, compared.drawn

    def vectors(number: int) -> NDArray[np.float32]:
        inside = compared.members[number]
        return np.asarray(x_ND[inside if row_of is None else row_of(inside)], dtype=np.float32)

    def collision(number: int) -> Collision:
        inside, x_MD = compared.members[number], vectors(number)
        near_M = inside[np.argsort(-(x_MD @ x_MD.sum(axis=0)), kind="stable")]
        examples = [near_M[0], *near_M[:0:-1]][:EXAMPLES]
        return Collision(
            semantic_id=format_codes(codes_NL[inside[0]].tolist()),
            products=int(size_I[number]),
            mean_cosine=mean_cosine(x_MD),
            examples=tuple(int(position) for position in examples),
        )

    cosines = [cosines_with_others(vectors(number)) for number in drawn.tolist()]
    cosine_S = np.array([cosine_M.mean() for cosine_M in cosines])
    unlike_S = np.array([np.count_nonzero(cosine_M < UNLIKE_BELOW) / len(cosine_M) for cosine_M in cosines])
    products, sharing = int(size_I.sum()), int(size_I[size_I > 1].sum())
    unlike_share = float(unlike_S @ size_I[drawn] / size_I[drawn].sum()) if len(drawn) else None
    from_sample = ("mean_cosine", "mean_cosine_low", "unlike_share", "unlike_products")
    return Collisions(
        distinct_ids=len(size_I),
        distinct_share=len(size_I) / products,
        sharing_share=sharing / products,
        largest=int(size_I.max()),
        sizes=_size_classes(size_I, SIZE_CLASSES),
        sampled_ids=len(drawn),
        mean_cosine=float(cosine_S.mean()) if len(drawn) else None,
        mean_cosine_low=float(np.quantile(cosine_S, 0.1)) if len(drawn) else None,
        unlike_share=unlike_share,
        unlike_products=None if unlike_share is None else round(unlike_share * sharing),
        most_products=tuple(collision(number) for number in compared.largest.tolist()),
        least_alike=tuple(collision(number) for number in drawn[np.argsort(cosine_S, kind="stable")[:WORST]].tolist()),
        undefined={} if len(drawn) else dict.fromkeys(from_sample, "no two products share an ID"),
    )


def mean_cosine(x_MD: NDArray[np.floating]) -> float:
    """Mean cosine of two different unit rows, for M of at least 2."""
    return float(cosines_with_others(x_MD).mean())


def cosines_with_others(x_MD: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each unit row's mean cosine with the other rows: (x . sum of rows - x . x) / (M - 1), for M of at least 2."""
    exact_MD = x_MD.astype(np.float64)
    others_MD = exact_MD.sum(axis=0) - exact_MD
    return np.clip(np.einsum("md,md->m", exact_MD, others_MD) / (len(x_MD) - 1), -1, 1)


def _size_classes(size_I: NDArray[np.integer], least_of_class: Sequence[int]) -> tuple[SizeClass, ...]:
    classes = []
    for number, least in enumerate(least_of_class):
        most = least_of_class[number + 1] - 1 if number + 1 < len(least_of_class) else None
        inside = size_I[(size_I >= least) & (True if most is None else size_I <= most)]
        classes.append(SizeClass(least=least, most=most, ids=len(inside), products=int(inside.sum())))
    return tuple(classes)
