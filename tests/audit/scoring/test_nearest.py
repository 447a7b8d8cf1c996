import numpy as np
import pytest

from shelfcode.audit.scoring import nearest
from shelfcode.audit.scoring.nearest import fit_nearest


def vectors(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 16))[rng.integers(40, size=count)] + 0.5 * rng.standard_normal((count, 16))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("one_cell", [True, False])
def test_finds_the_nearest_and_never_the_product_itself(one_cell: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nearest, "ONE_CELL_UP_TO", 10_000 if one_cell else 100)
    x, key = vectors(1200), np.arange(1200, dtype=np.uint64) + np.uint64(7)
    found, cosine = fit_nearest(x, key, seed=0).search(x, key, 5)
    truth = x @ x.T
    np.fill_diagonal(truth, -2)
    best = np.argsort(-truth, axis=1)[:, :5]
    recall = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found.tolist(), best.tolist(), strict=True)])
    assert recall > (0.99 if one_cell else 0.9)
    assert (found != np.arange(1200)[:, None]).all()
    assert (np.diff(cosine, axis=1) <= 1e-6).all()
    np.testing.assert_allclose(cosine, truth[np.arange(1200)[:, None], found], atol=2e-3)


def test_fewer_than_asked_for_are_marked():
    x = vectors(3)
    found, cosine = fit_nearest(x, np.arange(3, dtype=np.uint64), seed=0).search(x, np.arange(3, dtype=np.uint64), 5)
    assert ((found >= 0).sum(axis=1) == 2).all()
    assert (cosine[found < 0] == 0).all()
