"""Which products share a whole semantic ID, how many, and how alike they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.evaluation.figures import Figures
from shelfcode.semantic_id import format_codes

SIZE_CLASSES = (1, 2, 3, 4, 5, 10, 20, 50, 100, 1000)
"""Least number of products of each class of the histogram of collision sizes."""

WORST = 10
EXAMPLES = 5
_SAMPLED_PRODUCTS = 50_000
_PRODUCTS_AN_ID = 500


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
        examples: positions of up to five of those products: the one closest to their centroid, then the furthest, furthest first.
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
        most_products: the worst IDs by number of products, from all.
        least_alike: the worst IDs by mean cosine, from the sampled ones.
    """

    distinct_ids: int
    distinct_share: float
    sharing_share: float
    largest: int
    sizes: tuple[SizeClass, ...]
    sampled_ids: int
    mean_cosine: float | None
    mean_cosine_low: float | None
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
        sampled_products: stop drawing shared IDs when this many products are at hand.
    """
    order_N = np.argsort(id_N, kind="stable")
    size_I = np.bincount(id_N)
    first_I = np.cumsum(size_I) - size_I
    shared = np.flatnonzero(size_I > 1)
    largest = shared[np.argsort(-size_I[shared], kind="stable")[:WORST]]
    drawn = rng.permutation(shared)
    read = np.cumsum(np.minimum(size_I[drawn], _PRODUCTS_AN_ID))
    drawn = drawn[: int(np.searchsorted(read, sampled_products)) + 1]

    def members(number: int) -> NDArray[np.int64]:
        inside = order_N[first_I[number] : first_I[number] + size_I[number]]
        return inside if len(inside) <= _PRODUCTS_AN_ID else np.sort(rng.choice(inside, _PRODUCTS_AN_ID, replace=False))

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

    cosine_S = np.array([mean_cosine(np.asarray(x_ND[members(number)], dtype=np.float32)) for number in drawn])
    undefined = {} if len(shared) else dict.fromkeys(("mean_cosine", "mean_cosine_low"), "no two products share an ID")
    return Collisions(
        distinct_ids=len(size_I),
        distinct_share=len(size_I) / len(id_N),
        sharing_share=float(size_I[shared].sum() / len(id_N)),
        largest=int(size_I.max()),
        sizes=_size_classes(size_I, SIZE_CLASSES),
        sampled_ids=len(drawn),
        mean_cosine=float(cosine_S.mean()) if len(drawn) else None,
        mean_cosine_low=float(np.quantile(cosine_S, 0.1)) if len(drawn) else None,
        most_products=tuple(collision(int(number)) for number in largest),
        least_alike=tuple(collision(int(number)) for number in drawn[np.argsort(cosine_S, kind="stable")[:WORST]]),
        undefined=undefined,
    )


def mean_cosine(x_MD: NDArray[np.floating]) -> float:
    """Mean cosine of two different unit rows: (|sum of rows|^2 - M) / (M (M - 1)), for M of at least 2."""
    count = len(x_MD)
    total_D = x_MD.sum(axis=0, dtype=np.float64)
    return float(np.clip((total_D @ total_D - np.square(x_MD, dtype=np.float64).sum()) / (count * (count - 1)), -1, 1))


def _size_classes(size_I: NDArray[np.integer], least_of_class: Sequence[int]) -> tuple[SizeClass, ...]:
    classes = []
    for number, least in enumerate(least_of_class):
        most = least_of_class[number + 1] - 1 if number + 1 < len(least_of_class) else None
        inside = size_I[(size_I >= least) & (True if most is None else size_I <= most)]
        classes.append(SizeClass(least=least, most=most, ids=len(inside), products=int(inside.sum())))
    return tuple(classes)
