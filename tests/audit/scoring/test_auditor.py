import pickle
from dataclasses import replace

import numpy as np
import pytest

from shelfcode.audit.scoring.auditor import Auditor, DecidedLabels, fit_auditor
from shelfcode.audit.scoring.scores import BEST_LEAVES, AuditedProducts, FlavorCodes, LabelScores
from shelfcode.audit.scoring.settings import NetworkSettings, ScoringSettings
from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy, taxonomy_from_paths

SETTINGS = ScoringSettings(
    folds=3, ranker_trees=20,
    embedding_network=NetworkSettings(hidden=32, epochs=2, batch_size=64, learning_rate=1e-2, dropout=0.1),
    words_network=NetworkSettings(hidden=16, epochs=2, batch_size=64, learning_rate=2e-2, dropout=0.1),
)  # fmt: skip


def catalog(products: int = 1000, leaves: int = 9, wrong: float = 0.04, seed: int = 0) -> tuple[AuditedProducts, Taxonomy, np.ndarray]:
    """Products around a centre per leaf, three leaves a parent, with words and codes that go with it; a share of them mislabelled."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((leaves, 24))
    true = rng.integers(leaves, size=products)
    x = centres[true] + 0.7 * rng.standard_normal((products, 24))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    texts = [f"brand{rng.integers(30)} kind{leaf} shape{rng.integers(12)} n{row}" for row, leaf in enumerate(true)]
    codes = np.stack([true // 3, np.where(rng.random(products) < 0.9, true, rng.integers(leaves, size=products))], axis=1).astype(np.uint16)
    given = true.copy()
    flipped = rng.random(products) < wrong
    given[flipped] = (true[flipped] + rng.integers(1, leaves, size=int(flipped.sum()))) % leaves
    paths = [[f"department {leaf // 3}", f"leaf {leaf}"] for leaf in range(leaves)]
    keys = rng.integers(2**63, size=products, dtype=np.uint64)
    tree = taxonomy_from_paths(paths)
    return AuditedProducts(keys, texts, x, (FlavorCodes("precision", codes, (3, leaves)),), given.astype(np.int32)), tree, flipped


@pytest.fixture(scope="module")
def scored() -> tuple[AuditedProducts, Auditor, np.ndarray, LabelScores]:
    products, tree, wrong = catalog()
    auditor = fit_auditor(products, tree, SETTINGS)
    return products, auditor, wrong, auditor.score(products)


def test_planted_wrong_labels_rank_first_and_the_right_leaf_is_suggested(scored):
    products, _, wrong, scores = scored
    first = np.argsort(-scores.score_N)[: wrong.sum()]
    assert wrong[first].mean() > 0.8
    true = np.array([int(text.split()[1][4:]) for text in products.text_N])
    assert (scores.best_leaf_NK[wrong, 0] == true[wrong]).mean() > 0.9


def test_probabilities_are_near_the_truth_and_rise_with_the_score(scored):
    _, _, wrong, scores = scored
    assert scores.p_wrong_N.mean() == pytest.approx(wrong.mean(), abs=0.02)
    order = np.argsort(scores.score_N)
    assert (np.diff(scores.p_wrong_N[order]) >= 0).all()
    assert np.average(scores.p_wrong_N[wrong]) > 10 * np.average(scores.p_wrong_N[~wrong])


def test_more_leaves_than_a_table_of_mistakes_holds_are_judged_without_it(monkeypatch):
    monkeypatch.setattr("shelfcode.audit.scoring.features.MOST_LEAVES", 1)
    products, tree, wrong = catalog()
    scores = fit_auditor(products, tree, SETTINGS).score(products)
    assert wrong[np.argsort(-scores.score_N)[: wrong.sum()]].mean() > 0.8


def test_the_share_of_wrong_labels_follows_what_is_planted():
    rates = []
    for share in (0.02, 0.10):
        products, tree, _ = catalog(wrong=share, seed=1)
        auditor = fit_auditor(products, tree, SETTINGS)
        rates.append(auditor.noise_rate)
        assert auditor.noise_low <= auditor.noise_rate <= auditor.noise_high
    assert rates[1] - rates[0] == pytest.approx(0.08, abs=0.03)


def test_scores_do_not_depend_on_the_batch_and_survive_a_pickle(scored):
    products, fitted, _, scores = scored
    auditor = pickle.loads(pickle.dumps(fitted))
    rows = np.arange(800, 860)
    some = replace(
        products, key_N=products.key_N[rows], text_N=[products.text_N[row] for row in rows], x_ND=products.x_ND[rows],
        codes=(replace(products.codes[0], codes_NL=products.codes[0].codes_NL[rows]),), leaf_N=products.leaf_N[rows],
    )  # fmt: skip
    np.testing.assert_allclose(auditor.score(some).score_N, scores.score_N[rows], atol=1e-4)


def test_no_view_hears_a_product_s_own_label():
    products, tree, _ = catalog(products=400)
    labels = products.leaf_N.copy()
    labels[7] = (labels[7] + 1) % 9
    auditors = [fit_auditor(each, tree, SETTINGS) for each in (products, replace(products, leaf_N=labels))]
    views = [auditor.score(products).views for auditor in auditors]
    for before, after in zip(*views, strict=True):
        if before.name not in ("neighbours' views",):
            assert before.given_p_N[7] == pytest.approx(after.given_p_N[7], abs=1e-6), before.name
            assert before.best_p_N[7] == pytest.approx(after.best_p_N[7], abs=1e-6), before.name


def test_a_product_is_never_its_own_neighbour_and_copies_are_not_asked(scored):
    products, _, _, scores = scored
    assert (scores.nearest_NJ != np.arange(len(products.key_N))[:, None]).all()
    twice = replace(
        products, key_N=np.concatenate([products.key_N, products.key_N[:5] + np.uint64(1)]),
        text_N=[*products.text_N, *products.text_N[:5]],
        x_ND=np.vstack([products.x_ND, products.x_ND[:5]]), leaf_N=np.append(products.leaf_N, (products.leaf_N[:5] + 1) % 9),
        codes=(replace(products.codes[0], codes_NL=np.vstack([products.codes[0].codes_NL, products.codes[0].codes_NL[:5]])),),
    )  # fmt: skip
    found = fit_auditor(twice, catalog(products=1)[1], SETTINGS).score(twice)
    assert (found.nearest_NJ[:5, 0] == np.arange(1000, 1005)).all()
    votes = next(view for view in found.views if view.name == "neighbours")
    assert (votes.best_leaf_N[1000:] == votes.best_leaf_N[:5]).all()


@pytest.mark.parametrize("leaf", ["none", "placeholders", "one", "every", "two"])
def test_odd_catalogs_give_plain_results(leaf: str):
    products, _, _ = catalog(products=60)
    count = len(products.key_N)
    names = {"none": [], "placeholders": [["food", "Other"]], "one": [["food"]], "every": [["food", f"leaf {row}"] for row in range(count)]}
    paths = names.get(leaf, [["a", "b"], ["a"]])
    leaves = np.arange(count) % len(paths) if paths else np.full(count, NO_LEAF)
    scores = fit_auditor(replace(products, leaf_N=leaves.astype(np.int32)), taxonomy_from_paths(paths), SETTINGS).score(
        replace(products, leaf_N=leaves.astype(np.int32))
    )
    assert scores.score_N.shape == scores.p_wrong_N.shape == (count,)
    assert scores.best_leaf_NK.shape[1] <= BEST_LEAVES
    if leaf in ("none", "placeholders"):
        assert np.isnan(scores.p_wrong_N).all()
        assert scores.best_leaf_NK.shape == (count, 0)
    else:
        assert ((scores.p_wrong_N >= 0) & (scores.p_wrong_N <= 1)).all()
        assert np.isfinite(scores.score_N).all()
        assert np.isfinite(scores.best_p_NK).all()


def test_a_placeholder_is_never_suggested_and_its_products_have_no_probability():
    products, tree, _ = catalog(products=600)
    named = [*tree.paths[:8], ("department 2", "Other")]
    scores = fit_auditor(products, taxonomy_from_paths(named), SETTINGS).score(products)
    assert (scores.best_leaf_NK != 8).all()
    assert np.isnan(scores.p_wrong_N[products.leaf_N == 8]).all()
    assert not np.isnan(scores.p_wrong_N[products.leaf_N != 8]).any()
    assert (scores.score_N[products.leaf_N == 8] == -np.inf).all()


def test_decisions_are_learnt_from_and_correct_the_probabilities():
    products, tree, wrong = catalog(products=900)
    true = np.array([int(text.split()[1][4:]) for text in products.text_N], np.int32)
    judged = np.concatenate([np.flatnonzero(wrong), np.flatnonzero(~wrong)[:100]])
    plain = fit_auditor(products, tree, SETTINGS).score(products)
    auditor = fit_auditor(products, tree, SETTINGS, DecidedLabels(products.key_N[judged], true[judged]))
    told = auditor.score(products)

    def loss(p: np.ndarray) -> float:
        p = p.clip(1e-4, 1 - 1e-4)
        return float(-np.log(np.where(wrong, p, 1 - p))[judged].mean())

    assert loss(told.p_wrong_N) < loss(plain.p_wrong_N)


def test_an_auditor_refuses_codes_of_other_flavors(scored):
    products, auditor, _, _ = scored
    with pytest.raises(ValueError, match="fitted to \\('precision',\\)"):
        auditor.score(replace(products, codes=()))
