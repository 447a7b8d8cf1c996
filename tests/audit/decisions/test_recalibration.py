"""Corrected probabilities: close to the audit's with few decisions, to the truth with many, and not bent by reviewing from the top."""

import numpy as np

from shelfcode.audit.decisions.recalibration import recalibrated

P_F = np.sort(np.clip(np.random.default_rng(0).beta(0.6, 1.2, 2000), 0.02, 0.99))


def decisions(truth_F: np.ndarray, share_of_top: float, by_chance: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    judged_F = np.zeros(len(P_F), dtype=bool)
    judged_F[round(len(P_F) * (1 - share_of_top)) :] = True
    judged_F[rng.choice(len(P_F), by_chance, replace=False)] = True
    return rng.random(len(P_F)) < truth_F, judged_F


def test_few_decisions_move_it_a_little() -> None:
    wrong_F, judged_F = np.zeros(len(P_F), dtype=bool), np.zeros(len(P_F), dtype=bool)
    judged_F[-2:] = True  # two findings of the highest p, and both labels are right
    shown_F = recalibrated(P_F, wrong_F, judged_F)
    assert 0.02 < P_F[-1] - shown_F[-1] < 0.4
    assert abs(shown_F[:1000] - P_F[:1000]).max() < 0.03


def test_many_decisions_outvote_an_overconfident_audit() -> None:
    truth_F = 0.5 * P_F
    shown_F = recalibrated(P_F, *decisions(truth_F, share_of_top=0.2, by_chance=600))
    assert abs(shown_F - truth_F).mean() < 0.35 * abs(P_F - truth_F).mean()


def test_reviewing_from_the_top_does_not_bend_what_lies_below() -> None:
    truth_F = np.where(P_F > 0.7, 0.75 * P_F, P_F)  # overconfident at the top alone
    wrong_F, judged_F = decisions(truth_F, share_of_top=0.15, by_chance=0)
    shown_F = recalibrated(P_F, wrong_F, judged_F)
    below_F = P_F < 0.5
    assert abs(shown_F[below_F].mean() - truth_F[below_F].mean()) < 0.01
    assert abs(shown_F[~judged_F].sum() / truth_F[~judged_F].sum() - 1) < 0.1


def test_the_order_of_the_audit_stays() -> None:
    shown_F = recalibrated(P_F, *decisions(1 - P_F, share_of_top=0.3, by_chance=100))
    assert (np.diff(shown_F) >= -1e-12).all()
    assert shown_F.min() >= 0
    assert shown_F.max() <= 1
