"""A catalog of twenty leaves in four departments, whose titles name their leaf, with two releases: one of leaves, one of departments."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.evaluation.judge.sets import JudgedCatalog, JudgedRelease
from shelfcode.keys import item_keys

LEAVES, PER_LEAF = 20, 30
# fmt: off
NOUNS = [
    "bread", "milk", "soap", "juice", "pasta", "candle", "shampoo", "towel", "kettle", "lamp", "granola", "yogurt", "mop", "vinegar",
    "lotion", "napkin", "skillet", "blanket", "cookie", "salsa",
]
ADJECTIVES = [
    "amber", "bold", "calm", "daily", "early", "fresh", "gentle", "hearty", "ivory", "jolly", "keen", "light", "mellow", "noble", "olive",
    "plain", "quiet", "royal", "silver", "tender", "urban", "vivid", "warm", "young", "zesty", "crisp", "dusky", "earthy", "fair", "golden",
]
# fmt: on


@pytest.fixture(scope="session")
def catalog() -> JudgedCatalog:
    leaf_N = np.repeat(np.arange(LEAVES), PER_LEAF)
    titles = [f"{ADJECTIVES[number % PER_LEAF]} {NOUNS[leaf]} {number}" for number, leaf in enumerate(leaf_N.tolist())]
    ids = pa.chunked_array([pa.array([f"p{number:04d}" for number in range(len(titles))])])
    second_N = np.arange(len(leaf_N)) % 3
    by_leaf_NL = np.stack([leaf_N // 5, leaf_N % 5, second_N], axis=1).astype(np.uint16)
    by_chance_NL = np.stack([np.arange(len(leaf_N)) % 4, leaf_N * 0, second_N], axis=1).astype(np.uint16)
    releases = (JudgedRelease("precision@v0001", by_leaf_NL, (4, 5, 3)), JudgedRelease("discovery@v0001", by_chance_NL, (4, 1, 3)))
    paths = [[f"department {leaf // 5}", f"leaf {leaf}"] for leaf in leaf_N.tolist()]
    return JudgedCatalog(ids, pa.chunked_array([pa.array(titles)]), item_keys(ids), taxonomy_from_paths(paths), releases)
