import numpy as np
import pytest

from shelfcode.audit.scoring.calibration import NOTHING_TO_TELL, fit_calibration, refine


def mixture(share: float, count: int = 40_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of given and of counterfactual labels, and which of the given ones are wrong: the wrong ones' are 3.5 higher on average."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(count) < share
    return rng.standard_normal(count) + 3.5 * wrong, rng.standard_normal(count) + 3.5, wrong


@pytest.mark.parametrize("share", [0.01, 0.03, 0.10])
def test_the_share_of_wrong_labels_is_found_without_a_label(share: float):
    given, made, wrong = mixture(share)
    calibration = fit_calibration(given, made)
    assert calibration.noise_rate == pytest.approx(wrong.mean(), abs=0.004)
    assert calibration.noise_low <= calibration.noise_rate <= calibration.noise_high


def test_probabilities_are_true_and_rise():
    given, made, wrong = mixture(0.05)
    p = fit_calibration(given, made).p_wrong(given)
    order = np.argsort(given)
    assert (np.diff(p[order]) >= 0).all()
    cells = np.array_split(order, 15)
    assert np.mean([abs(p[cell].mean() - wrong[cell].mean()) for cell in cells]) < 0.01


def test_decisions_correct_what_is_systematically_off():
    given, made, wrong = mixture(0.05)
    calibration = fit_calibration(given - 1, made)  # of other counterfactual labels than the mistakes really are
    judged = np.random.default_rng(1).choice(np.flatnonzero(given > 1), 600, replace=False)
    refined = refine(calibration, given[judged] - 1, wrong[judged])
    assert refined is not calibration

    def loss(p: np.ndarray) -> float:
        return float(-np.log(np.where(wrong, p, 1 - p).clip(1e-4)).mean())

    assert loss(refined.p_wrong(given - 1)) < loss(calibration.p_wrong(given - 1))
    assert refine(calibration, given[judged[:10]], wrong[judged[:10]]) is calibration


def test_too_few_labels_tell_nothing():
    assert fit_calibration(np.zeros(5), np.ones(5)) is NOTHING_TO_TELL
    assert NOTHING_TO_TELL.p_wrong(np.array([-1.0, 5.0])).tolist() == [0, 0]
