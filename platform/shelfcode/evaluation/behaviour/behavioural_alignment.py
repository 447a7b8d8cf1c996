"""Do products that people take together share prefixes? For each relation and prefix depth, the lift over chance.

prefix_rates.py has the formulas, and says how chance and the intervals come about.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.evaluation.behaviour.prefix_rates import PrefixRates, prefix_rates
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs
from shelfcode.reporting.figures import Figures
from shelfcode.reporting.intervals import LEAST_GROUPS, RESAMPLES, bootstrap_interval, divided

_BOOTSTRAP = 4
_LIFT = ("lift", "lift_low", "lift_high")
_RATIO = ("ratio", "ratio_low", "ratio_high")
_FEW_GROUPS = f"fewer than {LEAST_GROUPS} groups"
_NEVER = "no pair shares such a prefix"
_RARE = "chance is 0 in many resamples"


class DepthLift(Figures):
    """How much likelier than chance the pairs of a relation share the first levels.

    Attributes:
        depth: levels shared, from 1.
        share: share of the pairs that share a prefix of this depth, 0 to 1.
        chance: share expected of two products drawn independently from the ends of the pairs.
        lift: share / chance; 1 is chance.
        lift_low, lift_high: bootstrap 95% interval, by group.
    """

    depth: int
    share: float | None
    chance: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None


class RelationLifts(Figures):
    """Behavioural alignment of one relation.

    Attributes:
        relation: its name.
        ordered: whether left and right end differ in kind; where they do not, both are pooled.
        pairs: pairs behind the figures.
        pairs_there: pairs of coded products that the relation has; more than `pairs` where some were drawn.
        groups: baskets, queries or left products that the pairs come from.
        unknown_items: distinct item_ids that have no code; they are left out.
        unknown_rows: rows of the relation's tables that name one of those.
        depths: one entry per level.
    """

    relation: str
    ordered: bool
    pairs: int
    pairs_there: int
    groups: int
    unknown_items: int
    unknown_rows: int
    depths: tuple[DepthLift, ...]


class BehaviouralAlignment(Figures):
    """Behavioural alignment of a set of semantic IDs, kept as `behavioural_alignment.json`.

    Attributes:
        products: products that have a semantic ID.
        seed: of the pairs and of the resamples.
        resamples: bootstrap resamples behind each interval.
        pairs_from: where the relations were read from.
        passed_over: tables in the same place that hold no relation.
        incomplete_rows: rows that lack a value; they are left out.
        relations: one entry per relation.
    """

    products: int
    seed: int
    resamples: int
    pairs_from: str
    passed_over: tuple[str, ...]
    incomplete_rows: int
    relations: tuple[RelationLifts, ...]


class DepthRatio(Figures):
    """Two lifts at one depth.

    Attributes:
        depth: levels shared, from 1.
        lift_a, lift_b: of the two sets of codes.
        ratio: lift_a / lift_b.
        ratio_low, ratio_high: bootstrap 95% interval, by group. It is paired: each resample serves both sets of codes.
    """

    depth: int
    lift_a: float | None
    lift_b: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None

    @property
    def apart(self) -> bool:
        """Whether the interval tells the two lifts apart: it leaves out 1."""
        return self.ratio_low is not None and self.ratio_high is not None and not self.ratio_low <= 1 <= self.ratio_high


class LiftRatio(Figures):
    """Two sets of codes over the same pairs of one relation.

    Attributes:
        relation: its name.
        pairs, groups: behind the figures.
        depths: one entry per level that both have.
    """

    relation: str
    pairs: int
    groups: int
    depths: tuple[DepthRatio, ...]


class BehaviouralComparison(Figures):
    """Behavioural alignment of two sets of semantic IDs on the products that both code.

    Attributes:
        a, b: of each of the two, on the same pairs.
        ratios: a over b, one entry per relation, in the order of both.
    """

    a: BehaviouralAlignment
    b: BehaviouralAlignment
    ratios: tuple[LiftRatio, ...]


def relation_lifts(codes_NL: NDArray[np.integer], pairs: RelationPairs, seed: int = 0, resamples: int = RESAMPLES) -> RelationLifts:
    """The lift of one relation at every depth.

    Args:
        codes_NL: one codeword index per level; positions of the pairs are rows.
        seed: of the resamples.

    Raises:
        IndexError: a position lies outside the codes.
    """
    groups, levels = _groups(pairs), codes_NL.shape[1]
    if groups:
        (rates,) = prefix_rates(pairs, [codes_NL], np.random.default_rng([seed, _BOOTSTRAP]), resamples)
        depths = tuple(_depth_lift(rates, depth, groups) for depth in range(1, levels + 1))
    else:
        undefined = dict.fromkeys(("share", "chance", *_LIFT), "there are no pairs")
        empty = dict.fromkeys(undefined)
        depths = tuple(DepthLift(depth=depth, **empty, undefined=undefined) for depth in range(1, levels + 1))
    return RelationLifts(
        relation=pairs.relation,
        ordered=pairs.ordered,
        pairs=len(pairs.left_P),
        pairs_there=pairs.pairs_there,
        groups=groups,
        unknown_items=pairs.unknown_items,
        unknown_rows=pairs.unknown_rows,
        depths=depths,
    )


def lift_ratio(
    a_NL: NDArray[np.integer], b_NL: NDArray[np.integer], pairs: RelationPairs, seed: int = 0, resamples: int = RESAMPLES
) -> LiftRatio:
    """The lift of the first set of codes over that of the second, at every depth that both have.

    Args:
        a_NL, b_NL: two sets of codes of the same products, rows in the same order; positions of the pairs are rows.
        seed: of the resamples.

    Raises:
        ValueError: the two differ in the number of products.
        IndexError: a position lies outside the codes.
    """
    if len(a_NL) != len(b_NL):
        raise ValueError(f"{len(a_NL)} and {len(b_NL)} codes: a ratio needs two sets of codes of the same products")
    groups, levels = _groups(pairs), min(a_NL.shape[1], b_NL.shape[1])
    if groups:
        rates = prefix_rates(pairs, [a_NL[:, :levels], b_NL[:, :levels]], np.random.default_rng([seed, _BOOTSTRAP]), resamples)
        lift_a_SL, lift_b_SL = (each.lift_SL for each in rates)
        depths = tuple(_depth_ratio(lift_a_SL[:, depth - 1], lift_b_SL[:, depth - 1], depth, groups) for depth in range(1, levels + 1))
    else:
        undefined = dict.fromkeys(("lift_a", "lift_b", *_RATIO), "there are no pairs")
        empty = dict.fromkeys(undefined)
        depths = tuple(DepthRatio(depth=depth, **empty, undefined=undefined) for depth in range(1, levels + 1))
    return LiftRatio(relation=pairs.relation, pairs=len(pairs.left_P), groups=groups, depths=depths)


def _groups(pairs: RelationPairs) -> int:
    return int(pairs.group_P.max(initial=-1)) + 1


def _depth_lift(rates: PrefixRates, depth: int, groups: int) -> DepthLift:
    chance, lift_S = float(rates.chance_SL[0, depth - 1]), rates.lift_SL[:, depth - 1]
    undefined: dict[str, str] = {}
    if np.isnan(chance):
        undefined = dict.fromkeys(("chance", *_LIFT), "there are no two ends of different groups and products")
    elif not chance:
        undefined = dict.fromkeys(_LIFT, "chance is 0")
    interval = None if undefined else _interval(lift_S, groups, _LIFT[1:], undefined)
    low, high = interval or (None, None)
    return DepthLift(
        depth=depth,
        share=float(rates.share_SL[0, depth - 1]),
        chance=None if np.isnan(chance) else chance,
        lift=None if "lift" in undefined else float(lift_S[0]),
        lift_low=low,
        lift_high=high,
        undefined=undefined,
    )


def _depth_ratio(a_S: NDArray[np.float64], b_S: NDArray[np.float64], depth: int, groups: int) -> DepthRatio:
    """From the lifts of two sets of codes at one depth. The first entry of each is of the pairs as they are, the others of resamples."""
    lift_a, lift_b = (float(lift_S[0]) if np.isfinite(lift_S[0]) else None for lift_S in (a_S, b_S))
    undefined = {name: "chance is 0" for name, lift in (("lift_a", lift_a), ("lift_b", lift_b)) if lift is None}
    if undefined:
        undefined |= dict.fromkeys(_RATIO, "a lift is undefined")
    elif not lift_b:
        undefined = dict.fromkeys(_RATIO, "the second lift is 0")
    with np.errstate(invalid="ignore"):
        ratio_S = divided(a_S, b_S)
    interval = None if undefined else _interval(ratio_S, groups, _RATIO[1:], undefined)
    low, high = interval or (None, None)
    return DepthRatio(
        depth=depth,
        lift_a=lift_a,
        lift_b=lift_b,
        ratio=None if "ratio" in undefined else float(ratio_S[0]),
        ratio_low=low,
        ratio_high=high,
        undefined=undefined,
    )


def _interval(value_S: NDArray[np.float64], groups: int, names: Sequence[str], undefined: dict[str, str]) -> tuple[float, float] | None:
    """The interval of the resamples, which follow the first entry. Where there is none, the reason goes into `undefined`."""
    reason, interval = None, None
    if groups < LEAST_GROUPS:
        reason = _FEW_GROUPS
    elif not value_S[0]:
        reason = _NEVER
    elif (interval := bootstrap_interval(value_S[1:])) is None:
        reason = _RARE
    if reason:
        undefined.update(dict.fromkeys(names, reason))
    return interval
