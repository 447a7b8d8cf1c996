"""A recipe that is wrong is refused with the field's name, and one that is right says what its author meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe, apply_overrides, field_names, load_recipe, validate_recipe

FLAVORS = Path(__file__).parents[1] / "jobs" / "flavors"


def refusal(*overrides: str) -> str:
    with pytest.raises(ShelfcodeError) as raised:
        load_recipe("precision", FLAVORS, overrides)
    return str(raised.value)


@pytest.mark.parametrize("path", sorted(FLAVORS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_under_its_own_name(path: Path) -> None:
    recipe = load_recipe(path.stem, FLAVORS)
    assert recipe.name == path.stem
    assert recipe == load_recipe(str(path), Path("elsewhere"))
    assert recipe.description


@pytest.mark.parametrize("path", sorted(FLAVORS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_shows_every_field_that_a_reader_may_want_to_change(path: Path) -> None:
    """Left out is only what has no value to show: settings of the catalog, which differ from shop to shop, and fields without a value."""
    written = dict(dotted(yaml.safe_load(path.read_text())))
    recipe = dict(dotted(load_recipe(path.stem, FLAVORS).model_dump(mode="json")))
    left_out = {name for name in recipe if name not in written and not name.startswith("catalog.") and recipe[name] is not None}
    if recipe["text_view.kind"] == "attributes":
        left_out.discard("text_view.columns")  # of a raw view
    assert not left_out


def dotted(fields: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    parts = [dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)] for name, value in fields.items()]
    return [pair for part in parts for pair in part]


def test_the_fields_that_others_build_on_keep_their_names() -> None:
    contract = {
        "encoder.model", "encoder.backend", "quantizer.codebook_sizes", "quantizer.contrastive_weight", "training.seed",
        "training.workers", "stability",
    }  # fmt: skip
    assert contract <= set(field_names())


def test_a_recipe_of_a_name_alone_is_the_one_that_the_defaults_describe() -> None:
    recipe = validate_recipe({"name": "mine"}, "here")
    assert recipe.quantizer.codebook_sizes == [24, 640, 640, 744]
    assert recipe.quantizer.contrastive_weight == 0.01
    assert recipe.catalog.no_leaf_names == ["missing", "other", "unknown", "uncategorized", "miscellaneous"]
    assert recipe == Recipe(name="mine")


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
    value: Any = load_recipe("precision", FLAVORS, ["encoder.prompt=auto", override])
    for name in field.split("."):
        value = getattr(value, name)
    assert value == expected
    assert type(value) is type(expected)


def test_the_last_of_two_overrides_counts_and_others_stay() -> None:
    recipe = load_recipe("precision", FLAVORS, ["training.steps=5", "training.seed=3", "training.steps=9"])
    assert (recipe.training.steps, recipe.training.seed, recipe.training.batch_size) == (9, 3, 1024)


def test_overriding_leaves_the_callers_fields_as_they_were() -> None:
    fields = {"name": "mine", "training": {"seed": 1}}
    assert apply_overrides(fields, ["training.seed=2", "encoder.device=cpu"])["training"] == {"seed": 2}
    assert fields == {"name": "mine", "training": {"seed": 1}}


FIVE_LEVELS = (
    "quantizer.codebook_sizes=[8, 8, 8, 8, 8]",
    "quantizer.contrastive.level_weights=[1, 1, 1, 1]",
    "quantizer.neighbourhood.rounds=[9, 3, 1, 0]",
)


def test_a_codebook_list_can_be_set_together_with_what_stands_beside_each_level() -> None:
    assert load_recipe("precision", FLAVORS, FIVE_LEVELS).quantizer.codebook_sizes == [8] * 5


@pytest.mark.parametrize("sizes", ["[8, 8]", "[8, 8, 8]"])
def test_fewer_levels_need_no_shorter_lists(sizes: str) -> None:
    recipe = load_recipe("precision", FLAVORS, [f"quantizer.codebook_sizes={sizes}"])
    assert len(recipe.quantizer.neighbourhood.rounds) == len(recipe.quantizer.contrastive.level_weights) == 3


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


@pytest.mark.parametrize(
    "override",
    [
        "quantizer.contrastive_weight=-0.1", "quantizer.codebook_sizes=[64, 1]", "quantizer.codebook_sizes=[]",
        "quantizer.codebook_sizes=64", "quantizer.codebook_sizes=[64]",
        "quantizer.commitment_weight=0", "quantizer.commitment_temperature=0", "quantizer.neighbourhood.neighbours=0",
        "quantizer.neighbourhood.width=0", "quantizer.neighbourhood.other=1.5", "training.anchor_every=0",
        "training.products_max=0",
        "training.batch_size=2", "training.workers=0", "training.seed=-1", "training.parent_share=1.5", "training.learning_rate=0",
        "encoder.device=tpu", "encoder.max_tokens=many", "text_view.kind=both", "text_view.columns=[]", "training.steps=null",
        "stability=frozen",
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_with_the_fields_name_and_the_value(override: str) -> None:
    field, _, value = override.partition("=")
    message = refusal(override)
    assert field in message
    assert "(got " in message
    assert repr(yaml.safe_load(value)).strip("[]") in message or "64, 1" in value


def test_every_wrong_field_is_told_at_once() -> None:
    message = refusal("training.seed=-1", "training.steps=0", "encoder.modell=x")
    assert all(name in message for name in ("training.seed", "training.steps", "encoder.modell"))


@pytest.mark.parametrize("field", ["contrastive.level_weights", "neighbourhood.rounds"])
def test_a_level_above_the_last_without_an_entry_is_refused(field: str) -> None:
    overrides = [override for override in FIVE_LEVELS if field not in override]
    assert f"{field} has 3 entries for the 4 levels of codebook_sizes above the last" in refusal(*overrides)
    assert f"{field} has 2 entries for the 3 levels" in refusal(f"quantizer.{field}=[1, 1]")


def test_weights_that_are_all_zero_above_the_last_level_are_refused() -> None:
    assert "level_weights are all zero" in refusal("quantizer.codebook_sizes=[8, 8]", "quantizer.contrastive.level_weights=[0, 1, 1]")


def test_rounds_below_zero_are_refused() -> None:
    assert "quantizer.neighbourhood.rounds.1" in refusal("quantizer.neighbourhood.rounds=[3, -1, 0]")


def test_a_field_of_the_quantizer_that_is_no_more_is_unknown() -> None:
    assert "unknown field 'quantizer.codebook_decay'" in refusal("quantizer.codebook_decay=0.9")


def test_an_unknown_flavor_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ShelfcodeError, match=r"--flavor precison: .*flavors there: discovery, precision"):
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


@pytest.mark.parametrize("name", ["Precision", "1st", "a b", "a/b", "../x", ""])
def test_a_name_that_could_not_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(ShelfcodeError, match="name"):
        validate_recipe({"name": name}, "here")


def test_a_recipe_cannot_be_changed_behind_a_releases_back() -> None:
    recipe = load_recipe("precision", FLAVORS)
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.seed = 5  # type: ignore[misc]
