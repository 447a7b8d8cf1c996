"""The tree that labels come from: against walking the paths name by name."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.taxonomy import (
    NO_LEAF,
    RELATED,
    SAME_LEAF,
    SIBLING_LEAF,
    UNKNOWN,
    UNRELATED,
    build_taxonomy,
    taxonomy_from_batches,
    taxonomy_from_paths,
)

Path = list[str] | None

PATHS: list[Path] = [
    ["Food", "Dairy", "Milk"],
    ["Food", "Dairy", "Milk"],
    ["Food", "Dairy", "Cheese"],
    ["Food", "Dairy"],  # a leaf that others pass through
    ["Food", "Produce", "Fruit", "Citrus"],
    ["Food", "Produce", "Milk"],  # a name that occurs elsewhere
    ["Home"],
    ["Garden"],
    ["Home", "Milk"],
    None,
    [],
    ["Food", "Produce", "Fruit", "Berries"],
]


def random_paths(number: int, seed: int = 0) -> list[Path]:
    rng = np.random.default_rng(seed)
    return [[f"n{rng.integers(0, 3)}" for _ in range(rng.integers(1, 6))] if rng.random() > 0.1 else None for _ in range(number)]


def expected_depth(a: Path, b: Path) -> int:
    depth = 0
    for one, other in zip(a or [], b or [], strict=False):
        if one != other:
            break
        depth += 1
    return depth


def expected_relation(a: Path, b: Path) -> int:
    if not a or not b:
        return UNKNOWN
    if a == b:
        return SAME_LEAF
    if len(a) > 1 and len(b) > 1 and a[:-1] == b[:-1]:
        return SIBLING_LEAF
    return RELATED if a[0] == b[0] else UNRELATED


@pytest.mark.parametrize("paths", [PATHS, random_paths(120)], ids=["shop", "random"])
def test_every_pair_of_products_is_graded_as_its_paths_say(paths: list[Path]) -> None:
    taxonomy = taxonomy_from_paths(paths)
    leaf_N = taxonomy.leaf_of_N
    lca_NN = taxonomy.lca_depth(leaf_N[:, None], leaf_N[None, :])
    relation_NN = taxonomy.relation(leaf_N[:, None], leaf_N[None, :])
    assert lca_NN.tolist() == [[expected_depth(a, b) for b in paths] for a in paths]
    assert relation_NN.tolist() == [[expected_relation(a, b) for b in paths] for a in paths]
    assert taxonomy.depth == max(len(path) for path in paths if path)


def test_the_leaf_of_a_product_is_what_its_whole_path_names() -> None:
    taxonomy = taxonomy_from_paths(PATHS)
    for leaf, path in zip(taxonomy.leaf_of_N.tolist(), PATHS, strict=True):
        assert (list(taxonomy.paths[leaf]) == path) if path else leaf == NO_LEAF
    assert len(set(taxonomy.paths)) == len(taxonomy.paths)


@pytest.mark.parametrize("paths", [PATHS, random_paths(200, seed=1)], ids=["shop", "random"])
def test_labels_at_a_depth_are_equal_where_the_paths_are_down_to_there(paths: list[Path]) -> None:
    taxonomy = taxonomy_from_paths(paths)
    seen: dict[int, tuple[str, ...]] = {}
    for depth in range(1, taxonomy.depth + 1):
        for label, path in zip(taxonomy.labels_at(depth).tolist(), paths, strict=True):
            if not path or len(path) < depth:
                assert label == -1
            else:
                assert seen.setdefault(label, tuple(path[:depth])) == tuple(path[:depth])
    assert len(set(seen.values())) == len(seen)


def test_some_of_the_products_keep_the_same_tree() -> None:
    taxonomy = taxonomy_from_paths(PATHS)
    some = taxonomy.of(np.array([4, 9, 0]))
    assert some.leaf_of_N.tolist() == [taxonomy.leaf_of_N[4], NO_LEAF, taxonomy.leaf_of_N[0]]
    assert some.paths == taxonomy.paths
    assert some.labels_at(1).tolist() == taxonomy.labels_at(1)[[4, 9, 0]].tolist()


def test_a_catalog_that_streams_by_in_batches_gives_the_same_tree() -> None:
    paths = random_paths(100, seed=2)
    whole = taxonomy_from_paths(paths)
    batches = [pa.array(paths[start : start + 7], pa.list_(pa.string())) for start in range(0, len(paths), 7)]
    streamed = taxonomy_from_batches(batches)
    assert [streamed.paths[leaf] if leaf >= 0 else None for leaf in streamed.leaf_of_N] == [
        whole.paths[leaf] if leaf >= 0 else None for leaf in whole.leaf_of_N
    ]


@pytest.mark.parametrize("paths", [[], [None, None], [[], None]])
def test_a_catalog_without_a_single_path_has_nothing_in_common(paths: list[Path]) -> None:
    taxonomy = taxonomy_from_paths(paths)
    leaf_N = taxonomy.leaf_of_N
    assert (leaf_N == NO_LEAF).all()
    assert len(leaf_N) == len(paths)
    assert (taxonomy.labels_at(1) == -1).all()
    assert (taxonomy.relation(leaf_N, leaf_N) == UNKNOWN).all()
    assert (taxonomy.lca_depth(leaf_N, leaf_N) == 0).all()


def test_leaves_that_are_numbered_already_keep_their_numbers() -> None:
    taxonomy = build_taxonomy(np.array([1, 0, NO_LEAF]), [["a", "x"], ["a", "y"]])
    assert taxonomy.paths == (("a", "x"), ("a", "y"))
    assert taxonomy.relation(taxonomy.leaf_of_N, np.array([0, 0, 0])).tolist() == [SIBLING_LEAF, SAME_LEAF, UNKNOWN]


def test_a_path_that_ends_in_a_name_without_meaning_says_nothing() -> None:
    paths = [["Food", "Other"], ["Food", "other "], ["Food", "Milk"], None, ["OTHER"], ["Home", "unknown"], ["Food", "Others"]]
    kept_N = taxonomy_from_paths(paths).without_leaves(["oTher", "Unknown"]).leaf_of_N != NO_LEAF
    assert kept_N.tolist() == [False, False, True, False, False, False, True]


def test_such_a_name_in_the_middle_of_a_path_does_not_count() -> None:
    taxonomy = taxonomy_from_paths([["Other", "Milk"], ["Food", "Other", "Milk"], ["Food", "Other"]])
    assert taxonomy.without_leaves(["other"]).leaf_of_N.tolist() == [*taxonomy.leaf_of_N[:2], NO_LEAF]


def test_leaves_without_meaning_leave_the_tree_as_it_is() -> None:
    taxonomy = taxonomy_from_paths(PATHS)
    before = taxonomy.leaf_of_N.copy()
    without = taxonomy.without_leaves(["milk"])
    assert without.paths == taxonomy.paths
    assert without.ancestors_PD.tolist() == taxonomy.ancestors_PD.tolist()
    assert without.parent_P.tolist() == taxonomy.parent_P.tolist()
    assert (taxonomy.leaf_of_N == before).all()
    assert without.leaf_of_N.dtype == taxonomy.leaf_of_N.dtype
    kept = [path is not None and path != [] and path[-1] != "Milk" for path in PATHS]
    assert without.leaf_of_N.tolist() == [leaf if keep else NO_LEAF for leaf, keep in zip(before.tolist(), kept, strict=True)]
    assert without.relation(without.leaf_of_N[0], without.leaf_of_N[1]) == UNKNOWN


@pytest.mark.parametrize("paths", [[], [None], PATHS])
def test_no_names_change_nothing_and_a_catalog_without_paths_survives_them(paths: list[Path]) -> None:
    taxonomy = taxonomy_from_paths(paths)
    assert (taxonomy.without_leaves([]).leaf_of_N == taxonomy.leaf_of_N).all()
    assert len(taxonomy.without_leaves(["", "other"]).leaf_of_N) == len(paths)


SPELLINGS = [
    "Caf\u00e9 Bar", "Cafe\u0301 Bar", "caf\u00e9 bar", "CAF\u00c9 BAR", "Caf\u00e9  Bar", " Caf\u00e9 Bar ", "Caf\u00e9\u00a0Bar",
    "Caf\u00e9\u200b Bar",
]  # fmt: skip


def test_a_name_in_many_spellings_is_one_category_shown_as_most_products_spell_it_in_whatever_order() -> None:
    paths: list[Path] = [["Food", name] for name in [*SPELLINGS, "Caf\u00e9 Bar"]]
    paths += [["food", "Rye"], ["FOOD", "Rye"], ["FOOD", "rye", "Dark"]]
    for shift in range(len(paths)):
        turned = [*paths[shift:], *paths[:shift]]
        taxonomy = taxonomy_from_paths(turned)
        assert sorted(taxonomy.paths) == [("Food", "Caf\u00e9 Bar"), ("Food", "Rye"), ("Food", "Rye", "Dark")]
        leaf_of = {tuple(path or ()): taxonomy.paths[leaf] for path, leaf in zip(turned, taxonomy.leaf_of_N.tolist(), strict=True)}
        assert {leaf_of["Food", name] for name in SPELLINGS} == {("Food", "Caf\u00e9 Bar")}
        assert leaf_of["FOOD", "rye", "Dark"] == ("Food", "Rye", "Dark")


def test_of_equally_frequent_spellings_the_first_in_the_alphabet_is_shown() -> None:
    assert taxonomy_from_paths([["tea"], ["Tea"]]).paths == taxonomy_from_paths([["Tea"], ["tea"]]).paths == (("Tea",),)


def test_a_leaf_that_says_nothing_is_known_in_any_spelling() -> None:
    taxonomy = taxonomy_from_paths([["Food", "OTHER "], ["Food", "Un\u200bknown"], ["Food", "Rye"]]).without_leaves(["other", "unknown"])
    assert [leaf == NO_LEAF for leaf in taxonomy.leaf_of_N.tolist()] == [True, True, False]
