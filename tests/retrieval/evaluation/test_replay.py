"""Figures of a split are those of a known truth, and what cannot be compared is not."""

from dataclasses import replace

import numpy as np
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.retrieval.evaluation.replay import GROUPS, ReplayEvaluation, SurfaceReplay, check_comparable, figure_name, replay
from shelfcode.retrieval.evaluation.replay_report import replay_html
from shelfcode.retrieval.evaluation.shown_lists import REWARDS, ShownLists

SHARES, RATES = (0.8, 0.2), (0.10, 0.16)
HOSTILE = "<script>alert(1)</script>"


def simulated(
    users: int = 4000, shares: tuple[float, ...] = SHARES, rates: tuple[float, ...] = RATES, seed: int = 1, surface: str = "cart"
) -> ShownLists:
    """Users who are drawn to a side, have one to four requests each and are more or less given to choosing."""
    random = np.random.default_rng(seed)
    side_U = random.choice(len(shares), users, p=np.array(shares) / sum(shares))
    taste_U = random.beta(4, 4, users) * 2
    user_R = np.repeat(np.arange(users), random.integers(1, 5, users))
    side_R = side_U[user_R]
    hit_R = (random.random(len(user_R)) < np.array(rates)[side_R] * taste_U[user_R]).astype(float)
    position_R = random.integers(1, 6, len(user_R))
    names = ("generator", "cr", "similar")[: len(shares)]
    rewards = dict(zip(REWARDS, (hit_R, 2 * hit_R, hit_R / position_R), strict=True))
    return ShownLists(
        (surface,), names, tuple(f"{name}@v0001" for name in names), np.zeros(len(user_R), np.int64), side_R, side_R,
        user_R.astype(np.uint64), np.array(shares)[side_R], rewards, 0, int(2 * hit_R.sum()), 0, 0,
    )  # fmt: skip


def both(one: ShownLists, other: ShownLists) -> ShownLists:
    """One after the other, on the surfaces of both; users of theirs."""
    surfaces = tuple(dict.fromkeys((*one.surfaces, *other.surfaces)))
    surface_R = np.concatenate([np.full(len(each), surfaces.index(each.surfaces[0])) for each in (one, other)])
    joined = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("side_R", "retriever_R", "propensity_R")}
    rewards = {name: np.concatenate([one.rewards[name], other.rewards[name]]) for name in REWARDS}
    user_R = np.concatenate([one.user_R, other.user_R + np.uint64(10**6)])
    return replace(one, surfaces=surfaces, surface_R=surface_R, user_R=user_R, rewards=rewards, **joined)


def only(lists: ShownLists) -> SurfaceReplay:
    return replay(lists, "simulated", resamples=200).surfaces[0]


def problem(lists: ShownLists) -> str:
    """Why the only surface is not compared; its means are there all the same."""
    evaluation = replay(lists, "simulated", resamples=50)
    with pytest.raises(ShelfcodeError) as refused:
        check_comparable(evaluation)
    surface = evaluation.surfaces[0]
    assert surface.problem
    assert str(refused.value) == f"surface 'cart': {surface.problem}"
    assert surface.differences == ()
    for side in surface.sides:
        assert set(side.figures) == set(REWARDS)
        assert side.figures["hit"].low is not None
    return surface.problem


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = []
    for seed in range(30):
        (surface,) = replay(simulated(400, seed=seed), "simulated", seed=seed, resamples=100).surfaces
        figures = [surface.differences[0].figures["hit/self_normalised"], *(side.figures["hit/ips"] for side in surface.sides)]
        held.append([figure.low < truth < figure.high for figure, truth in zip(figures, (RATES[1] - RATES[0], *RATES), strict=True)])  # type: ignore[operator]
    assert (np.mean(held, axis=0) >= 0.85).all()


def test_figures_are_near_the_truth_and_the_sides_are_told_apart() -> None:
    surface = only(simulated())
    assert surface.problem is None
    assert surface.warnings == ()
    assert surface.split_p is not None
    assert surface.split_p > 0.01
    assert [(side.side, side.propensities) for side in surface.sides] == [("generator", (0.8, 0.8)), ("cr", (0.2, 0.2))]
    for side, rate in zip(surface.sides, RATES, strict=True):
        for estimate in ("mean", "ips", "self_normalised"):
            for reward, truth in (("hit", rate), ("chosen", 2 * rate), ("reciprocal_rank", rate * np.mean(1 / np.arange(1, 6)))):
                figure = side.figures[figure_name(reward, estimate)]
                assert figure.low is not None
                assert figure.high is not None
                assert figure.value == pytest.approx(truth, rel=0.15), (side.side, reward, estimate)
                assert figure.low - 0.05 * truth < truth < figure.high + 0.05 * truth, (side.side, reward, estimate)
                assert figure.high - figure.low < 0.5 * truth
        assert side.effective_requests == pytest.approx(side.requests)  # the weights of one side are equal
        assert 50 < side.effective_users < side.users
        assert not side.too_few
    (difference,) = surface.differences
    assert (difference.name, difference.over) == ("cr", "generator")
    figure = difference.figures["hit/self_normalised"]
    assert figure.low is not None
    assert figure.high is not None
    assert 0 < figure.low < RATES[1] - RATES[0] < figure.high
    assert surface.verdict(difference, "hit/self_normalised") == "told apart"


def test_the_same_seed_is_the_same_evaluation_and_users_of_a_like_rate_are_not_told_apart() -> None:
    lists = simulated(rates=(0.1, 0.1), seed=3)
    assert replay(lists, "x", resamples=50) == replay(lists, "x", resamples=50)
    surface = only(lists)
    assert surface.verdict(surface.differences[0], "hit/self_normalised") == "not told apart"


def test_weights_that_are_clipped_are_told_of_and_make_figures_too_low() -> None:
    lists = simulated(shares=(0.96, 0.04), users=6000)
    clipped, whole = (replay(lists, "x", clip, resamples=200).surfaces[0] for clip in (10.0, 30.0))
    of, over = clipped.sides[1], whole.sides[1]
    assert (of.side, of.clipped, over.clipped) == ("cr", 1.0, 0.0)
    figure, right = of.figures["hit/ips"], over.figures["hit/ips"]
    assert figure.value == pytest.approx(right.value * 10 / 25)
    assert figure.high is not None
    assert right.low is not None
    assert right.high is not None
    assert figure.high < RATES[1]
    assert right.low < RATES[1] < right.high
    assert of.figures["hit/self_normalised"].value == over.figures["hit/self_normalised"].value
    assert any("100.0% of the weights of cr were clipped at 10" in each for each in clipped.warnings)
    assert not any("clipped" in each for each in whole.warnings)


def test_intervals_are_over_users_and_know_that_requests_of_one_are_alike() -> None:
    lists = simulated(1000)
    repeated = ShownLists(
        lists.surfaces, lists.sides, lists.retrievers, *(np.tile(each, 4) for each in (lists.surface_R, lists.side_R, lists.retriever_R)),
        np.tile(lists.user_R, 4), np.tile(lists.propensity_R, 4), {name: np.tile(each, 4) for name, each in lists.rewards.items()},
        0, 0, 0, 0,
    )  # fmt: skip
    for one, four in zip(only(lists).sides, only(repeated).sides, strict=True):
        assert four.requests == 4 * one.requests
        assert four.effective_users == pytest.approx(one.effective_users)
        for end in ("value", "low", "high"):
            assert getattr(four.figures["hit/ips"], end) == pytest.approx(getattr(one.figures["hit/ips"], end))


def test_groups_of_users_have_the_intervals_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = simulated(3000)
    exact = replay(lists, "x", resamples=400).surfaces[0].sides[1].figures["hit/ips"]
    assert len(np.unique(lists.user_R)) < GROUPS
    monkeypatch.setattr("shelfcode.retrieval.evaluation.replay.GROUPS", 500)
    grouped = replay(lists, "x", resamples=400).surfaces[0].sides[1].figures["hit/ips"]
    assert grouped.value == pytest.approx(exact.value)
    assert None not in (exact.low, exact.high, grouped.low, grouped.high)
    assert grouped.high - grouped.low == pytest.approx(exact.high - exact.low, rel=0.2)  # type: ignore[operator]


def test_a_surface_without_a_draw_is_described_and_not_compared() -> None:
    assert "every list is by generator: nothing was drawn" in problem(simulated(200, (1.0,), (0.1,)))
    assert "surfaces.yaml" in problem(simulated(200, (1.0,), (0.1,)))
    assert "one after the other" in problem(simulated(200, (1.0, 1.0)))
    alone = simulated(400)
    rows_R = np.flatnonzero(alone.side_R == 0)
    picked = {name: getattr(alone, name)[rows_R] for name in ("surface_R", "side_R", "retriever_R", "user_R", "propensity_R")}
    rewards = {name: each[rows_R] for name, each in alone.rewards.items()}
    assert "generator was to answer 0.8 of the requests, and no list of other sides" in problem(replace(alone, **picked, rewards=rewards))
    assert "add up to 1.4, more than 1 (generator 0.8 + cr 0.6)" in problem(simulated(400, (0.8, 0.6)))


def test_one_surface_that_can_be_compared_is_enough() -> None:
    evaluation = replay(both(simulated(400), simulated(100, (1.0,), (0.1,), surface="aisle")), "x", resamples=50)
    check_comparable(evaluation)
    assert [(each.surface, each.problem is None) for each in evaluation.surfaces] == [("aisle", False), ("cart", True)]


def test_requests_from_before_the_split_are_left_out() -> None:
    lists = both(simulated(2000), simulated(500, (1.0,), (0.9,)))
    surface = only(lists)
    assert surface.undrawn == len(lists) - len(simulated(2000))
    assert surface.sides == only(simulated(2000)).sides


def test_a_split_that_the_shares_contradict_is_warned_of() -> None:
    lists = simulated(2000)
    odd = only(replace(lists, propensity_R=np.array([0.7, 0.3])[lists.side_R]))
    assert odd.split_p is not None
    assert odd.split_p < 0.001
    assert any("not as many as their propensities say" in each for each in odd.warnings)
    missing = only(replace(lists, propensity_R=np.array([0.6, 0.15])[lists.side_R]))  # a third side has a quarter
    assert any("a side is missing" in each for each in missing.warnings)
    few = only(replace(simulated(12), propensity_R=np.array([0.7, 0.3])[simulated(12).side_R]))
    assert few.split_p is None  # an expected count below 5
    requests = only(replace(lists, user_R=np.arange(len(lists), dtype=np.uint64) % np.uint64(700)))
    assert any("users had lists of several sides" in each for each in requests.warnings)


def test_a_split_that_was_changed_is_warned_of_and_weighed_by_each_requests_own_share() -> None:
    surface = only(both(simulated(3000), simulated(3000, (0.5, 0.5), (0.2, 0.26), seed=2)))
    assert any(each.startswith("the split was changed: generator, cr had") for each in surface.warnings)
    assert surface.split_p is None
    for side, truth in zip(surface.sides, (0.15, 0.21), strict=True):
        figure = side.figures["hit/ips"]
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < truth < figure.high
    cr = surface.sides[1].figures
    assert cr["hit"].low is not None
    assert cr["hit"].low > 0.21  # cr had more of the better time, so that its plain mean flatters
    assert surface.sides[1].effective_requests < surface.sides[1].requests


def test_too_few_to_tell() -> None:
    surface = only(simulated(200))
    cr = surface.sides[1]
    assert cr.too_few
    assert cr.effective_users < 50 < cr.requests
    assert cr.figures["hit/ips"].value is not None
    assert surface.verdict(surface.differences[0], "hit") == "too few to tell"
    assert any("are too few to tell" in each for each in surface.warnings)
    tiny = only(simulated(15))
    assert tiny.sides[1].figures["hit"].low is None
    assert tiny.sides[1].figures["hit"].undefined == dict.fromkeys(("low", "high"), "fewer than 10 users")


@pytest.mark.parametrize("clip", [0.5, 0.0, float("nan")])
def test_a_clip_below_one_is_refused(clip: float) -> None:
    with pytest.raises(ShelfcodeError, match="--clip"):
        replay(simulated(20), "x", clip)


def test_an_evaluation_survives_json_and_its_page_shows_names_as_text() -> None:
    lists = replace(simulated(300), surfaces=(HOSTILE,), sides=("generator", HOSTILE), repeated=3, unshown=2, elsewhere=1)
    evaluation = replay(both(lists, simulated(100, (1.0,), (0.1,), surface="aisle")), HOSTILE, resamples=50)
    assert ReplayEvaluation.model_validate_json(evaluation.model_dump_json()) == evaluation
    page = replay_html(evaluation, "Impressions")
    assert HOSTILE not in page
    assert "hit rate, self-normalised" in page
    assert "Not compared:" in page
    assert "nothing was drawn" in page
    assert "too few to tell" in page
    assert 'id="plot-0"' in page
    assert 'id="plot-1"' in page
    assert "carry-over" in page
