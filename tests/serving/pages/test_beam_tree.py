"""The prefixes that a generator followed, as a tree of a bounded size."""

from math import exp, log
from typing import Any

from shelfcode.serving.pages.beam_tree import CHILDREN, SHOWN, Branch, walks


def beam(prefix: str, probability: float, retriever: str = "generator@v0001") -> dict[str, Any]:
    return {"retriever": retriever, "level": prefix.count("_") + 1, "prefix": prefix, "log_probability": log(probability)}


def prefixes(branches: tuple[Branch, ...]) -> list[str]:
    return [each for branch in branches for each in (branch.prefix, *prefixes(branch.children))]


def test_prefixes_stand_below_those_that_they_begin_with_the_most_probable_first() -> None:
    (walk,) = walks([beam("1", 0.25), beam("2", 0.5), beam("1_7", 0.2), beam("2_7", 0.1), beam("2_3", 0.4)])
    assert prefixes(walk.branches) == ["2", "2_3", "2_7", "1", "1_7"]
    assert (walk.followed, walk.more) == ((2, 3), 0)
    assert [round(branch.probability, 6) for branch in walk.branches] == [0.5, 0.25]
    assert [round(branch.share, 6) for branch in walk.branches] == [1.0, 0.5]
    assert walk.best(3) == ["2", "2_3", "1"]


def test_one_prefix_is_not_taken_for_another_that_begins_with_the_same_digits() -> None:
    (walk,) = walks([beam("1", 0.5), beam("12", 0.4), beam("12_3", 0.3)])
    assert walk.branches[0].children == ()
    assert prefixes(walk.branches) == ["1", "12", "12_3"]


def test_each_generator_has_a_walk_of_its_own_and_no_beams_make_none() -> None:
    assert [walk.retriever for walk in walks([beam("1", 0.5, "a@v0001"), beam("1", 0.5, "b@v0001")])] == ["a@v0001", "b@v0001"]
    assert walks([]) == ()


def test_a_wide_beam_is_cut_and_says_by_how_much() -> None:
    roots = [beam(str(code), 0.9 / (code + 2)) for code in range(CHILDREN + 5)]
    leaves = [beam(f"0_{code}", exp(-3 - code / 100)) for code in range(2 * SHOWN)]
    (walk,) = walks([*roots, *leaves])
    assert (len(walk.branches), walk.more) == (CHILDREN, 5)
    assert (len(walk.branches[0].children), walk.branches[0].more) == (CHILDREN, 2 * SHOWN - CHILDREN)


def test_a_tree_never_has_more_than_a_page_can_hold() -> None:
    def below(prefix: str, probability: float, levels: int) -> list[dict[str, Any]]:
        if not levels:
            return []
        codes = [(f"{prefix}_{code}".strip("_"), probability / 20) for code in range(8)]
        return [each for name, p in codes for each in (beam(name, p), *below(name, p, levels - 1))]

    beams = below("", 1.0, 4)
    (walk,) = walks(beams)
    shown = prefixes(walk.branches)
    assert len(beams) > 4000
    assert len(shown) <= SHOWN
    assert all(prefix.rpartition("_")[0] in ("", *shown) for prefix in shown)
    assert sum(walk.followed) == len(beams)
