"""Sets whose worth is known, judged by the same questions as clusters: they say whether a judge can tell anything, and on what scale.

| control | is | says |
|---|---|---|
| leaf | products of one leaf of the catalog | ceiling |
| wordless | products of one leaf whose titles have no word in common | whether more is seen than repeated words |
| twins | a product and its nearest of the same leaf, by words of their titles | ceiling |
| planted_1 .. planted_4 | a leaf's set with so many of its products from elsewhere | dose |
| shuffled | the products of the leaves' sets, one of each leaf | floor, with the same products |
| random | products of the whole catalog | floor |
| basket, popular | products of a real basket, and products drawn as often as baskets have them | purchase |
| theme, unthemed | products of one theme, and products drawn as often as themes have them | journey |
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.judge.sets import JudgedCatalog, ProductSet, draw_distinct, hash_order, title_words

LEAF, WORDLESS, TWINS, SHUFFLED, RANDOM, BASKET, POPULAR, THEME, UNTHEMED = (
    "leaf", "wordless", "twins", "shuffled", "random", "basket", "popular", "theme", "unthemed",
)  # fmt: skip
DOSES = (1, 2, 3, 4)
"""Products of a set that are planted."""
LEAST_LEAVES = 10
_CANDIDATES = 400


def planted(dose: int) -> str:
    """The kind of the control with so many planted products."""
    return f"planted_{dose}"


def leaf_controls(catalog: JudgedCatalog, leaves: int, products: int, seed: int) -> list[ProductSet]:
    """The controls that are made of the catalog's own leaves.

    Raises:
        ShelfcodeError: fewer than LEAST_LEAVES leaves have as many products that differ, so that nothing could be controlled.
    """
    chosen = _chosen_leaves(catalog, leaves, products, seed)
    if len(chosen) < LEAST_LEAVES:
        raise ShelfcodeError(
            f"only {len(chosen)} leaves of the catalog have {products} products that differ, and the controls take {LEAST_LEAVES} "
            "at the least: give --set products=6, or a catalog with category paths"
        )
    first_of = catalog.taxonomy.ancestors_PD[:, 0]
    rows = np.flatnonzero(catalog.taxonomy.leaf_of_N != NO_LEAF)
    pool = rows[hash_order(catalog.item_keys_N[rows], seed, 11)]
    sets: list[ProductSet] = []
    for number, (leaf, members) in enumerate(chosen):
        name, far = " > ".join(catalog.taxonomy.paths[leaf]), _far(catalog, pool, first_of, leaf, number)
        strangers = (far[-1],)
        sets.append(ProductSet(LEAF, name, 0, members, strangers))
        for dose in DOSES:
            places = np.random.default_rng([seed, number, dose]).permutation(products)[:dose]
            mixed = list(members)
            for place, stranger in zip(places.tolist(), far, strict=False):
                mixed[place] = stranger
            sets.append(ProductSet(planted(dose), name, 0, tuple(mixed), strangers))
        wordless = _without_common_words(catalog, leaf, products, seed)
        if len(wordless) == products:
            sets.append(ProductSet(WORDLESS, name, 0, wordless, strangers))
        sets.append(ProductSet(TWINS, name, 0, _twins(catalog, leaf, members[0], products), strangers))
        sets.append(ProductSet(RANDOM, str(number), 0, tuple(pool[number * products : (number + 1) * products].tolist()), strangers))
    members_LK = np.array([members for _, members in chosen])
    for number in range(len(chosen)):
        # One product of each of as many different leaves: a diagonal through the leaves' sets.
        places = (number + np.arange(products) * max(1, len(chosen) // products)) % len(chosen)
        places = places if len(set(places.tolist())) == products else (number + np.arange(products)) % len(chosen)
        rows_K = members_LK[places, np.arange(products)]
        sets.append(ProductSet(SHUFFLED, str(number), 0, tuple(rows_K.tolist()), (int(members_LK[number - 1, 0]),)))
    return sets


def group_controls(
    catalog: JudgedCatalog, groups: Mapping[str, NDArray[np.int64]], kinds: tuple[str, str], most: int, products: int, seed: int
) -> list[ProductSet]:
    """Sets from within groups that people or facts made, and as many drawn from the groups' products whatever group these are of.

    Args:
        groups: rows of the catalog by the name of the group: baskets, or themes.
        kinds: of the two controls.
    """
    pool = np.concatenate([np.unique(rows) for rows in groups.values()]) if groups else np.empty(0, np.int64)
    rng = np.random.default_rng([seed, 13])
    sets: list[ProductSet] = []
    names = sorted(groups)
    for place in rng.permutation(len(names)).tolist():
        members = draw_distinct(catalog, np.unique(groups[names[place]]), products, seed)
        if len(members) < products:
            continue
        others = draw_distinct(catalog, np.unique(rng.choice(pool, 4 * products)), products + 1, seed)
        if len(others) <= products:
            continue
        sets.append(ProductSet(kinds[0], names[place], 0, tuple(members), (others[-1],)))
        sets.append(ProductSet(kinds[1], names[place], 0, tuple(others[:products]), (others[-1],)))
        if len(sets) == 2 * most:
            break
    return sets


def _chosen_leaves(catalog: JudgedCatalog, leaves: int, products: int, seed: int) -> list[tuple[int, tuple[int, ...]]]:
    leaf_of_N = catalog.taxonomy.leaf_of_N
    counts_P = np.bincount(leaf_of_N[leaf_of_N != NO_LEAF], minlength=len(catalog.taxonomy.paths))
    chosen: list[tuple[int, tuple[int, ...]]] = []
    for leaf in np.random.default_rng([seed, 7]).permutation(np.flatnonzero(counts_P >= products)).tolist():
        members = draw_distinct(catalog, np.flatnonzero(leaf_of_N == leaf), products, seed)
        if len(members) == products:
            chosen.append((leaf, tuple(members)))
        if len(chosen) == leaves:
            break
    return chosen


def _far(catalog: JudgedCatalog, pool: NDArray[np.int64], first_of: NDArray[np.int32], leaf: int, number: int) -> list[int]:
    """Products of other departments, or of other leaves where there is one department; other ones for each leaf."""
    leaf_M = catalog.taxonomy.leaf_of_N[pool]
    elsewhere = pool[first_of[leaf_M] != first_of[leaf]]
    elsewhere = elsewhere if len(elsewhere) else pool[leaf_M != leaf]
    count = max(DOSES) + 1
    return [int(row) for row in np.take(elsewhere, np.arange(number * count, (number + 1) * count), mode="wrap")]


def _without_common_words(catalog: JudgedCatalog, leaf: int, products: int, seed: int) -> tuple[int, ...]:
    """Products of a leaf, as many as there are up to `products`, no two of whose titles share a word."""
    rows = np.flatnonzero(catalog.taxonomy.leaf_of_N == leaf)
    rows = rows[hash_order(catalog.item_keys_N[rows], seed, 29)][:_CANDIDATES]
    taken: list[int] = []
    seen: set[str] = set()
    for row, title in zip(rows.tolist(), catalog.titles_of(rows.tolist(), 200), strict=True):
        words = title_words(title)
        if words and seen.isdisjoint(words):
            taken.append(row)
            seen |= words
        if len(taken) == products:
            break
    return tuple(taken)


def _twins(catalog: JudgedCatalog, leaf: int, member: int, products: int) -> tuple[int, ...]:
    """A product and those of its leaf whose titles share most words with its own, near-duplicates among them."""
    rows = np.flatnonzero(catalog.taxonomy.leaf_of_N == leaf)[:_CANDIDATES]
    rows = np.concatenate([[member], rows[rows != member]])
    titles: Sequence[str] = catalog.titles_of(rows.tolist(), 200)
    try:
        words_MW = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3)).fit_transform(titles)
    except ValueError:  # titles without a letter
        return tuple(rows[:products].tolist())
    nearest = np.argsort(-(words_MW @ words_MW[0].T).toarray()[:, 0], kind="stable")[:products]
    return tuple(rows[nearest].tolist())
