"""What decisions made so far say of the whole: how many labels are wrong, what the next findings will hold, how far reviewers agree.

Pure functions on arrays. A label was found wrong by the verdicts accept and relabel, and right by keep and code_wrong. `unsure` says
neither, and the finding stays undecided; `exclude` takes it out of all counts.

The random arm is a sample of all findings that were open, whatever their p, and therefore says without bias how far p is off. The ranked
arm is no such sample, since it was chosen by p. So both are counted, but only the random arm is extrapolated from.
"""
# Tensor suffixes: F findings, O those that are open

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, binom, binomtest
from sklearn.metrics import cohen_kappa_score

from shelfcode.audit.decisions.decision import Verdict
from shelfcode.audit.decisions.recalibration import recalibrated
from shelfcode.audit.published_audit import DepartmentRecord, WrongLabels

FOUND_WRONG: tuple[Verdict, ...] = ("accept", "relabel")
FOUND_RIGHT: tuple[Verdict, ...] = ("keep", "code_wrong")

_Z = 1.96  # a 95% interval in standard deviations
_DOUBT_OF_LEVEL = 0.2  # how far the mean p_shown of the next findings is off, relative to it; 95% intervals then held 95% in simulations
_TELLING_DRAWS = 10  # random decisions from which on they can contradict the audit; one wrong label among few proves little
_SURE_OF_DEPARTMENT = 10.0  # expected wrong labels after which a department's own decisions weigh as much as all others'


@dataclass(frozen=True)
class Reviewed:
    """All F findings of an audit, with the verdict that stands for each.

    Attributes:
        p_F: the audit's `p_wrong`.
        priority_F: what the queue is sorted by, highest first.
        department_F: the first name of each given path.
        verdict_F: the verdict that stands; "" where there is none.
        arm_F: ranked, random or gold, and bulk for what one action decided over many; "" where there is no verdict.
        order_F: in which order verdicts were given, such as event numbers; anything where there is none.
        placeholder_F: whether the given path says nothing; such a label is no wrong one, and p is that of the suggestion. None: nowhere.
    """

    p_F: NDArray[np.float64]
    priority_F: NDArray[np.float64]
    department_F: NDArray[np.str_]
    verdict_F: NDArray[np.str_]
    arm_F: NDArray[np.str_]
    order_F: NDArray[np.int64]
    placeholder_F: NDArray[np.bool_] | None = None

    @cached_property
    def labels(self) -> "Reviewed":
        """Without placeholders: the findings whose labels can be wrong."""
        if self.placeholder_F is None or not self.placeholder_F.any():
            return self
        kept_F = ~self.placeholder_F
        return Reviewed(
            self.p_F[kept_F], self.priority_F[kept_F], self.department_F[kept_F], self.verdict_F[kept_F], self.arm_F[kept_F],
            self.order_F[kept_F],
        )  # fmt: skip

    @cached_property
    def wrong_F(self) -> NDArray[np.bool_]:
        return np.isin(self.verdict_F, FOUND_WRONG)

    @cached_property
    def judged_F(self) -> NDArray[np.bool_]:
        """Found wrong or right."""
        return self.wrong_F | np.isin(self.verdict_F, FOUND_RIGHT)

    @cached_property
    def open_F(self) -> NDArray[np.bool_]:
        """Neither judged nor excluded."""
        return ~self.judged_F & (self.verdict_F != "exclude")

    @cached_property
    def drawn_F(self) -> NDArray[np.bool_]:
        """Judged in the random arm."""
        return self.judged_F & (self.arm_F == "random")

    @cached_property
    def p_shown_F(self) -> NDArray[np.float64]:
        """p with what decisions taught. Those in bulk, and those on findings with a known answer, were not chosen by p and are left out."""
        taught_F = self.judged_F & np.isin(self.arm_F, ("ranked", "random"))
        return recalibrated(self.p_F, self.wrong_F, taught_F if self.placeholder_F is None else taught_F & ~self.placeholder_F)

    @cached_property
    def queue(self) -> NDArray[np.int64]:
        """Positions of the open findings, the next one first."""
        open_O = np.flatnonzero(self.open_F)
        return open_O[np.argsort(-self.priority_F[open_O], kind="stable")]


@dataclass(frozen=True)
class WrongEstimate:
    """How many labels are wrong, in products, with a 95% interval.

    Attributes:
        found: found wrong by decisions.
        open: expected among the findings that are still open.
        unseen: among products without a finding, where no decision reaches: the audit's own estimate.
    """

    estimate: float
    low: float
    high: float
    found: int
    open: float
    unseen: float


@dataclass(frozen=True)
class Precision:
    """The share of judged findings whose label was wrong, with Wilson's 95% interval (Wilson 1927); None where nothing was judged."""

    reviewed: int
    wrong: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CurvePoint:
    """After so many findings were reviewed, so many wrong labels were found, or are expected to be.

    Attributes:
        expected: whether this lies ahead.
        low, high: a 95% interval of what lies ahead; `found` itself for what is done.
    """

    reviewed: int
    found: float
    low: float
    high: float
    expected: bool


@dataclass(frozen=True)
class StopLine:
    """The next findings of the queue, so many, are expected to hold so many wrong labels; with a 95% interval of what they will hold."""

    findings: int
    expected: float
    low: int
    high: int


@dataclass(frozen=True)
class Agreement:
    """How far first and second reviewers agree on whether labels are wrong.

    Attributes:
        pairs: of decisions by two reviewers on one finding.
        same: pairs with the same answer, wrong, right or neither.
        kappa: Cohen's (1960): 1 where they agree, 0 where they agree no more than by chance. None without pairs, and where all answers are
            the same, since chance then explains everything.
    """

    pairs: int
    same: int
    kappa: float | None


@dataclass(frozen=True)
class _Count:
    """An estimated number and its standard deviation."""

    mean: float
    sd: float


def wrong_labels(reviewed: Reviewed, wrong: WrongLabels) -> WrongEstimate:
    """How many labels are wrong in all, placeholders left out.

    Three counts are added: what decisions found, what is expected among open findings (`open_wrong`), and what the audit expects among
    products without a finding. Without decisions this is the audit's own estimate, with the audit's own interval.

    Args:
        wrong: the audit's estimate over all its products.
    """
    reviewed = reviewed.labels
    found, open_ = int(reviewed.wrong_F.sum()), open_wrong(reviewed, wrong)
    unseen = max(0.0, wrong.estimate - float(reviewed.p_F.sum()))
    sd = _root_of_squares(open_.sd, unseen * _doubt(wrong))
    estimate = found + open_.mean + unseen
    if not reviewed.judged_F.any():
        estimate = max(estimate, wrong.estimate)
        return WrongEstimate(estimate, min(wrong.low, estimate), max(wrong.high, estimate), found, open_.mean, unseen)
    high = found + min(open_.mean + _Z * open_.sd, float(reviewed.open_F.sum())) + unseen * (1 + _Z * _doubt(wrong))
    return WrongEstimate(estimate, max(float(found), estimate - _Z * sd), min(estimate + _Z * sd, high), found, open_.mean, unseen)


def open_wrong(reviewed: Reviewed, wrong: WrongLabels) -> _Count:
    """Wrong labels among the findings that are still open, from two sources, each weighted by how sure it is.

    The audit: the sum of `p_shown`, which may be off by a common factor: by as much as the audit doubts its own total and, the more random
    decisions there are to tell, by up to half. The random arm: `_from_random_arm`. Where the two contradict each other by more than both
    allow, the audit is trusted less still, by as much as explains the difference (DerSimonian & Laird 1986), once there are enough random
    decisions for a contradiction to be one.
    """
    p_O, draws = reviewed.p_shown_F[reviewed.open_F], int(reviewed.drawn_F.sum())
    most, model, chance = float(len(p_O)), float(p_O.sum()), float((p_O * (1 - p_O)).sum())
    doubt = (max(_doubt(wrong), 0.5 * draws / (draws + 5)) * model) ** 2
    if not most or not draws:
        return _Count(model, float(np.sqrt(doubt + chance)))
    sample = _from_random_arm(reviewed)
    apart = sample.mean - model
    if draws >= _TELLING_DRAWS:
        doubt = max(doubt, apart**2 - sample.sd**2 - chance)
    weight = (doubt + chance) / max(doubt + chance + sample.sd**2, 1e-12)
    return _Count(min(max(0.0, model + weight * apart), most), float(np.sqrt(weight) * sample.sd))


def _from_random_arm(reviewed: Reviewed) -> _Count:
    """Wrong labels among the findings that are still open, as the random arm alone tells it.

    Each random decision was drawn uniformly from what was open then, m findings. So what was found wrong before it, plus the p of those m,
    plus m times how its verdict differs from its p, estimates the wrong labels of all findings without bias, whatever the ranked arm and
    bulk decisions chose meanwhile and why: Des Raj's ordered estimator (1956, JASA 51:269), with p as the control variate. These
    estimates are uncorrelated; they are averaged with weights 1 / (m (m - 1)), which for a plain sample gives its textbook variance. The
    variance of the differences is pooled with that of verdicts of one probability, as if two more findings had been drawn, and is never
    less than what p promises, the mean of p (1 - p): ten equal verdicts do not mean that there is none.
    """
    counted_F = reviewed.verdict_F != "exclude"
    when_F = np.where(reviewed.judged_F, reviewed.order_F, np.iinfo(np.int64).max)
    order = np.argsort(when_F[counted_F], kind="stable")
    p, wrong, drawn = (column[counted_F][order] for column in (reviewed.p_F, reviewed.wrong_F, reviewed.drawn_F))
    before = np.cumsum(wrong) - wrong  # found wrong before each decision
    open_ = np.arange(len(p), 0, -1)  # findings that were open then, and what their p adds up to
    promised = np.cumsum(p[::-1])[::-1]
    difference, m = (wrong - p)[drawn], open_[drawn].astype(np.float64)
    estimates = before[drawn] + promised[drawn] + m * difference
    spread = (((difference - difference.mean()) ** 2).sum() + 2 * (promised[drawn] / m * (1 - promised[drawn] / m)).mean()) / (len(m) + 1)
    least = np.cumsum((p * (1 - p))[::-1])[::-1][drawn] / m
    spread = max(spread, least.mean())
    weights = 1 / np.maximum(m * (m - 1), 0.5)
    mean = float(np.average(estimates, weights=weights)) - int(reviewed.wrong_F.sum())
    return _Count(mean, float(np.sqrt(spread / weights.sum())))


def wrong_by_department(reviewed: Reviewed, wrong: WrongLabels, departments: Sequence[DepartmentRecord]) -> dict[str, WrongEstimate]:
    """The same for each department; what is expected among open findings adds up to the total.

    A department's open findings count by `p_shown`, times the ratio of wrong labels found to those expected there, drawn towards 1 as a
    gamma-Poisson model draws it (Clayton & Kaldor 1987). The sum is then brought to that of `open_wrong`, which alone is free of bias.
    """
    reviewed = reviewed.labels
    everywhere = open_wrong(reviewed, wrong)
    one_by_one_F = reviewed.judged_F & np.isin(reviewed.arm_F, ("ranked", "random"))
    open_of, sure_of = {}, {}
    for record in departments:
        here_F = reviewed.department_F == record.name
        expected = float(reviewed.p_shown_F[here_F & one_by_one_F].sum())
        ratio = (_SURE_OF_DEPARTMENT + int(reviewed.wrong_F[here_F & one_by_one_F].sum())) / (_SURE_OF_DEPARTMENT + expected)
        open_of[record.name] = ratio * float(reviewed.p_shown_F[here_F & reviewed.open_F].sum())
        sure_of[record.name] = _SURE_OF_DEPARTMENT + expected
    scale = everywhere.mean / max(sum(open_of.values()), 1e-12)
    doubt = everywhere.sd / max(everywhere.mean, 1.0)
    estimates = {}
    for record in departments:
        here_F = reviewed.department_F == record.name
        most = int((here_F & reviewed.open_F).sum())
        found, open_ = int(reviewed.wrong_F[here_F].sum()), min(open_of[record.name] * scale, float(most))
        unseen = max(0.0, record.wrong.estimate - float(reviewed.p_F[here_F].sum()))
        if not reviewed.judged_F.any():
            estimates[record.name] = WrongEstimate(record.wrong.estimate, record.wrong.low, record.wrong.high, 0, open_, unseen)
            continue
        sd = _root_of_squares(open_ * doubt, open_ / np.sqrt(sure_of[record.name]), np.sqrt(open_), unseen * _doubt(record.wrong))
        estimate = found + open_ + unseen
        high = min(estimate + _Z * sd, found + most + unseen * (1 + _Z * _doubt(record.wrong)))
        estimates[record.name] = WrongEstimate(estimate, max(float(found), estimate - _Z * sd), high, found, open_, unseen)
    return estimates


def precision(reviewed: Reviewed, arm: str) -> Precision:
    """The share of one arm's judged findings whose label was wrong. For the random arm it estimates that of all findings."""
    judged_F = reviewed.judged_F & (reviewed.arm_F == arm)
    judged, wrong = int(judged_F.sum()), int(reviewed.wrong_F[judged_F].sum())
    if not judged:
        return Precision(0, 0, None, None, None)
    interval = binomtest(wrong, judged).proportion_ci(method="wilson")
    return Precision(judged, wrong, wrong / judged, float(interval.low), float(interval.high))


def stop_line(reviewed: Reviewed, wrong: WrongLabels, findings: int = 200) -> StopLine:
    """What the next findings of the queue are expected to hold, by `p_shown`.

    The interval is that of a beta-binomial count: chance, and doubt about the level of p.
    """
    ahead = reviewed.queue[:findings]
    if not len(ahead):
        return StopLine(0, 0.0, 0, 0)
    p = float(reviewed.p_shown_F[ahead].mean())
    low, high = _interval_of_count(len(ahead), p, max(_DOUBT_OF_LEVEL, _doubt(wrong)))
    return StopLine(len(ahead), len(ahead) * p, low, high)


def curve(reviewed: Reviewed, wrong: WrongLabels, points: int = 200) -> list[CurvePoint]:
    """Wrong labels found against findings reviewed, in the order of the decisions; then what the rest of the queue is expected to add.

    `unsure` counts as reviewed. At most `points` for each of the two parts, first and last included.
    """
    seen = np.flatnonzero((reviewed.verdict_F != "") & (reviewed.verdict_F != "exclude"))
    seen = seen[np.argsort(reviewed.order_F[seen], kind="stable")]
    found = np.concatenate([[0], np.cumsum(reviewed.wrong_F[seen])])
    done = [CurvePoint(int(at), float(found[at]), float(found[at]), float(found[at]), False) for at in _thinned(len(seen), points)]
    ahead = reviewed.queue[reviewed.verdict_F[reviewed.queue] == ""]
    if not len(ahead):
        return done
    more = np.concatenate([[0.0], np.cumsum(reviewed.p_shown_F[ahead])])
    doubt = max(_DOUBT_OF_LEVEL, _doubt(wrong))
    for at in _thinned(len(ahead), points)[1:]:
        low, high = _interval_of_count(int(at), float(more[at] / at), doubt)
        done.append(CurvePoint(len(seen) + int(at), float(found[-1] + more[at]), float(found[-1] + low), float(found[-1] + high), True))
    return done


def agreement(first: Sequence[str], second: Sequence[str]) -> Agreement:
    """Of pairs of verdicts, each by two reviewers on one finding."""
    one, other = [_answer(verdict) for verdict in first], [_answer(verdict) for verdict in second]
    same = sum(a == b for a, b in zip(one, other, strict=True))
    kappa = float(cohen_kappa_score(one, other)) if len({*one, *other}) > 1 else None
    return Agreement(len(one), same, kappa)


def _answer(verdict: str) -> str:
    return "wrong" if verdict in FOUND_WRONG else "right" if verdict in FOUND_RIGHT else "neither"


def _doubt(wrong: WrongLabels) -> float:
    """The audit's standard deviation of its own estimate, relative to it."""
    return max(0.02, (wrong.high - wrong.low) / (2 * _Z) / max(wrong.estimate, 1.0))


def _interval_of_count(size: int, p: float, doubt: float) -> tuple[int, int]:
    """95% of so many findings' wrong labels, where the mean p is uncertain by a relative standard deviation."""
    if not 0 < p < 1:
        return round(size * p), round(size * p)
    variance = min((doubt * p) ** 2, 0.9 * p * (1 - p))
    if size == 1 or variance < 1e-9:
        chances = binom.pmf(np.arange(size + 1), size, p)
    else:
        concentration = p * (1 - p) / variance - 1
        chances = betabinom.pmf(np.arange(size + 1), size, p * concentration, (1 - p) * concentration)
    low, high = np.searchsorted(np.cumsum(chances), (0.025, 0.975))  # ppf would sum the chances anew for each step of its search
    return int(low), int(high)


def _thinned(last: int, points: int) -> NDArray[np.int64]:
    """Numbers from 0 to `last`, both included, no more than so many."""
    return np.unique(np.linspace(0, last, min(points, last + 1)).round().astype(np.int64))


def _root_of_squares(*terms: float) -> float:
    return float(np.sqrt(sum(term**2 for term in terms)))
