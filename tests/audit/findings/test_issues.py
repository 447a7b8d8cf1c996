"""Which products are findings, and of which issue."""

from collections.abc import Sequence

import numpy as np
import pytest
from scored_products import scored

from shelfcode.audit.findings.issues import Suspicion, find_suspicions
from shelfcode.audit.findings.scored import ScoredProducts
from shelfcode.audit.findings.tally import take_tally
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.taxonomy import NO_LEAF, taxonomy_from_paths

CANDY, CHIPS, SPORTS, MILK, OAT, OTHER = range(6)
TREE = taxonomy_from_paths([["Snacks", "Candy"], ["Snacks", "Chips"], ["Health", "Sports"], ["Dairy", "Milk"], ["Dairy", "Milk", "Oat"],
                            ["Dairy", "Other"]])  # fmt: skip
SAYS = np.array([True] * 5 + [False])


def found(products: ScoredProducts, given: Sequence[int], fitted: Sequence[int] = (), **settings: object) -> list[Suspicion]:
    leaf_N = np.array(given, np.int32)
    of = AuditSettings(share_min=0, **settings)  # type: ignore[arg-type]
    label_N = np.where((leaf_N >= 0) & SAYS[leaf_N], leaf_N, NO_LEAF).astype(np.int32)
    tally = take_tally([products], label_N, len(TREE.paths), of)
    return find_suspicions(products, leaf_N, label_N, SAYS, np.array(fitted, np.int32), TREE, tally, of)


def test_branch_leaf_depth_and_placeholder() -> None:
    best = [
        [(SPORTS, 0.8), (CANDY, 0.1)], [(CHIPS, 0.7), (CANDY, 0.2)], [(OAT, 0.7), (MILK, 0.3)], [(OAT, 0.9), (MILK, 0.1)],
        [(CANDY, 0.9), (CHIPS, 0.1)], [(CANDY, 0.9), (CHIPS, 0.1)],
    ]  # fmt: skip
    p, given_p = [0.9, 0.8, 0.02, np.nan, np.nan, 0.01], [0.1, 0.2, 0.3, 0.0, 0.0, 0.9]
    suspicions = found(scored(p, given_p, best), [CANDY, CANDY, MILK, OTHER, NO_LEAF, CANDY])
    assert [(each.row, each.issue, each.suggested[0][0]) for each in suspicions] == [
        (0, "wrong_branch", SPORTS), (1, "wrong_leaf", CHIPS), (2, "too_shallow", OAT), (3, "placeholder", OAT),
    ]  # fmt: skip
    assert suspicions[0].suggested[0][1] == pytest.approx(0.9 * 0.8 / 0.9)
    assert suspicions[3].p_wrong == pytest.approx(0.9)
    assert all(CANDY not in dict(each.suggested) for each in suspicions[:2])


def test_paths_above_the_given_one_are_not_suggested() -> None:
    (suspicion,) = found(scored([0.5], [0.2], [[(MILK, 0.7), (CANDY, 0.1)]]), [OAT])
    assert [leaf for leaf, _ in suspicion.suggested] == [CANDY]
    assert suspicion.issue == "wrong_branch"


def test_a_sibling_of_the_wrong_label_is_likelier_to_be_the_right_one() -> None:
    (suspicion,) = found(scored([0.5], [0.2], [[(SPORTS, 0.4), (CHIPS, 0.1), (CANDY, 0.2)]]), [CANDY])
    everything = 0.4 + 8 * 0.1 + 0.3  # .3 is what other leaves have
    assert [leaf for leaf, _ in suspicion.suggested] == [CHIPS, SPORTS]
    assert [p for _, p in suspicion.suggested] == pytest.approx([0.5 * 0.8 / everything, 0.5 * 0.4 / everything])
    assert suspicion.issue == "wrong_leaf"


def test_of_two_labels_of_one_product_the_less_likely_one_is_a_conflict() -> None:
    best = [[(CHIPS, 0.6), (CANDY, 0.4)], [(CHIPS, 0.6), (CANDY, 0.4)], [(CHIPS, 0.9), (CANDY, 0.0)]]
    products = scored([0.01, 0.01, 0.01], [0.4, 0.6, 0.9], best, titles=[5, 5, 6])
    (suspicion,) = found(products, [CANDY, CHIPS, CHIPS])
    assert (suspicion.row, suspicion.issue, suspicion.other) == (0, "conflict", (CHIPS, 1, 0))
    assert "wrong_leaf" in suspicion.also
    near = scored([0.01], [0.4], best[:1], [[(0, 0.99), (1, 0.5)]])
    (suspicion,) = found(near, [CANDY], fitted=[CHIPS, SPORTS])
    assert suspicion.issue == "conflict"
    assert found(scored([0.01], [0.4], best[:1], [[(0, 0.9)]]), [CANDY], fitted=[CHIPS]) == []


def test_what_says_too_little_or_fits_nowhere_is_no_wrong_label() -> None:
    best = [[(SPORTS, 0.2), (CANDY, 0.1)]] * 2 + [[(SPORTS, 0.9), (CANDY, 0.1)]]
    near = [[(0, 0.9), (0, 0.9)], [(0, 0.1), (1, 0.1)], [(0, 0.9), (0, 0.9)]]
    suspicions = found(scored([0.6, 0.6, 0.9], [0.1] * 3, best, near, words=[2, 9, 2]), [CANDY] * 3, fitted=[SPORTS, CHIPS])
    assert [(each.issue, each.also) for each in suspicions] == [
        ("sparse_text", ("wrong_branch",)), ("outlier", ("wrong_branch",)), ("wrong_branch", ()),
    ]  # fmt: skip


def test_what_is_far_from_products_of_one_kind_is_none_that_fits_nowhere() -> None:
    far = [[(0, 0.1), (0, 0.1), (1, 0.1)]]
    (suspicion,) = found(scored([0.6], [0.1], [[(SPORTS, 0.2), (CANDY, 0.1)]], far), [CANDY], fitted=[SPORTS, CHIPS])
    assert (suspicion.issue, suspicion.also) == ("wrong_branch", ())


def test_the_likeliest_wrong_labels_are_findings_however_unlikely() -> None:
    best = [[(CHIPS, 0.1), (SPORTS, 0.05)]] * 20
    products = scored([n / 1000 for n in range(20)], [0.8] * 20, best)
    tally = take_tally([products], np.zeros(20, np.int32), len(TREE.paths), AuditSettings(share_min=0.1))
    suspicions = find_suspicions(
        products, np.zeros(20, np.int32), np.zeros(20, np.int32), SAYS, np.empty(0, np.int32), TREE, tally, AuditSettings()
    )
    assert [each.row for each in suspicions] == [18, 19]


def test_what_sells_more_comes_first_and_equal_ones_go_by_their_score() -> None:
    best = [[(CHIPS, 0.6), (SPORTS, 0.1)]] * 3
    plain = found(scored([0.6, 0.6, 0.7], [0.3] * 3, best), [CANDY] * 3)
    assert plain[2].priority > plain[0].priority == plain[1].priority
    sold = found(scored([0.6, 0.6, 0.7], [0.3] * 3, best, popularity=[1000.0, np.nan, 0.0]), [CANDY] * 3)
    assert sold[0].priority > sold[2].priority > sold[1].priority
