"""A recipe that is wrong is refused with the field's name, and one that is right says what its author meant."""

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.recipe_file import load_recipe, validate_recipe
from shelfcode.settings import field_names

FLAVORS = Path(__file__).parents[1] / "jobs" / "flavors"
LIBRARY = Path(__file__).parents[1] / "platform" / "shelfcode"
shipped = pytest.mark.parametrize("path", sorted(FLAVORS.glob("*.yaml")), ids=lambda path: path.stem)


def refusal(*overrides: str, flavor: str = "precision", gpu: bool = False) -> str:
    with pytest.raises(ShelfcodeError) as raised:
        load_recipe(flavor, FLAVORS, overrides, gpu)
    return str(raised.value)


def value_of(recipe: Recipe, field: str) -> Any:
    value: Any = recipe
    for name in field.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


@shipped
def test_a_shipped_recipe_loads_under_its_own_name(path: Path) -> None:
    recipe = load_recipe(path.stem, FLAVORS)
    assert recipe.name == path.stem
    assert recipe == load_recipe(str(path), Path("elsewhere"))
    assert recipe.description


@shipped
def test_a_shipped_recipe_shows_what_the_flavors_differ_in(path: Path) -> None:
    """A reader who compares the files sees all of it; the rest is in docs/configuration.md."""
    written = dict(dotted(yaml.safe_load(path.read_text())))
    one, other = (dict(dotted(load_recipe(name, FLAVORS, gpu=True).model_dump(mode="json"))) for name in ("precision", "discovery"))
    differing = {name for name in one.keys() & other.keys() if one[name] != other[name]}
    of_the_other_view = ("extractor.", "text_view.attributes") if path.stem == "precision" else ("text_view.columns",)
    assert not {name for name in differing - written.keys() if not name.startswith(of_the_other_view)}


@shipped
def test_a_shipped_recipe_asks_for_models_of_the_hub_where_there_is_a_gpu(path: Path) -> None:
    recipe = load_recipe(path.stem, FLAVORS, gpu=True)
    assert recipe.hardware == "gpu"
    assert re.fullmatch(r"[A-Za-z][\w.-]*/[\w.-]+", recipe.encoder.model)
    assert recipe.encoder.gpus_per_actor > 0
    assert recipe.training.use_gpu
    if recipe.text_view.kind == "attributes":
        assert recipe.extractor.engine == "vllm"
        assert re.fullmatch(r"[A-Za-z][\w.-]*/[\w.-]+", recipe.extractor.model)
        assert 0 < recipe.extractor.gpus_per_replica + recipe.encoder.gpus_per_actor <= 1, "one GPU must do for both"


@shipped
def test_a_shipped_recipe_runs_on_a_laptop_without_a_gpu_and_without_a_model_hub(path: Path) -> None:
    recipe = load_recipe(path.stem, FLAVORS)
    assert recipe.hardware == "cpu"
    assert recipe.encoder.model.startswith("package:")
    assert (recipe.encoder.engine, recipe.extractor.engine) == ("sentence-transformers", "rules")
    gpus = (recipe.encoder.gpus_per_actor, recipe.extractor.gpus_per_replica, recipe.training.use_gpu)
    assert gpus == (0, 0, False)
    assert recipe.training.precision == "float32"
    assert recipe.without_gpu == {}, "a recipe that was settled is for one kind of hardware"


@shipped
def test_a_recipe_that_was_settled_reads_the_same_again_wherever_it_is_read(path: Path) -> None:
    """A release keeps it in its manifest, and may be used on other hardware."""
    for gpu in (True, False):
        recipe = load_recipe(path.stem, FLAVORS, gpu=gpu)
        assert validate_recipe(recipe.model_dump(mode="json"), "of a release") == recipe


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ((), "int8"),
        (("device=cpu", "dtype=float32"), "int8"),
        (("gpus_per_actor=0.5",), "torch"),
        (("device=cuda",), "torch"),
        (("dtype=bfloat16",), "torch"),
        (("engine=vllm",), "torch"),
        (("backend=torch",), "torch"),
        (("backend=int8",), "int8"),
        (("backend=torch", "gpus_per_actor=1"), "torch"),
    ],
)
def test_the_backend_that_auto_stands_for_is_found_from_the_recipe_alone(settings: tuple[str, ...], chosen: str) -> None:
    """Not from the machine: embeddings are kept under a name that it is part of."""
    recipe = load_recipe("precision", FLAVORS, [f"encoder.{setting}" for setting in settings], gpu=False)
    assert recipe.encoder.chosen_backend == chosen


@shipped
def test_a_shipped_recipe_embeds_in_torch_on_a_gpu_and_in_int8_without_one(path: Path) -> None:
    chosen = [load_recipe(path.stem, FLAVORS, gpu=gpu).encoder.chosen_backend for gpu in (True, False)]
    assert chosen == ["torch", "int8"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("engine=vllm",), "engine vllm"),
        (("gpus_per_actor=0.5",), "gpus_per_actor 0.5"),
        (("device=cuda",), "device cuda"),
        (("dtype=float16",), "dtype float16"),
        (("dtype=bfloat16", "device=cuda"), "device cuda, dtype bfloat16"),
    ],
)
def test_int8_is_refused_where_it_cannot_be_meant(settings: tuple[str, ...], told: str) -> None:
    message = refusal("encoder.backend=int8", *(f"encoder.{setting}" for setting in settings))
    assert f"encoder: Value error, backend int8 is for sentence-transformers on a CPU in float32, and not with {told}" in message
    assert "encoder.backend" in refusal("encoder.backend=onnx")


@pytest.mark.parametrize("name", ["occasion", "b2b", "pairs_with"])
def test_a_recipe_may_have_attributes_of_its_own(name: str) -> None:
    settings = [
        f"extractor.attributes.{name}={{description: what for, values: [taco night, tea]}}",
        f"text_view.attributes=[{name}, format]",
    ]
    recipe = load_recipe("precision", FLAVORS, settings)
    assert recipe.extractor.attributes[name].values == ["taco night", "tea"]
    assert recipe.extractor.attributes[name].limit == 3
    assert recipe.text_view.attributes == [name, "format"]


@pytest.mark.parametrize("name", ["Occasion", "2go", "_x", "a-b", "a b", "größe", "", "item_id", "product_type", "text_hash", "failure"])
def test_a_name_that_is_no_column_or_one_that_is_taken_is_refused_for_an_attribute(name: str) -> None:
    with pytest.raises(ShelfcodeError, match=r"extractor\.attributes: .*names must be in lower case") as raised:
        validate_recipe({"name": "mine", "extractor": {"attributes": {name: {"description": "x"}}}}, "here")
    assert repr([name]) in str(raised.value)


@pytest.mark.parametrize("value", ["Taco night", " tea", "tea ", "taco  night", "taco\nnight", "", "ÉTÉ"])
def test_a_value_that_no_answer_could_equal_is_refused(value: str) -> None:
    attributes = {"occasion": {"description": "x", "values": ["fine", value]}}
    with pytest.raises(ShelfcodeError, match="values must be in lower case and without white space around them") as raised:
        validate_recipe({"name": "mine", "extractor": {"attributes": attributes}}, "here")
    assert repr([value]) in str(raised.value)


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("{}", "extractor.attributes.occasion.description"),
        ("{description: x, limit: 0}", "extractor.attributes.occasion.limit"),
        ("{description: x, limit: 9}", "extractor.attributes.occasion.limit"),
        (
            "{description: x, limmit: 2}",
            "unknown field 'extractor.attributes.occasion.limmit'; the nearest known one is 'extractor.attributes.",
        ),
    ],
)
def test_a_wrong_field_of_an_attribute_is_named(attribute: str, told: str) -> None:
    assert told in refusal(f"extractor.attributes.occasion={attribute}")


def test_a_view_of_an_attribute_that_nobody_fills_is_refused() -> None:
    message = refusal("text_view.attributes=[mood, format, ocasion]", flavor="discovery")
    assert (
        "text_view.attributes names mood, ocasion; the extractor fills product_type, key_ingredients, dietary_tags, format, occasion"
        in message
    )
    assert "text_view.attributes" in refusal("text_view.attributes=[]")
    assert load_recipe("discovery", FLAVORS, ["text_view.attributes=[format]"]).text_view.attributes == ["format"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("replicas_min=3", "replicas_max=2"), "replicas_max 2 is less than replicas_min 3"),
        (("max_output_tokens=100", "retry_output_tokens=99"), "retry_output_tokens 99 is less than max_output_tokens 100"),
        (("gpus_per_replica=2",), "gpus_per_replica 2 and tensor_parallel 1 differ"),
        (("gpus_per_replica=1.5",), "gpus_per_replica 1.5 and tensor_parallel 1 differ"),
        (("gpus_per_replica=2", "tensor_parallel=4"), "gpus_per_replica 2 and tensor_parallel 4 differ"),
        (("gpus_per_replica=0.5", "tensor_parallel=2"), "gpus_per_replica 0.5 and tensor_parallel 2 differ"),
        (("engine_arguments.model=x", "engine_arguments.dtype=half"), "engine_arguments holds dtype, model"),
        (("engine=openai",), "extractor.engine"),
        (("prompt=v0",), "extractor.prompt"),
        (("gpus_per_replica=-1",), "extractor.gpus_per_replica"),
        (("environment.OMP_NUM_THREADS=2",), "extractor.environment.OMP_NUM_THREADS"),
    ],
)
def test_an_extractor_whose_parts_do_not_fit_is_refused(settings: tuple[str, ...], told: str) -> None:
    assert told in refusal(*(f"extractor.{setting}" for setting in settings))


@pytest.mark.parametrize(
    "settings",
    [
        ("gpus_per_replica=0.5",), ("gpus_per_replica=1",), ("gpus_per_replica=4", "tensor_parallel=4"), ("tensor_parallel=2",),
        ("replicas_min=2", "replicas_max=2"), ("engine_arguments.max_num_seqs=4",), ("max_output_tokens=99", "retry_output_tokens=99"),
    ],
)  # fmt: skip
def test_an_extractor_whose_parts_fit_is_taken(settings: tuple[str, ...]) -> None:
    recipe = load_recipe("precision", FLAVORS, [f"extractor.{setting}" for setting in settings])
    for setting in settings:
        name, _, value = setting.partition("=")
        assert value_of(recipe, f"extractor.{name}") == yaml.safe_load(value)


def dotted(fields: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    parts = [dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)] for name, value in fields.items()]
    return [pair for part in parts for pair in part]


def test_the_fields_that_others_build_on_keep_their_names() -> None:
    contract = {
        "encoder.model", "encoder.backend", "quantizer.codebook_sizes", "quantizer.contrastive_weight", "training.seed",
        "training.workers", "stability",
    }  # fmt: skip
    assert contract <= set(field_names(Recipe))


def test_a_recipe_of_a_name_alone_is_the_one_that_the_defaults_describe() -> None:
    recipe = validate_recipe({"name": "mine"}, "here")
    assert recipe.quantizer.codebook_sizes == [24, 800, 584, 640]
    assert (recipe.quantizer.objective, recipe.quantizer.chosen_contrastive_weight) == ("neighbourhood", 0.0)
    assert recipe.catalog.no_leaf_names == ["missing", "other", "unknown", "uncategorized", "miscellaneous"]
    assert recipe == Recipe(name="mine")


@pytest.mark.parametrize(
    ("levels", "rounds", "weights"),
    [(2, [30, 0], [1]), (4, [30, 10, 2, 0], [1, 0.5, 0.25]), (6, [30, 10, 2, 0, 0, 0], [1, 0.5, 0.25, 0.25, 0.25])],
)
def test_any_number_of_levels_needs_no_more_than_its_codebooks(levels: int, rounds: list[int], weights: list[float]) -> None:
    quantizer = load_recipe("precision", FLAVORS, [f"quantizer.codebook_sizes={[8] * levels}"]).quantizer
    assert (quantizer.rounds_of_levels, quantizer.contrast_of_levels) == (rounds, weights)


@pytest.mark.parametrize(
    "override",
    [
        "quantizer.contrastive_weight=-0.1", "quantizer.codebook_sizes=[64, 1]", "quantizer.codebook_sizes=[]",
        "quantizer.codebook_sizes=64", "quantizer.codebook_sizes=[64]",
        "quantizer.commitment_weight=0", "quantizer.commitment_temperature=0", "quantizer.neighbourhood.neighbours=0",
        "quantizer.neighbourhood.width=0", "quantizer.neighbourhood.other=1.5", "training.anchor_every=0",
        "training.products_max=0", "training.epochs=0",
        "training.batch_size=2", "training.workers=0", "training.seed=-1", "training.parent_share=1.5", "training.learning_rate=0",
        "encoder.device=tpu", "encoder.max_tokens=many", "text_view.kind=both", "text_view.columns=[]", "training.batch_size=null",
        "stability=frozen",
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_with_the_fields_name_and_the_value(override: str) -> None:
    field, _, value = override.partition("=")
    message = refusal(override)
    assert field in message
    assert "(got " in message
    assert repr(yaml.safe_load(value)).strip("[]") in message or "64, 1" in value


def test_weights_that_are_all_zero_above_the_last_level_are_refused() -> None:
    assert "level_weights are all zero" in refusal("quantizer.codebook_sizes=[8, 8]", "quantizer.contrastive.level_weights=[0, 1, 1]")


def test_rounds_below_zero_are_refused() -> None:
    assert "quantizer.neighbourhood.rounds.1" in refusal("quantizer.neighbourhood.rounds=[3, -1, 0]")


def test_a_field_of_the_quantizer_that_is_no_more_is_unknown() -> None:
    assert "unknown field 'quantizer.codebook_decay'" in refusal("quantizer.codebook_decay=0.9")


@pytest.mark.parametrize("name", ["Precision", "1st", "a b", "a/b", "../x", ""])
def test_a_name_that_could_not_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(ShelfcodeError, match="name"):
        validate_recipe({"name": name}, "here")


def test_a_recipe_cannot_be_changed_behind_a_releases_back() -> None:
    recipe = load_recipe("precision", FLAVORS)
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.seed = 5  # type: ignore[misc]


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("settings.py")), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_settings_need_nothing_but_other_settings(path: Path) -> None:
    """Whoever reads a recipe, a job's flags or the endpoint, should not have to load a component for it."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    known = sys.stdlib_module_names | {"pydantic"}
    strangers = [name for name in imported if name.split(".")[0] not in known and name != "shelfcode.hardware"]
    assert not [name for name in strangers if not (name.startswith("shelfcode.") and name.endswith(".settings"))]
