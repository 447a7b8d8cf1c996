"""How many steps a training has: epochs of the catalog, within bounds, unless a recipe sets their number."""

from pathlib import Path

import pytest

from shelfcode.quantization.settings import TrainingSettings
from shelfcode.recipe_file import load_recipe

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"


@pytest.mark.parametrize(
    ("products", "steps"), [(2, 200), (5_000, 200), (49_688, 971), (91_000, 1778), (200_000, 3907), (1_000_000, 10_000)]
)
@pytest.mark.parametrize("flavor", ["precision", "discovery"])
def test_steps_follow_the_catalog_within_bounds(flavor: str, products: int, steps: int) -> None:
    """49,688 products are the catalog that the recipes were tuned on."""
    assert load_recipe(flavor, FLAVORS).training.steps_for(products) == steps


def test_a_smaller_batch_makes_more_steps_of_an_epoch() -> None:
    assert TrainingSettings(batch_size=256, steps_min=1).steps_for(10_000) == 782


def test_a_recipe_may_set_the_number() -> None:
    assert TrainingSettings(steps=7).steps_for(10**8) == 7


def test_bounds_that_leave_no_number_of_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps_min 200 is more than steps_max 10"):
        TrainingSettings(steps_max=10)
