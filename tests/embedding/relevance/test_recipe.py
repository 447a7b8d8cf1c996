"""A recipe of an encoder that is wrong is refused with the field's name, and the shipped ones load."""

from pathlib import Path

import pytest
import yaml

from shelfcode.embedding.relevance.recipe import RelevanceRecipe, load_relevance_recipe
from shelfcode.errors import ShelfcodeError

RECIPES = Path(__file__).parents[3] / "jobs" / "encoders"
shipped = pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)


def refusal(*overrides: str) -> str:
    with pytest.raises(ShelfcodeError) as raised:
        load_relevance_recipe("relevance", RECIPES, overrides)
    return str(raised.value)


@shipped
def test_a_shipped_recipe_loads_by_its_name_and_by_its_path(path: Path) -> None:
    recipe = load_relevance_recipe(path.stem, RECIPES)
    assert recipe == load_relevance_recipe(str(path), Path("elsewhere"))
    assert RelevanceRecipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_the_recipe_to_begin_with_says_nothing_that_is_not_so_without_it_but_for_short_texts() -> None:
    recipe = load_relevance_recipe("relevance", RECIPES)
    short = {"text_view": {"columns": ["title"]}, "encoder": {"max_tokens": 64}}
    assert recipe == RelevanceRecipe.model_validate(short)


def test_the_recipe_to_begin_with_needs_neither_a_gpu_nor_a_model_hub() -> None:
    recipe = load_relevance_recipe("relevance", RECIPES)
    assert recipe.encoder.model.startswith("package:")
    assert (recipe.training.use_gpu, recipe.encoder.gpus_per_actor, recipe.training.precision) == (False, 0, "float32")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*_gpu.yaml")), ids=lambda path: path.stem)
def test_a_recipe_for_gpus_asks_for_them_wherever_there_is_work(path: Path) -> None:
    recipe = load_relevance_recipe(path.stem, RECIPES)
    assert recipe.training.use_gpu
    assert recipe.encoder.gpus_per_actor > 0
    assert recipe.training.precision == "bfloat16"


def test_any_field_can_be_set() -> None:
    overrides = [
        "training.workers=4",
        "objective.gains=[3, 2, 1, 0]",
        "encoder.model=workspace:encoders/esci@v0001",
        "catalog.columns.title=t",
    ]
    recipe = load_relevance_recipe("relevance", RECIPES, overrides)
    assert (recipe.training.workers, recipe.objective.gains, recipe.catalog.columns) == (4, [3, 2, 1, 0], {"title": "t"})
    assert recipe.encoder.model == "workspace:encoders/esci@v0001"


@pytest.mark.parametrize("gains", ["[1, 1, 0, 0]", "[1, 0, 0, 0]", "[1, 1, 1, 0]", "[10, 5, 5, 1]"])
def test_gains_may_be_equal_as_long_as_an_exact_is_worth_more_than_an_irrelevant(gains: str) -> None:
    assert load_relevance_recipe("relevance", RECIPES, [f"objective.gains={gains}"]).objective.gains == yaml.safe_load(gains)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("objective.gains=[1, 0.2, 0.5, 0]", "gains must fall from Exact to Irrelevant"),
        ("objective.gains=[0, 0.2, 0.5, 1]", "gains must fall from Exact to Irrelevant"),
        ("objective.gains=[1, 1, 1, 1]", "gains must fall from Exact to Irrelevant"),
        ("objective.gains=[1, 0.5, 0]", "objective.gains"),
        ("objective.gains=[1, 0.5, 0.2, 0.1, 0]", "objective.gains"),
        ("objective.gains=[1, 0.5, 0, -1]", "objective.gains.3"),
        ("objective.gains=[1, 0.5, 0.2, .nan]", "objective.gains.3"),
        ("objective.scale=0", "objective.scale"),
        ("objective.order_weight=0", "objective.order_weight"),
        ("objective.in_batch_weight=-1", "objective.in_batch_weight"),
        ("objective.product_weight=-1", "objective.product_weight"),
        ("data.validation_share=0", "data.validation_share"),
        ("data.validation_share=0.5", "data.validation_share"),
        ("data.unknown_products_max=1.1", "data.unknown_products_max"),
        ("hard_negatives.per_query=-1", "hard_negatives.per_query"),
        ("hard_negatives.candidates=0", "hard_negatives.candidates"),
        ("hard_negatives.margin=1.5", "hard_negatives.margin"),
        ("hard_negatives.products_max=0", "hard_negatives.products_max"),
        ("training.seed=-1", "training.seed"),
        ("training.workers=0", "training.workers"),
        ("training.backend=mpi", "training.backend"),
        ("training.precision=float16", "training.precision"),
        ("training.epochs=0", "training.epochs"),
        ("training.products_per_query=1", "training.products_per_query"),
        ("training.learning_rate=0", "training.learning_rate"),
        ("training.warmup_share=1.5", "training.warmup_share"),
        ("training.frozen_layers=-1", "training.frozen_layers"),
        ("training.base_share=1", "training.base_share"),
        ("training.evaluations=0", "training.evaluations"),
        ("training.patience=0", "training.patience"),
        ("training.checkpoint_every=0", "training.checkpoint_every"),
        ("training.max_failures=-2", "training.max_failures"),
        ("text_view.kind=attributes", "text_view.kind: an encoder is trained on raw text"),
        ("encoder.engine=vllm", "encoder.engine and encoder.dimensions: the whole model is trained"),
        ("encoder.dimensions=64", "encoder.engine and encoder.dimensions: the whole model is trained"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(override: str, told: str) -> None:
    assert told in refusal(override)


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_a_batchs_queries_can_be_shared_out_equally(workers: int) -> None:
    assert load_relevance_recipe("relevance", RECIPES, [f"training.workers={workers}"]).training.workers == workers


@pytest.mark.parametrize("workers", [3, 16])
def test_workers_that_would_get_unequal_shares_are_refused(workers: int) -> None:
    assert f"queries_per_batch 8 has no equal shares for {workers} workers" in refusal(f"training.workers={workers}")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.frozn_layers=2", "unknown field 'training.frozn_layers'; the nearest known one is 'training.frozen_layers'"),
        ("frozen_layers=2", "unknown field 'frozen_layers'; the nearest known one is 'training.frozen_layers'"),
        ("objective.gain=[1]", "unknown field 'objective.gain'; the nearest known one is 'objective.gains'"),
        ("hard_negative.margin=0.1", "unknown field 'hard_negative'; the nearest known one is 'hard_negatives'"),
        ("encoder.modell=x", "unknown field 'encoder.modell'; the nearest known one is 'encoder.model'"),
        ("quantizer.latent_size=64", "unknown field 'quantizer'"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest(override: str, told: str) -> None:
    assert told in refusal(override)


def test_all_that_is_wrong_is_told_at_once() -> None:
    problem = refusal("training.epochs=0", "objective.scale=-1", "hard_negatives.margn=1")
    assert all(name in problem for name in ("training.epochs", "objective.scale", "'hard_negatives.margin'"))


def test_a_recipe_that_is_not_there_is_answered_with_those_there_are() -> None:
    with pytest.raises(ShelfcodeError, match=r"--recipe none: no file .*there are relevance.*Give a name under jobs/encoders/"):
        load_relevance_recipe("none", RECIPES)
