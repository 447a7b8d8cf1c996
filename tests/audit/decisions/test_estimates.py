"""Estimates from decisions: checked in simulated reviews whose truth is known, and by hand where numbers are small."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from shelfcode.audit.decisions.estimates import (
    Reviewed,
    agreement,
    curve,
    open_wrong,
    precision,
    stop_line,
    wrong_by_department,
    wrong_labels,
)
from shelfcode.audit.published_audit import DepartmentRecord, WrongLabels

FINDINGS = 1000
DEPARTMENTS = ("bakery", "dairy", "pets", "snacks")


class Review(NamedTuple):
    reviewed: Reviewed
    wrong_F: NDArray[np.bool_]
    audit: WrongLabels


def a_review(seed: int, ranked: int = 0, random: int = 0, bulk: int = 0, overconfident: float = 1.0) -> Review:
    """Decisions in mixed order: by p, by chance, and bulk actions, each of which accepts what is wrong in one group and nothing else."""
    rng = np.random.default_rng(seed)
    p_F = np.clip(rng.beta(0.6, 1.2, FINDINGS), 0.02, 0.99)
    wrong_F = rng.random(FINDINGS) < p_F * overconfident
    verdict_F, arm_F = np.full(FINDINGS, "", dtype="<U10"), np.full(FINDINGS, "", dtype="<U10")
    order_F, open_F, group_F = np.zeros(FINDINGS, dtype=np.int64), np.ones(FINDINGS, dtype=bool), rng.integers(50, size=FINDINGS)
    for arm in rng.permutation(["ranked"] * ranked + ["random"] * random + ["bulk"] * bulk):
        if arm == "ranked":
            decided = [int(np.argmax(np.where(open_F, p_F, -1)))]
        elif arm == "random":
            decided = [int(rng.choice(np.flatnonzero(open_F)))]
        else:
            decided = np.flatnonzero((group_F == rng.integers(50)) & open_F & wrong_F).tolist()
        for finding in decided:
            verdict_F[finding], arm_F[finding] = ("accept" if wrong_F[finding] else "keep"), arm
            order_F[finding], open_F[finding] = (order_F.max() + 1), False
    audit = WrongLabels(estimate=p_F.sum(), low=0.9 * p_F.sum(), high=1.1 * p_F.sum())
    department_F = np.array(DEPARTMENTS)[np.arange(FINDINGS) % 4]
    return Review(Reviewed(p_F, p_F, department_F, verdict_F, arm_F, order_F), wrong_F, audit)


def test_without_decisions_the_audit_speaks() -> None:
    reviewed, _, audit = a_review(0)
    outside = audit.model_copy(update={"estimate": audit.estimate + 50, "high": audit.high + 50})
    estimate = wrong_labels(reviewed, outside)
    assert (estimate.estimate, estimate.low, estimate.high) == pytest.approx((outside.estimate, outside.low, outside.high))
    assert estimate.found == 0
    assert estimate.unseen == pytest.approx(50)
    assert np.array_equal(reviewed.p_shown_F, reviewed.p_F)


@pytest.mark.parametrize("plan", [{"random": 40}, {"ranked": 90, "random": 10}, {"ranked": 300, "random": 60, "bulk": 8}], ids=str)
@pytest.mark.parametrize("overconfident", [1.0, 0.5])
def test_intervals_of_the_total_hold_the_truth(plan: dict[str, int], overconfident: float) -> None:
    """Even when the audit promises twice as many wrong labels as there are, whatever ranked and bulk decisions picked meanwhile."""
    held = []
    for seed in range(40):
        reviewed, wrong_F, audit = a_review(seed, overconfident=overconfident, **plan)
        estimate = wrong_labels(reviewed, audit)
        assert estimate.low <= estimate.estimate <= estimate.high
        held.append(estimate.low <= wrong_F.sum() <= estimate.high)
    assert np.mean(held) >= 0.85  # 40 draws of .95 lie above this with a probability of .99


def test_the_random_arm_corrects_an_overconfident_audit_without_bias() -> None:
    errors, audits = [], []
    for seed in range(40):
        reviewed, wrong_F, audit = a_review(seed, ranked=200, random=120, bulk=5, overconfident=0.5)
        errors.append(wrong_labels(reviewed, audit).estimate / wrong_F.sum() - 1)
        audits.append(audit.estimate / wrong_F.sum() - 1)
    assert np.mean(audits) > 0.8
    assert abs(np.mean(errors)) < 0.06


def test_one_wrong_label_among_the_first_drawn_by_chance_does_not_overturn_the_audit() -> None:
    """Of 600 findings 45 are likely wrong; every thirteenth card drawn by chance is one of them, and may be the first."""
    p_F = np.where(np.arange(600) < 45, 0.9, 0.02)
    verdict_F, arm_F = np.full(600, "", dtype="<U10"), np.full(600, "", dtype="<U10")
    for finding, arm in ((0, "ranked"), (599, "random")):
        verdict_F[finding], arm_F[finding] = "accept", arm
    audit = WrongLabels(estimate=p_F.sum(), low=40, high=65)
    estimate = wrong_labels(Reviewed(p_F, p_F, np.full(600, "pets"), verdict_F, arm_F, np.arange(600)), audit)
    assert estimate.estimate == pytest.approx(audit.estimate, rel=0.3)
    assert estimate.low < audit.estimate < estimate.high


def test_with_all_decided_nothing_is_estimated() -> None:
    reviewed, wrong_F, audit = a_review(1, ranked=700, random=300)
    estimate = wrong_labels(reviewed, audit)
    assert estimate.found == wrong_F.sum()
    assert (estimate.low, estimate.estimate, estimate.high) == pytest.approx((wrong_F.sum(),) * 3, abs=1)
    assert stop_line(reviewed, audit).findings == 0
    assert not any(point.expected for point in curve(reviewed, audit))


def test_all_but_one_decided_by_chance() -> None:
    reviewed, wrong_F, audit = a_review(2, random=FINDINGS - 1)
    assert wrong_labels(reviewed, audit).estimate == pytest.approx(wrong_F.sum(), abs=1)


def test_unsure_stays_open_and_excluded_leaves() -> None:
    reviewed, _, audit = a_review(3)
    verdict_F = reviewed.verdict_F.copy()
    verdict_F[:100], verdict_F[100:200] = "unsure", "exclude"
    changed = Reviewed(
        reviewed.p_F, reviewed.priority_F, reviewed.department_F, verdict_F, np.where(verdict_F != "", "ranked", ""), reviewed.order_F
    )
    assert open_wrong(changed, audit).mean == pytest.approx(reviewed.p_F[:100].sum() + reviewed.p_F[200:].sum())
    assert precision(changed, "ranked").share is None


def test_placeholders_are_no_wrong_labels_but_work_all_the_same() -> None:
    reviewed, _, audit = a_review(6, ranked=50, random=30)
    columns = (reviewed.p_F, reviewed.priority_F, reviewed.department_F, reviewed.verdict_F, reviewed.arm_F, reviewed.order_F)
    more = Reviewed(*(np.concatenate([column, column[:200]]) for column in columns), np.arange(FINDINGS + 200) >= FINDINGS)
    assert wrong_labels(more, audit) == wrong_labels(reviewed, audit)
    assert len(more.queue) > len(reviewed.queue)
    assert precision(more, "ranked").reviewed > precision(reviewed, "ranked").reviewed


def test_code_wrong_says_that_the_label_is_right() -> None:
    p_F = np.full(4, 0.5)
    verdicts = np.array(["accept", "relabel", "keep", "code_wrong"])
    reviewed = Reviewed(p_F, p_F, np.full(4, "a"), verdicts, np.full(4, "ranked"), np.arange(4))
    assert reviewed.wrong_F.tolist() == [True, True, False, False]
    found = precision(reviewed, "ranked")
    assert (found.reviewed, found.wrong, found.share) == (4, 2, 0.5)
    assert (found.low, found.high) == pytest.approx((0.150, 0.850), abs=0.001)  # Wilson's interval of 2 of 4
    assert precision(reviewed, "random").reviewed == 0


def test_departments_add_up_and_learn_from_their_own_decisions() -> None:
    reviewed, _, audit = a_review(4, ranked=300, random=100)
    p_of = {name: float(reviewed.p_F[reviewed.department_F == name].sum()) for name in DEPARTMENTS}
    records = [
        DepartmentRecord(name=name, products=5000, findings=250, wrong=WrongLabels(estimate=p, low=0.9 * p, high=1.1 * p))
        for name, p in p_of.items()
    ]
    verdict_F = reviewed.verdict_F.copy()
    verdict_F[(verdict_F != "") & (reviewed.department_F == "pets")] = "keep"
    changed = Reviewed(reviewed.p_F, reviewed.priority_F, reviewed.department_F, verdict_F, reviewed.arm_F, reviewed.order_F)
    estimates = wrong_by_department(changed, audit, records)
    assert sum(one.open for one in estimates.values()) == pytest.approx(open_wrong(changed, audit).mean)
    assert estimates["pets"].found == 0
    assert estimates["pets"].open < 0.7 * min(estimates[name].open for name in DEPARTMENTS if name != "pets")
    assert all(one.low <= one.estimate <= one.high for one in estimates.values())


def test_the_stop_line_holds_what_comes_next() -> None:
    held, expected, there = [], 0.0, 0
    for seed in range(40):
        reviewed, wrong_F, audit = a_review(seed, ranked=200, random=30)
        line = stop_line(reviewed, audit, findings=100)
        truth = int(wrong_F[reviewed.queue[:100]].sum())
        held.append(line.low <= truth <= line.high)
        expected, there = expected + line.expected, there + truth
    assert np.mean(held) >= 0.85
    assert expected == pytest.approx(there, rel=0.1)


def test_the_curve_goes_through_what_was_found_and_on_through_what_is_expected() -> None:
    reviewed, wrong_F, audit = a_review(5, ranked=100)
    points = curve(reviewed, audit, points=50)
    done, ahead = [point for point in points if not point.expected], [point for point in points if point.expected]
    decided = reviewed.verdict_F != ""
    assert (done[0].reviewed, done[0].found) == (0, 0)
    assert (done[-1].reviewed, done[-1].found) == (100, wrong_F[decided].sum())
    assert ahead[-1].reviewed == FINDINGS
    assert ahead[-1].found == pytest.approx(done[-1].found + reviewed.p_shown_F[~decided].sum())
    assert all(before.found <= after.found for before, after in pairwise(points))
    assert all(point.low <= point.found <= point.high + 1 for point in ahead)
    assert len(points) <= 100


def test_agreement_is_about_whether_labels_are_wrong() -> None:
    same = agreement(["accept", "keep", "code_wrong", "unsure"], ["relabel", "code_wrong", "keep", "exclude"])
    assert (same.pairs, same.same, same.kappa) == (4, 4, 1.0)
    by_chance = agreement(["accept", "accept", "keep", "keep"], ["accept", "keep", "accept", "keep"])
    assert (by_chance.same, by_chance.kappa) == (2, 0.0)
    assert agreement(["keep", "keep"], ["keep", "code_wrong"]).kappa is None
    assert agreement([], []).pairs == 0
