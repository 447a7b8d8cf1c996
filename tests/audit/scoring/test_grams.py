import numpy as np

from shelfcode.audit.scoring.grams import hashed_grams


def grams_of(text: str) -> set[int]:
    return set(hashed_grams([text], 2**20, 200).bucket_G.tolist())


def test_case_and_punctuation_change_nothing_and_words_do():
    assert grams_of("Oat Milk, 1L") == grams_of("oat  milk 1l")
    assert grams_of("oat milk") != grams_of("milk oat")
    assert grams_of("oat milk") & grams_of("oat flour")


def test_what_a_text_gives_does_not_depend_on_its_neighbours():
    texts = ["Oat milk", "", "!!", "Käse aus Öhringen", "milk"]
    grams = hashed_grams(texts, 2**20, 200)
    assert len(grams) == len(texts)
    for row, text in enumerate(texts):
        own = grams.bucket_G[grams.start_B[row] : grams.start_B[row + 1]]
        assert set(own.tolist()) == grams_of(text)
        assert len(np.unique(own)) == len(own)
    assert grams.start_B[1] == grams.start_B[3]


def test_nothing_but_gaps_gives_no_grams():
    assert hashed_grams(["", " - "], 64, 200).start_B.tolist() == [0, 0, 0]


def test_only_the_beginning_is_read():
    assert (hashed_grams(["oat milk " + "x" * 50], 2**20, 8).bucket_G == hashed_grams(["oat milk"], 2**20, 8).bucket_G).all()
