"""Which products share a whole semantic ID, how many, and how alike they are."""

from collections.abc import Sequence

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


def collisions(
    x_ND: NDArray[np.floating],
    codes_NL: NDArray[np.integer],
    id_N: NDArray[np.integer],
    rng: np.random.Generator,
    sampled_products: int = _SAMPLED_PRODUCTS,
) -> Collisions:
    """Count who shares an ID with whom, and compare the embeddings of those who do, from a sample.

    Args:
        x_ND: unit rows, or a memory map of them; only rows of sampled products are read.
        codes_NL: the semantic IDs.
        id_N: the number of each product's whole ID, dense from 0.
        rng: draws the sample.
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

    def collision(number: int) -> Collision:
        inside = members(number)
        x_MD = np.asarray(x_ND[inside], dtype=np.float32)
        near_M = inside[np.argsort(-(x_MD @ x_MD.sum(axis=0)), kind="stable")]
        examples = [near_M[0], *near_M[:0:-1]][:EXAMPLES]
        return Collision(
            semantic_id=format_codes(codes_NL[inside[0]].tolist()),
            products=int(size_I[number]),
            mean_cosine=mean_cosine(x_MD),
            examples=tuple(int(position) for position in examples),
        )

    compared = [cosines_with_others(np.asarray(x_ND[members(number)], dtype=np.float32)) for number in drawn]
    cosine_S = np.array([cosine_M.mean() for cosine_M in compared])
    unlike_S = np.array([np.count_nonzero(cosine_M < UNLIKE_BELOW) / len(cosine_M) for cosine_M in compared])
    sharing = int(size_I[shared].sum())
    unlike_share = float(unlike_S @ size_I[drawn] / size_I[drawn].sum()) if len(drawn) else None
    from_sample = ("mean_cosine", "mean_cosine_low", "unlike_share", "unlike_products")
    undefined = {} if len(shared) else dict.fromkeys(from_sample, "no two products share an ID")
    return Collisions(
        distinct_ids=len(size_I),
        distinct_share=len(size_I) / len(id_N),
        sharing_share=sharing / len(id_N),
        largest=int(size_I.max()),
        sizes=_size_classes(size_I, SIZE_CLASSES),
        sampled_ids=len(drawn),
        mean_cosine=float(cosine_S.mean()) if len(drawn) else None,
        mean_cosine_low=float(np.quantile(cosine_S, 0.1)) if len(drawn) else None,
        unlike_share=unlike_share,
        unlike_products=None if unlike_share is None else round(unlike_share * sharing),
        most_products=tuple(collision(int(number)) for number in largest),
        least_alike=tuple(collision(int(number)) for number in drawn[np.argsort(cosine_S, kind="stable")[:WORST]]),
        undefined=undefined,
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
