"""A log's own column names are mapped; what is no column of interactions is refused with the names of those that are."""

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.settings import INTERACTION_COLUMNS, InteractionSettings
from shelfcode.recipe_file import validate_settings
from shelfcode.settings import deciding


def test_a_column_that_interactions_do_not_have_is_refused_with_those_they_have() -> None:
    with pytest.raises(ShelfcodeError) as error:
        validate_settings(InteractionSettings, {"columns": {"basket": "basket_id"}}, "interactions")
    assert all(f"'{column}'" in str(error.value) for column in INTERACTION_COLUMNS)


def test_products_are_in_one_column_and_names_lose_the_blanks_around_them() -> None:
    assert InteractionSettings(columns={"user_id": " household_id "}).columns == {"user_id": "household_id"}
    with pytest.raises(ShelfcodeError, match="not both"):
        validate_settings(InteractionSettings, {"columns": {"item_ids": "a", "item_id": "b"}}, "interactions")


def test_what_is_only_allowed_decides_nothing_and_what_changes_sessions_does() -> None:
    of = deciding(InteractionSettings())
    assert set(of) == {"columns", "ordered", "events", "events_per_user_max"}
    assert deciding(InteractionSettings(unknown_products_max=0.5)) == of != deciding(InteractionSettings(ordered=False))
