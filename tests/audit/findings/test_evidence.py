"""Evidence, and the sentence that people read."""

from dataclasses import replace

import numpy as np
import pytest

from shelfcode.audit.findings.evidence import Nearest, Witnesses, cluster_fit, evidence_of, fault_of, reason_of
from shelfcode.audit.findings.issues import Suspicion
from shelfcode.audit.findings.label_counts import PrefixLabels

CANDY, SPORTS, OTHER, BABY, MILK, OAT = range(6)
PATHS = [("Snacks", "Candy"), ("Health", "Sports Nutrition"), ("Snacks", "Other"), ("Baby", "Candy"), ("Milk",), ("Milk", "Oat Milk")]
AROUND = PrefixLabels("6_19_32", 3, 212, ((SPORTS, 203), (BABY, 9)))
FOUND = Suspicion(0, CANDY, "wrong_branch", (), 0.9, 2.5, ((SPORTS, 0.8),), None, 0.9)


def near(*leaves: int) -> tuple[Nearest, ...]:
    return tuple(Nearest(f"i{place}", "Peanut Bar", leaf, 0.9 - place / 10) for place, leaf in enumerate(leaves))


SEEN = Witnesses(AROUND, near(*[SPORTS] * 5), (("words", 0.1, SPORTS, 0.8), ("codes", 0.0, SPORTS, 0.9)), 0.9, 0.4, 6, ("brand",))


def test_a_sentence_for_each_issue() -> None:
    said = reason_of(FOUND, SEEN, PATHS)
    assert (
        said == "Of 212 other products under 6_19_32, 203 are Sports Nutrition and none Snacks > Candy; its five nearest are all "
        "Sports Nutrition."
    )
    around = PrefixLabels("6", 1, 90, ((OAT, 20), (SPORTS, 10), (CANDY, 1)))
    divided = replace(SEEN, nearest=near(CANDY, SPORTS, SPORTS), around=around)
    assert reason_of(FOUND, divided, PATHS) == (
        "Of its three nearest, two are Sports Nutrition and one Candy; of 90 other products under 6, 10 are Sports Nutrition and 1 Candy."
    )
    conflict = replace(FOUND, issue="conflict", other=(SPORTS, 2, 1))
    assert reason_of(conflict, SEEN, PATHS).startswith(
        "Two of the same product are filed under Sports Nutrition, one under Snacks > Candy; of 212 other"
    )
    sparse = replace(FOUND, issue="sparse_text")
    assert reason_of(sparse, replace(SEEN, words=2), PATHS).startswith("Its text is two words and no brand: too little to say; of 212")
    assert reason_of(replace(FOUND, issue="outlier"), SEEN, PATHS).startswith(
        "It fits nowhere: the nearest product has a cosine of only 0.90; of 212"
    )
    shallow = Suspicion(0, MILK, "too_shallow", (), 0.9, 2.5, ((OAT, 0.8),), None, 0.9)
    assert reason_of(shallow, replace(SEEN, around=PrefixLabels("3", 1, 7, ((OAT, 7),)), nearest=near(OAT)), PATHS) == (
        "Milk goes on to Oat Milk; all 7 other products under 3 are Oat Milk; its nearest is Oat Milk."
    )
    placeholder = replace(FOUND, given=OTHER, issue="placeholder")
    assert reason_of(placeholder, SEEN, PATHS).startswith("Other says nothing; of 212 other products under 6_19_32, 203 are Sports")
    nothing = replace(SEEN, around=PrefixLabels("", 0, 0, ()), nearest=())
    assert reason_of(FOUND, nothing, PATHS) == "Most views would file it elsewhere than under Candy."


def test_which_of_the_two_is_wrong() -> None:
    assert fault_of(FOUND, SEEN) == "label"
    assert fault_of(replace(FOUND, p_wrong=0.2), SEEN) == "ambiguous"
    stands_by = replace(
        SEEN, views=(("words", 0.9, CANDY, 0.9), ("neighbours", 0.8, CANDY, 0.8), ("codes", 0.0, SPORTS, 0.9)), cluster_fit=0.2
    )
    assert fault_of(replace(FOUND, p_wrong=0.2), stands_by) == "code"
    assert fault_of(replace(FOUND, p_wrong=0.2), replace(stands_by, cluster_fit=0.9, margin=0.5)) == "ambiguous"


def test_evidence_names_paths_and_not_numbers() -> None:
    evidence = evidence_of(FOUND, SEEN, PATHS)
    assert evidence["prefix_labels"][0] == {"path": PATHS[SPORTS], "products": 203}
    assert evidence["prefix_given"] == 0
    assert evidence["views"][0] == {"view": "words", "given_p": 0.1, "path": PATHS[SPORTS], "p": 0.8}
    assert evidence["nearest"][0]["path"] == PATHS[SPORTS]
    assert evidence["missing"] == ["brand"]


def test_a_product_whose_nearest_have_another_first_codeword_does_not_fit_its_cluster() -> None:
    codes = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3]], np.uint16)
    near_codes = np.array([[[1, 2, 9], [1, 2, 3]], [[1, 9, 9], [8, 2, 3]], [[1, 2, 3], [1, 2, 3]]], np.uint16)
    there = np.array([[True, True], [True, True], [False, False]])
    assert cluster_fit(codes, near_codes, there).tolist() == pytest.approx([1.0, 0.25, 0.5])
