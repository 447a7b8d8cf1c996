"""How the sides of a split fared, by the lists that they have shown: off-policy figures of a surface's retrievers.

A request i of n was answered by one side, which is drawn with probability p_i (its propensity). What all requests would have been worth,
had one side answered every one of them, with w_i = min(1 / p_i, clip) where that side answered and 0 elsewhere, and rewards r_i:

    ips              V = 1/n sum_i w_i r_i                         (Horvitz and Thompson, 1952; truncated as by Ionides, 2008)
    self-normalised  V = sum_i w_i r_i / sum_i w_i                 (Swaminathan and Joachims, 2015)

The first is unbiased where nothing is clipped, and too low where something is, since rewards are never negative. The second has a small
bias and less variance. How much of the data speaks for a side: (sum w)^2 / sum w^2 (Kish, 1965), of its requests, and of its users with
the weights of a user's requests added up. Intervals are by bootstrap over users, of all sides together, so that what is left to the draw
is in them (Efron and Tibshirani, 1993).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, U users, G groups of users, S resamples, F columns that are summed.

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chisquare

from shelfcode.errors import ShelfcodeError
from shelfcode.reporting.figures import Figures
from shelfcode.reporting.intervals import LEAST_GROUPS, bootstrap_interval, divided
from shelfcode.retrieval.evaluation.evaluate import Difference
from shelfcode.retrieval.evaluation.intervals import RESAMPLES, Figure
from shelfcode.retrieval.evaluation.shown_lists import REWARDS, ShownLists

CLIP = 10.0
"""The largest weight of a request."""

LEAST_EFFECTIVE = 50
"""Fewer effective requests or users than this are too few to tell anything."""

GROUPS = 4096
"""More users than this are resampled in so many groups, into which they are dealt at random: the sums of the groups are as independent of
each other as those of users, and resamples of ten million users take no longer."""

SURPRISING = 0.001
"""A split that is off by what happens so rarely was not what the propensities say."""

ESTIMATES = ("mean", "ips", "self_normalised")

LIMITS = (
    "It tells how lists fared that were shown, at the shares and in the time in which they were. It cannot tell of a retriever that never "
    "answered, nor of a change that would change what people come back for.",
    "Whoever saw one side before may act on it later (carry-over): a split by user keeps that within a side only as long as it stays.",
    "A chosen product counts for the list that had it, although it may have been found elsewhere.",
)

_EXACT = 1e-9
_LEAST_EXPECTED = 5
_NO_LIST = "this side showed no list in any resample"
_FEW = f"fewer than {LEAST_GROUPS} users"


class SideFigures(Figures):
    """How one side of a surface's split fared.

    Attributes:
        side: as surfaces.yaml names it; `retrievers`: that answered for it.
        requests, users: that it answered.
        propensities: the smallest and the largest share of the traffic that it had.
        effective_requests, effective_users: how many of equal weight would say as much.
        clipped: share of its requests whose weight was clipped.
        too_few: whether any of the effective numbers is below LEAST_EFFECTIVE.
        figures: by `figure_name`.
    """

    side: str
    retrievers: tuple[str, ...]
    requests: int
    users: int
    propensities: tuple[float, float]
    effective_requests: float
    effective_users: float
    clipped: float
    too_few: bool
    figures: dict[str, Figure]


class SurfaceReplay(Figures):
    """The sides of one surface.

    Attributes:
        requests, users: of all sides, those left out included.
        undrawn: requests left out since one side had all the traffic then, so that the others had no chance.
        sides: the one with the most requests first. Where nothing can be compared they have means alone, of all requests.
        differences: of each two sides, what the one with fewer requests has over the other.
        split_p: how probable shares as uneven as those of the users are, by a chi-square test; None where it cannot be asked.
        problem: why sides cannot be compared, and what to do; None where they can.
        warnings: what makes the figures doubtful.
    """

    surface: str
    requests: int
    users: int
    undrawn: int
    sides: tuple[SideFigures, ...]
    differences: tuple[Difference, ...]
    split_p: float | None
    problem: str | None
    warnings: tuple[str, ...]

    def verdict(self, difference: Difference, name: str) -> str:
        """What a figure of a difference says, in words."""
        if any(each.too_few for each in self.sides if each.side in (difference.name, difference.over)):
            return "too few to tell"
        return "told apart" if difference.figures[name].apart else "not told apart"


class ReplayEvaluation(Figures):
    """All surfaces of some impressions; kept as `evaluation.json`.

    Attributes:
        data: what was read.
        requests, repeated, chosen, unshown, elsewhere: counts, as in ShownLists.
        clip, seed, resamples: of the weights and the intervals.
    """

    data: str
    requests: int
    repeated: int
    chosen: int
    unshown: int
    elsewhere: int
    clip: float
    seed: int
    resamples: int
    surfaces: tuple[SurfaceReplay, ...]


def figure_name(reward: str, estimate: str) -> str:
    """The name of a figure, such as `hit` for a mean, or `hit/ips`."""
    return reward if estimate == "mean" else f"{reward}/{estimate}"


def replay(lists: ShownLists, data: str, clip: float = CLIP, seed: int = 0, resamples: int = RESAMPLES) -> ReplayEvaluation:
    """How the sides of each surface fared.

    Args:
        data: what the lists were read from, in words.
        clip: the largest weight of a request; at least 1.
        seed: of the resamples.

    Raises:
        ShelfcodeError: `clip` is below 1.
    """
    if not clip >= 1:
        raise ShelfcodeError(f"--clip {clip}: a list that would have been shown anyway weighs 1, so expected at least 1")
    surfaces = []
    for place in np.argsort(np.array(lists.surfaces)).tolist():
        rows_R = np.flatnonzero(lists.surface_R == place)
        if len(rows_R):
            surfaces.append(_surface(_requests(lists, rows_R), lists, lists.surfaces[place], clip, seed, resamples))
    return ReplayEvaluation(
        data=data, requests=len(lists), repeated=lists.repeated, chosen=lists.chosen, unshown=lists.unshown, elsewhere=lists.elsewhere,
        clip=clip, seed=seed, resamples=resamples, surfaces=tuple(surfaces),
    )  # fmt: skip


def check_comparable(evaluation: ReplayEvaluation) -> None:
    """Refuse impressions by which no two sides can be compared.

    Raises:
        ShelfcodeError: says of each surface why, and what to do.
    """
    if all(each.problem for each in evaluation.surfaces):
        raise ShelfcodeError("; ".join(f"surface {each.surface!r}: {each.problem}" for each in evaluation.surfaces))


@dataclass(frozen=True)
class _Requests:
    """R requests of one surface, oldest first; `user_R` is a place among the users of them."""

    side_R: NDArray[np.int64]
    retriever_R: NDArray[np.int64]
    user_R: NDArray[np.int64]
    propensity_R: NDArray[np.float64]
    reward_RF: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.side_R)

    @property
    def users(self) -> int:
        return int(self.user_R.max(initial=-1)) + 1

    def only(self, rows_R: NDArray[np.integer] | NDArray[np.bool_]) -> "_Requests":
        """Some of them, with their users numbered anew."""
        user_R = np.unique(self.user_R[rows_R], return_inverse=True)[1]
        return _Requests(self.side_R[rows_R], self.retriever_R[rows_R], user_R, self.propensity_R[rows_R], self.reward_RF[rows_R])


def _requests(lists: ShownLists, rows_R: NDArray[np.int64]) -> _Requests:
    user_R = np.unique(lists.user_R[rows_R], return_inverse=True)[1]
    reward_RF = np.column_stack([lists.rewards[name][rows_R] for name in REWARDS])
    return _Requests(lists.side_R[rows_R], lists.retriever_R[rows_R], user_R, lists.propensity_R[rows_R], reward_RF)


def _surface(every: _Requests, lists: ShownLists, surface: str, clip: float, seed: int, resamples: int) -> SurfaceReplay:
    drawn = every.only(every.propensity_R < 1)
    problem = _problem(every, drawn, lists.sides)
    asked = every if problem else drawn
    sides = _by_size(asked)
    totals = _totals(asked, sides, clip, seed, resamples)
    figures = {side: _estimates(totals[side], totals, weighed=not problem) for side in sides}
    split_p = None if problem else _split_p(asked, sides)
    told = tuple(
        _side(asked.only(asked.side_R == side), lists, side, clip, figures[side], weighed=not problem) for side in sides
    )  # fmt: skip
    pairs = [] if problem else list(combinations(zip(told, figures.values(), strict=True), 2))
    differences = tuple(_difference(fewer, more) for more, fewer in pairs)
    return SurfaceReplay(
        surface=surface, requests=len(every), users=every.users, undrawn=0 if problem else len(every) - len(drawn), sides=told,
        differences=differences, split_p=split_p, problem=problem, warnings=() if problem else _warnings(asked, told, split_p, clip),
    )  # fmt: skip


def _by_size(requests: _Requests) -> list[int]:
    """The sides that answered, the one with the most requests first."""
    count = np.bincount(requests.side_R)
    return [side for side in np.argsort(-count, kind="stable").tolist() if count[side]]


def _problem(every: _Requests, drawn: _Requests, names: Sequence[str]) -> str | None:
    """Why the sides of a surface cannot be compared, and what to do."""
    split = "split the surface's traffic between retrievers in surfaces.yaml, such as `split: {generator: 0.9, cr: 0.1}`, and wait"
    sides = [names[side] for side in _by_size(every)]
    if not len(drawn):
        if len(sides) > 1:
            return (
                f"{', '.join(sides)} had all of the traffic, one after the other: nothing was drawn, and what differs may be the time. To "
                f"compare them, {split}"
            )
        return f"every list is by {sides[0]}: nothing was drawn, so that there is nothing to compare it with. To compare, {split}"
    found = _by_size(drawn)
    if len(found) == 1:
        return (
            f"{names[found[0]]} was to answer {drawn.propensity_R.mean():.3g} of the requests, and no list of other sides is here. Give "
            "all files of the time, of all sides"
        )
    if (shares := _shares(drawn, found)) and sum(shares) > 1 + _EXACT:
        said = " + ".join(f"{names[side]} {share:.3g}" for side, share in zip(found, shares, strict=True))
        return (
            f"the propensities of its sides add up to {sum(shares):.3g}, more than 1 ({said}): they are no shares of one split. Give "
            "impressions of one split"
        )
    return None


def _shares(requests: _Requests, sides: Sequence[int]) -> list[float]:
    """The propensity of each side; nothing where one has several, since the split was changed."""
    bounds = [(of.min(), of.max()) for of in (requests.propensity_R[requests.side_R == side] for side in sides)]
    return [float(low) for low, _ in bounds] if all(high - low < _EXACT for low, high in bounds) else []


def _split_p(requests: _Requests, sides: Sequence[int]) -> float | None:
    """How probable it is that the users were drawn by the propensities: those of one user fall on one side together, and count once."""
    shares = _shares(requests, sides)
    first_U = np.unique(requests.user_R, return_index=True)[1]
    observed = [int((requests.side_R[first_U] == side).sum()) for side in sides]
    if shares and (rest := 1 - sum(shares)) > _EXACT:  # sides that never answered
        shares, observed = [*shares, rest], [*observed, 0]
    expected = [share * len(first_U) for share in shares]
    if not shares or min(expected) < _LEAST_EXPECTED:
        return None
    return float(chisquare(observed, np.array(expected) * (len(first_U) / sum(expected))).pvalue)


def _warnings(requests: _Requests, sides: Sequence[SideFigures], split_p: float | None, clip: float) -> tuple[str, ...]:
    told = []
    if changed := [each.side for each in sides if each.propensities[1] - each.propensities[0] > _EXACT]:
        told.append(
            f"the split was changed: {', '.join(changed)} had different shares at different times. Means do not compare then, weighed "
            "figures do"
        )
    if split_p is not None and split_p < SURPRISING:
        told.append(
            f"the users of the sides are not as many as their propensities say (p = {split_p:.1g}): the split was changed, a side is "
            "missing from these files, or keys are not evenly spread"
        )
    on_side_U = np.unique(np.stack([requests.user_R, requests.side_R]), axis=1).shape[1]
    if both := on_side_U - requests.users:
        told.append(f"{both:,} users had lists of several sides: the split was changed, or is drawn by something else than user_id")
    for each in sides:
        if each.clipped:
            told.append(
                f"{each.clipped:.1%} of the weights of {each.side} were clipped at {clip:g}: its figures by inverse propensity are too "
                "low. A larger --clip has less bias and wider intervals"
            )
        if each.too_few:
            told.append(
                f"{each.side} has {each.effective_requests:,.0f} effective requests of {each.effective_users:,.0f} effective users: fewer "
                f"than {LEAST_EFFECTIVE} are too few to tell"
            )
        if len(each.retrievers) > 1:
            told.append(f"{each.side} was answered by {', '.join(each.retrievers)}: its figures are of all of them together")
    return tuple(told)


def _side(
    requests: _Requests, lists: ShownLists, side: int, clip: float, figures: dict[str, NDArray[np.float64]], weighed: bool
) -> SideFigures:
    """One side, of whose requests these are."""
    weight_R = np.minimum(1 / requests.propensity_R, clip) if weighed else np.ones(len(requests))
    effective_requests, effective_users = (
        _effective(weight_R),
        _effective(np.bincount(requests.user_R, weights=weight_R).astype(np.float64)),
    )
    names = (lists.retrievers[place] for place in np.unique(requests.retriever_R).tolist())
    return SideFigures(
        side=lists.sides[side], retrievers=tuple(sorted(filter(None, names))), requests=len(requests), users=requests.users,
        propensities=(float(requests.propensity_R.min()), float(requests.propensity_R.max())),
        effective_requests=effective_requests, effective_users=effective_users,
        clipped=float((1 / requests.propensity_R > clip).mean()) if weighed else 0.0,
        too_few=min(effective_requests, effective_users) < LEAST_EFFECTIVE,
        figures={name: _figure(value_S, len(requests), requests.users) for name, value_S in figures.items()},
    )  # fmt: skip


def _difference(
    of: tuple[SideFigures, dict[str, NDArray[np.float64]]], over: tuple[SideFigures, dict[str, NDArray[np.float64]]]
) -> Difference:
    """What one side has over another, taken within each resample."""
    requests, users = of[0].requests + over[0].requests, min(of[0].users, over[0].users)
    figures = {name: _figure(value_S - over[1][name], requests, users) for name, value_S in of[1].items()}
    return Difference(name=of[0].side, over=over[0].side, figures=figures)


def _effective(weights: NDArray[np.floating]) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def _totals(requests: _Requests, sides: Sequence[int], clip: float, seed: int, resamples: int) -> dict[int, NDArray[np.float64]]:
    """What estimates are made of, of each side: float64[1 + S, F], of the requests as they are first, then of resamples of their users.

    The columns: requests, weights, the rewards, and the weighed rewards.
    """
    random = np.random.default_rng(seed)
    groups = min(GROUPS, requests.users)
    group_R = (random.permutation(requests.users) % groups)[requests.user_R]
    drawn_SG = np.concatenate([np.ones((1, groups)), random.multinomial(groups, np.full(groups, 1 / groups), size=resamples)])
    totals: dict[int, NDArray[np.float64]] = {}
    for side in sides:
        rows_R = np.flatnonzero(requests.side_R == side)
        weight_R, reward_RF = np.minimum(1 / requests.propensity_R[rows_R], clip), requests.reward_RF[rows_R]
        columns = [np.ones(len(rows_R)), weight_R, *reward_RF.T, *(reward_RF * weight_R[:, None]).T]
        sums_GF = np.column_stack([np.bincount(group_R[rows_R], weights=each, minlength=groups) for each in columns])
        totals[side] = drawn_SG.astype(np.float64) @ sums_GF.astype(np.float64)
    return totals


def _estimates(own_SF: NDArray[np.float64], totals: dict[int, NDArray[np.float64]], weighed: bool) -> dict[str, NDArray[np.float64]]:
    """The figures of one side, as it is and in each resample: float64[1 + S]."""
    requests_S = np.sum([each_SF[:, 0] for each_SF in totals.values()], axis=0)
    reward_FS, weighed_FS = own_SF[:, 2 : 2 + len(REWARDS)].T, own_SF[:, 2 + len(REWARDS) :].T
    figures = {figure_name(name, "mean"): divided(value_S, own_SF[:, 0]) for name, value_S in zip(REWARDS, reward_FS, strict=True)}
    for name, value_S in zip(REWARDS, weighed_FS, strict=True) if weighed else ():
        figures[figure_name(name, "ips")] = divided(value_S, requests_S)
        figures[figure_name(name, "self_normalised")] = divided(value_S, own_SF[:, 1])
    return figures


def _figure(value_S: NDArray[np.float64], requests: int, users: int) -> Figure:
    """From the value of the requests as they are and of the resamples, which follow it."""
    interval = bootstrap_interval(value_S[1:]) if users >= LEAST_GROUPS else None
    why = {} if interval else dict.fromkeys(("low", "high"), _FEW if users < LEAST_GROUPS else _NO_LIST)
    low, high = interval or (None, None)
    return Figure(value=float(value_S[0]), low=low, high=high, cases=requests, undefined=why)
