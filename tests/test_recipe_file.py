"""Recipes as files and flags: what is set wins, and what is wrong is told by its name, whatever the hardware."""

from pathlib import Path
from typing import Any

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.recipe_file import apply_overrides, leaves_hardware_open, load_recipe

FLAVORS = Path(__file__).parents[1] / "jobs" / "flavors"


def refusal(*overrides: str, flavor: str = "precision", gpu: bool = False) -> str:
    with pytest.raises(ShelfcodeError) as raised:
        load_recipe(flavor, FLAVORS, overrides, gpu)
    return str(raised.value)


def value_of(recipe: Recipe, field: str) -> Any:
    value: Any = recipe
    for name in field.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


WITH_BOTH = """
name: mine
encoder:
  model: acme/large
  dimensions: 512
  gpus_per_actor: 0.5
  engine_arguments: {gpu_memory_utilization: 0.3}
without_gpu:
  encoder.model: package:small
  encoder.dimensions: null
  encoder.gpus_per_actor: 0
  encoder.engine_arguments: {}
"""


@pytest.fixture
def both(tmp_path: Path) -> str:
    """A recipe with values for both kinds of hardware."""
    (tmp_path / "both.yaml").write_text(WITH_BOTH)
    return str(tmp_path / "both.yaml")


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("hardware", ["auto", "gpu", "cpu"])
def test_hardware_is_what_was_asked_for_and_else_what_is_there(both: str, gpu: bool, hardware: str) -> None:
    recipe = load_recipe(both, FLAVORS, [f"hardware={hardware}"], gpu)
    wanted = hardware if hardware != "auto" else "gpu" if gpu else "cpu"
    assert recipe.hardware == wanted
    assert recipe.encoder.model == {"gpu": "acme/large", "cpu": "package:small"}[wanted]
    assert recipe.encoder.dimensions == {"gpu": 512, "cpu": None}[wanted]
    assert recipe.encoder.gpus_per_actor == {"gpu": 0.5, "cpu": 0}[wanted]


def test_hardware_is_open_until_somebody_says_it(both: str, tmp_path: Path) -> None:
    assert leaves_hardware_open(both, FLAVORS)
    assert leaves_hardware_open(both, FLAVORS, ["hardware=auto"])
    assert not leaves_hardware_open(both, FLAVORS, ["hardware=cpu"])
    (tmp_path / "told.yaml").write_text(WITH_BOTH + "hardware: gpu\n")
    assert not leaves_hardware_open(str(tmp_path / "told.yaml"), FLAVORS)


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize(
    ("override", "field", "expected"),
    [
        ("encoder.model=acme/other", "encoder.model", "acme/other"),
        ("encoder.dimensions=64", "encoder.dimensions", 64),
        ("encoder.gpus_per_actor=0.25", "encoder.gpus_per_actor", 0.25),
        ("encoder.engine_arguments.max_num_seqs=4", "encoder.engine_arguments.max_num_seqs", 4),
        ("encoder.engine_arguments={max_num_seqs: 4}", "encoder.engine_arguments", {"max_num_seqs": 4}),
        ("encoder={model: acme/other}", "encoder.model", "acme/other"),
    ],
)
def test_what_is_set_wins_over_the_recipe_and_over_its_values_without_a_gpu(
    both: str, override: str, field: str, expected: object, gpu: bool
) -> None:
    assert value_of(load_recipe(both, FLAVORS, [override], gpu), field) == expected


def test_values_without_a_gpu_replace_a_whole_mapping_and_leave_all_other_fields(both: str) -> None:
    laptop, cluster = (load_recipe(both, FLAVORS, ["encoder.max_tokens=7"], gpu) for gpu in (False, True))
    assert laptop.encoder.engine_arguments == {}
    assert cluster.encoder.engine_arguments == {"gpu_memory_utilization": 0.3}
    changed = {name for name, value in cluster.encoder if getattr(laptop.encoder, name) != value}
    assert changed == {"model", "dimensions", "gpus_per_actor", "engine_arguments"}
    assert laptop.encoder.max_tokens == 7


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("encoder.modell: x", "unknown field 'encoder.modell'; the nearest known one is 'encoder.model'"),
        ("training.batch: 5", "unknown field 'training.batch'"),
        ("encoder.device: tpu", "encoder.device"),
        ("encoder.max_tokens: 0", "encoder.max_tokens"),
        ("quantizer.codebook_sizes: [8, 8, 70000]", "quantizer.codebook_sizes.2"),
        ("training.products_max: 5", "training.products_max 5 is less than the largest codebook"),
        ("name.first: x", "without_gpu name.first=x: 'name' has no fields of its own"),
        ("encoder: {model: x}", "fields by their full names, such as 'encoder.model: NAME', and not encoder"),
        ("quantizer.contrastive: {}", "and not quantizer.contrastive"),
        ("hardware: cpu", "and not hardware"),
    ],
)
def test_what_is_wrong_in_the_values_without_a_gpu_is_told_on_any_hardware(tmp_path: Path, line: str, told: str, gpu: bool) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nwithout_gpu:\n  {line}\n")
    with pytest.raises(ShelfcodeError) as raised:
        load_recipe(str(path), FLAVORS, gpu=gpu)
    assert told in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_setting_that_suits_this_hardware_alone_is_not_held_against_the_other() -> None:
    """Four engines are fine on a cluster, although the recipe has one at the most on a laptop."""
    assert load_recipe("discovery", FLAVORS, ["extractor.replicas_min=4"], gpu=True).extractor.replicas_min == 4
    assert "replicas_max 1 is less than replicas_min 4" in refusal("extractor.replicas_min=4", flavor="discovery")


def test_values_without_a_gpu_are_not_set_but_the_fields_themselves() -> None:
    for override in ("without_gpu={}", "without_gpu.encoder.model=x"):
        assert f"--set {override}: set the field itself" in refusal(override)


def test_hardware_that_there_is_not_is_refused() -> None:
    assert "hardware: " in refusal("hardware=tpu")
    assert "'tpu'" in refusal("hardware=tpu", gpu=True)


@pytest.mark.parametrize(
    ("override", "field", "expected"),
    [
        ("training.seed=7", "training.seed", 7),
        ("training.learning_rate=1e-4", "training.learning_rate", 1e-4),
        ("quantizer.contrastive_weight=0", "quantizer.contrastive_weight", 0.0),
        ("training.use_gpu=true", "training.use_gpu", True),
        ("encoder.device=cpu", "encoder.device", "cpu"),
        ("encoder.prompt=", "encoder.prompt", ""),
        ("encoder.prompt='passage: '", "encoder.prompt", "passage: "),
        ("encoder.dimensions=null", "encoder.dimensions", None),
        ("encoder.dimensions=256", "encoder.dimensions", 256),
        ("encoder.model=intfloat/e5-small", "encoder.model", "intfloat/e5-small"),
        ("quantizer.contrastive.same_leaf=0.5", "quantizer.contrastive.same_leaf", 0.5),
        ("text_view.columns=[title, brand]", "text_view.columns", ["title", "brand"]),
        ("catalog.columns.title=product_name", "catalog.columns", {"title": "product_name"}),
        ("catalog.category_separator=' > '", "catalog.category_separator", " > "),
        ("catalog.no_leaf_names=[]", "catalog.no_leaf_names", []),
        ("catalog.no_leaf_names=[Diverses, n/a]", "catalog.no_leaf_names", ["Diverses", "n/a"]),
        ("quantizer.neighbourhood.rounds=[0, 0, 0]", "quantizer.neighbourhood.rounds", [0, 0, 0]),
        ("description=a = b", "description", "a = b"),
    ],
)
def test_set_gives_a_field_the_value_that_was_typed(override: str, field: str, expected: object) -> None:
    value = value_of(load_recipe("precision", FLAVORS, ["encoder.prompt=auto", override]), field)
    assert value == expected
    assert type(value) is type(expected)


def test_the_last_of_two_overrides_counts_and_others_stay() -> None:
    recipe = load_recipe("precision", FLAVORS, ["training.steps=5", "training.seed=3", "training.steps=9"])
    assert (recipe.training.steps, recipe.training.seed, recipe.training.batch_size) == (9, 3, 1024)


def test_overriding_leaves_the_callers_fields_as_they_were() -> None:
    fields = {"name": "mine", "training": {"seed": 1}}
    assert apply_overrides(fields, ["training.seed=2", "encoder.device=cpu"])["training"] == {"seed": 2}
    assert fields == {"name": "mine", "training": {"seed": 1}}


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("encoder.modell=x", "encoder.model"),
        ("quantizer.contrastive_weigth=0.1", "quantizer.contrastive_weight"),
        ("training.sede=1", "training.seed"),
        ("seed=1", "training.seed"),
        ("sed=1", "training.seed"),
        ("codebook_size=[1, 2]", "quantizer.codebook_sizes"),
        ("training.codebook_sizes=[1, 2]", "quantizer.codebook_sizes"),
        ("stabilty=free", "stability"),
    ],
)
def test_a_mistyped_field_is_answered_with_the_one_that_was_meant(override: str, nearest: str) -> None:
    message = refusal(override)
    assert f"unknown field {override.partition('=')[0]!r}" in message
    assert f"nearest known one is {nearest!r}" in message


def test_a_mapping_for_an_unknown_catalog_column_lists_those_there_are() -> None:
    message = refusal("catalog.columns.titel=name")
    assert "titel" in message
    assert "'title'" in message


def test_every_wrong_field_is_told_at_once() -> None:
    message = refusal("training.seed=-1", "training.steps=0", "encoder.modell=x")
    assert all(name in message for name in ("training.seed", "training.steps", "encoder.modell"))


def test_an_unknown_flavor_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ShelfcodeError, match=r"--flavor precison: .*there are dietary, discovery, precision"):
        load_recipe("precison", FLAVORS)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"mine\.yaml"):
        load_recipe(str(tmp_path / "mine.yaml"), FLAVORS)


NO_RECIPES = [("name: [", "is not YAML"), ("- name", "holds no recipe"), ("", "holds no recipe"), ("{}", "name")]


@pytest.mark.parametrize(("text", "message"), NO_RECIPES)
def test_a_file_that_is_no_recipe_is_told_by_its_path(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ShelfcodeError, match=message) as raised:
        load_recipe(str(path), FLAVORS)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("override", ["training.seed", "=3", "training.seed:3", "name.first=1", "training.steps=[1"])
def test_an_override_that_cannot_be_read_is_quoted(override: str) -> None:
    assert f"--set {override}" in refusal(override)
