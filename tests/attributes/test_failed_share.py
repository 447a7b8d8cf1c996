"""A job fails where a model left too much to the rules, and says how much, why, and what to do."""

from collections import Counter

import pytest

from shelfcode.attributes.failed_share import FEW_TEXTS, LeftToRules, check_failed_share
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError

LLM = ExtractorSettings(engine="vllm", model="some/model")


def left(products: int, of: int = 1000, new: int = 0, new_of: int = 0) -> LeftToRules:
    return LeftToRules(products, of, new, new_of)


def test_up_to_the_limit_the_rules_may_fill_in_and_not_beyond() -> None:
    check_failed_share(LLM, left(50), Counter({"engine error: x": 50}))
    with pytest.raises(ShelfcodeError, match=r"51 of 1,000 products of the catalog \(5\.1%\)"):
        check_failed_share(LLM, left(51), Counter({"engine error: x": 51}))
    strict = LLM.model_copy(update={"max_failed_share": 0.0})
    check_failed_share(strict, left(0), Counter())
    with pytest.raises(ShelfcodeError):
        check_failed_share(strict, left(1), Counter({"engine error: x": 1}))


def test_a_night_whose_new_texts_all_fail_is_stopped_however_large_the_catalog_and_a_few_texts_are_not() -> None:
    with pytest.raises(ShelfcodeError, match=r"90 of 100 new texts \(90\.0%\)"):
        check_failed_share(LLM, left(90, 10**6, new=90, new_of=FEW_TEXTS), Counter())
    check_failed_share(LLM, left(2, 10**6, new=2, new_of=3), Counter())


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("invalid answer: cut off at the limit of tokens", "extractor.retry_output_tokens"),
        ("invalid answer: key_ingredients: too long", "Choose a model that can hold to the schema"),
        ("engine error: ValueError: prompt too long", "See the engine's log"),
    ],
)
def test_the_message_has_the_most_frequent_reasons_and_what_to_do(reason: str, advice: str) -> None:
    failures = Counter({reason: 500, "other: a": 30, "other: b": 20, "other: c": 10, "other: d": 5})
    with pytest.raises(ShelfcodeError) as stopped:
        check_failed_share(LLM, left(565), failures)
    message = str(stopped.value)
    assert f"Reasons: 500 x {reason}; 30 x other: a; 20 x other: b; and 2 others." in message
    assert advice in message
    assert "start the same command again, and only what is missing is asked for" in message
    assert "--set extractor.max_failed_share=0.565" in message
