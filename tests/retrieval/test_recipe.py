"""The recipe of a retriever."""

from datetime import datetime
from pathlib import Path

import pytest
from small_log import small_recipe

from shelfcode.errors import ShelfcodeError
from shelfcode.recipe_file import validate_settings
from shelfcode.retrieval.recipe import RetrieverRecipe, load_retriever_recipe
from shelfcode.settings import deciding

FOLDER = Path(__file__).parents[2] / "jobs" / "retrievers"


def test_the_recipes_that_are_delivered_are_valid_and_can_be_overridden() -> None:
    names = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    assert "small" in names
    for name in names:
        load_retriever_recipe(name, FOLDER)
    overrides = ["training.seed=7", "prompt.segments=[hour]", "split.validation_from=2024-03-01", "generator.worth.never_sold=7"]
    recipe = load_retriever_recipe("small", FOLDER, overrides)
    assert (recipe.training.seed, recipe.prompt.segments, recipe.generator.worth.never_sold) == (7, ["hour"], 7)
    assert recipe.split.validation_from == datetime(2024, 3, 1)
    assert recipe.model.width == load_retriever_recipe(str(FOLDER / "small.yaml"), Path()).model.width


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": {"width": 20, "heads": 4}}, "width 20 has no even shares for 4 heads"),
        ({"training": {"sessions_per_batch": 10, "workers": 4}}, "sessions_per_batch 10 has no equal shares for 4 workers"),
        ({"model": {"depth": 2}}, "unknown field 'model.depth'"),
        ({"prompt": {"segment_droput": 0.1}}, "'prompt.segment_dropout'"),
        ({"prompt": {"token_dropout": 1.0}}, "prompt.token_dropout"),
        ({"prompt": {"segments": ["weather"]}}, "prompt.segments.0"),
        ({"prompt": {"masked_share": 0}}, "prompt.masked_share"),
        ({"split": {"kind": "random"}}, "split.kind"),
        ({"scoring": {"objective": "both"}}, "scoring.objective"),
        ({"scoring": {"worth": {"new_to_user": 0.5}}}, "scoring.worth.new_to_user"),
        ({"scoring": {"learning_rate": 0}}, "scoring.learning_rate"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ShelfcodeError, match="recipe of a test") as refused:
        validate_settings(RetrieverRecipe, fields, "recipe of a test")
    assert told in str(refused.value)


def test_a_recipe_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ShelfcodeError, match=r"--recipe large: no file .*there are .*small"):
        load_retriever_recipe("large", FOLDER)


def test_a_recipe_survives_a_card_and_workers_do_not_decide_what_comes_of_it() -> None:
    recipe = small_recipe(split={"test_from": "2024-03-01T00:00:00Z"}, training={"workers": 2, "sessions_per_batch": 8})
    assert validate_settings(RetrieverRecipe, recipe.model_dump(mode="json"), "card") == recipe
    alone = small_recipe(split={"test_from": "2024-03-01T00:00:00Z"}, training={"workers": 1, "sessions_per_batch": 8})
    faster = small_recipe(split={"test_from": "2024-03-01T00:00:00Z"}, training={"sessions_per_batch": 8, "epochs": 3})
    assert deciding(recipe) == deciding(alone) != deciding(faster)
