"""Settings of extraction that a recipe could get wrong without being told elsewhere."""

from typing import Any

import pytest
from pydantic import ValidationError

from shelfcode.attributes.settings import QUOTES_COLUMN, ExtractorSettings

MOOD: dict[str, Any] = {"description": "how it is praised"}


@pytest.mark.parametrize("values", [[], None])
def test_a_closed_list_that_was_written_without_values_is_refused_by_name(values: list[str] | None) -> None:
    with pytest.raises(ValidationError, match=r"attributes\.mood\.values is an empty list.* leave `values` out"):
        ExtractorSettings.model_validate({"attributes": {"mood": {**MOOD, "values": values}}})


def test_an_open_list_is_one_that_was_not_written_and_comes_back_from_a_stored_recipe() -> None:
    settings = ExtractorSettings.model_validate({"attributes": {"mood": MOOD}})
    assert settings.attributes["mood"].values == []
    assert ExtractorSettings.model_validate(settings.model_dump(mode="json")) == settings
    assert ExtractorSettings.model_validate_json(settings.model_dump_json()) == settings
    earlier = settings.model_dump(mode="json", exclude={"quotes": True, "attributes": {"mood": {"stated"}}})
    assert ExtractorSettings.model_validate(earlier) == settings


def test_the_name_of_the_quotes_column_is_taken() -> None:
    with pytest.raises(ValidationError, match=r"none of item_id, .*quotes"):
        ExtractorSettings.model_validate({"attributes": {QUOTES_COLUMN: MOOD}})


@pytest.mark.parametrize(
    ("changed", "asks"),
    [({}, True), ({"quotes": False}, False), ({"engine": "rules"}, False), ({"model": "workspace:extractors/shop@v0001"}, False)],
)
def test_a_model_is_asked_for_quotes_unless_it_was_taught_answers_without(changed: dict[str, Any], asks: bool) -> None:
    assert ExtractorSettings.model_validate({"engine": "vllm", "model": "some/model", "quotes": True, **changed}).asks_for_quotes is asks
    assert not ExtractorSettings(engine="vllm").asks_for_quotes
