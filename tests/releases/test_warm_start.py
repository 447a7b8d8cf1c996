"""What a new release takes over: the recipe's stability asks, and what it has in common with the current release decides."""

import pytest

from shelfcode.embedding.encoder import encoder_name
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest
from shelfcode.releases.warm_start import Start, choose_start

SIZES = {"codebook_sizes": [8, 16, 32], "hidden_sizes": [16], "latent_size": 8}
FOLDER = "releases/small/v0003"


def recipe_with(stability: str, encoder: dict[str, object] | None = None, training: dict[str, object] | None = None, **changes) -> Recipe:
    fields = {"name": "small", "stability": stability, "quantizer": {**SIZES, **changes}, "training": training or {}}
    return validate_recipe({**fields, "encoder": encoder or {}}, "of a test")


def embeddings_of(recipe: Recipe) -> str:
    return f"embeddings/{encoder_name(recipe.encoder, recipe.text_view)}"


@pytest.fixture
def parent() -> Manifest:
    recipe = recipe_with("free")
    return Manifest.model_validate({
        "flavor": "small", "version": "v0003", "created": "", "recipe": recipe.model_dump(mode="json"), "parent": "small@v0002",
        "catalog": {"snapshot": "catalog/1", "source": "shop.parquet", "fingerprint": "f"}, "embeddings": embeddings_of(recipe),
        "rows": {"read": 1, "coded": 1, "rejected": 0}, "metrics": {}, "libraries": {},
    })  # fmt: skip


def chosen(recipe: Recipe, parent: Manifest | None) -> Start:
    return choose_start(recipe, embeddings_of(recipe), parent)


def test_free_takes_nothing_over_and_says_nothing(parent: Manifest) -> None:
    for each in (None, parent):
        assert chosen(recipe_with("free"), each) == Start(None, None, "")


@pytest.mark.parametrize("stability", ["warm", "frozen_coarse"])
def test_training_starts_from_a_release_of_the_same_shape_and_keeps_its_codes(parent: Manifest, stability: str) -> None:
    start = chosen(recipe_with(stability), parent)
    assert (start.weights, start.codes) == (FOLDER, FOLDER)
    assert start.message == f"stability {stability}: training starts from small@v0003"


def test_settings_that_leave_the_shape_alone_may_change(parent: Manifest) -> None:
    changed = recipe_with("frozen_coarse", training={"steps": 7, "seed": 9}, contrastive_weight=0.5, commitment_weight=2.0)
    assert chosen(changed, parent).weights == FOLDER


CHANGES = [
    ({"codebook_sizes": [8, 16, 33]}, "quantizer.codebook_sizes"),
    ({"codebook_sizes": [8, 16]}, "quantizer.codebook_sizes"),
    ({"hidden_sizes": [17]}, "quantizer.hidden_sizes"),
    ({"latent_size": 9}, "quantizer.latent_size"),
    ({"encoder": {"dimensions": 100}}, "the encoder or the text view"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_another_shape_or_encoder_starts_afresh_and_keeps_the_names(parent: Manifest, change: dict, named: str) -> None:
    start = chosen(recipe_with("warm", **change), parent)
    assert (start.weights, start.codes) == (None, FOLDER)
    assert f"{named} changed since small@v0003; training starts afresh" in start.message


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_frozen_levels_are_refused_where_the_release_has_other_settings(parent: Manifest, change: dict, named: str) -> None:
    with pytest.raises(
        ShelfcodeError, match=f"stability frozen_coarse: small@v0003 has other settings .*{named}.* train with free or warm"
    ):
        chosen(recipe_with("frozen_coarse", **change), parent)


def test_all_that_differs_is_named(parent: Manifest) -> None:
    told = chosen(recipe_with("warm", latent_size=9, hidden_sizes=[17], encoder={"dimensions": 100}), parent).message
    assert "quantizer.hidden_sizes, quantizer.latent_size, the encoder or the text view changed" in told


def test_without_a_release_warm_starts_afresh_and_frozen_levels_are_refused() -> None:
    start = chosen(recipe_with("warm"), None)
    assert (start.weights, start.codes) == (None, None)
    assert "no release to start from; training starts afresh" in start.message
    with pytest.raises(ShelfcodeError, match="small has no current release whose first levels could be kept"):
        chosen(recipe_with("frozen_coarse"), None)
