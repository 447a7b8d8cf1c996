"""Each field of a recipe either decides what comes out, and is part of a name under which results are kept, or says how work is done."""

import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

import shelfcode
from shelfcode import train
from shelfcode.attributes.distil.student import StudentRecipe
from shelfcode.attributes.extractor import extractor_name
from shelfcode.catalog.source import source_digest
from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.embedding.encoder import embeddings_folder
from shelfcode.embedding.relevance.recipe import RelevanceRecipe
from shelfcode.flavor import Recipe
from shelfcode.quantization.train import training_run
from shelfcode.settings import RUNS, Settings, deciding, part_of
from shelfcode.train import run_folder
from shelfcode.versions import library_versions

BASE: dict[str, Any] = {
    "name": "shop",
    "extractor": {"engine": "vllm", "attributes": {"colour": {"description": "its colour", "values": ["red", "blue"]}}},
    "encoder": {"model": "somebody/encoder", "backend": "torch"},
    "text_view": {"kind": "attributes"},
}
"""Every part is in use, and nothing has to be on this machine."""

OTHERWISE: dict[str, Any] = {
    "catalog.columns": {"title": "name"}, "catalog.category_list_separator": ";", "catalog.delimiter": ";", "catalog.encoding": "cp1252",
    "encoder.engine_arguments": {"hf_overrides": {}}, "extractor.engine_arguments": {"quantization": "fp8"},
    "extractor.environment": {"A": "1"}, "extractor.attributes.colour.values": ["red"], "extractor.retry_output_tokens": 800,
    "extractor.tensor_parallel": 1, "quantizer.codebook_sizes": [24, 640, 640, 700], "quantizer.neighbourhood.rounds": [3, 2, 1],
    "quantizer.contrastive.level_weights": [1.0, 0.5, 0.5], "quantizer.hidden_sizes": [64], "training.batch_size": 512,
    "training.products_max": 2000, "training.steps_min": 900, "training.steps": 7, "text_view.attributes": ["format"],
    "text_view.columns": ["title"], "without_gpu": {"training.seed": 3}, "encoder.dtype": "bfloat16",
    "encoder.int8_model": "abc", "encoder.device": "cpu", "extractor.dtype": "bfloat16",
}  # fmt: skip
"""Other values of fields for which none can be derived from the type."""

BESIDES: dict[str, dict[str, Any]] = {"encoder.int8_model": {"encoder": {"backend": "int8"}}}
"""What else a recipe says for a field to mean anything."""

IN_THE_TEXTS = {"text_view.attributes", "text_view.columns"}
"""Decides the texts, by whose hashes rows are known."""


def leaves(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            continue  # there is no other value
        if part := part_of(field):
            yield from leaves(part[0], f"{prefix}{name}{part[1].replace('NAME', 'colour')}.")
        else:
            yield prefix + name, field


FIELDS = dict(leaves(Recipe))


def names_of(recipe: Recipe) -> tuple[str, ...]:
    """The names under which what a recipe gives is kept, on the same rows of one catalog."""
    keys_N = np.arange(3000, dtype=np.uint64)
    folder = embeddings_folder(recipe)
    embedded = EmbeddedCatalog(folder, np.arange(3000), keys_N, 3000, 0, 0)
    run = training_run(recipe, embedded, taxonomy_from_paths([["a"]] * 3000))
    return source_digest([], recipe.catalog.model_dump_json()), extractor_name(recipe.extractor), folder, run


def base_of(name: str) -> Recipe:
    return Recipe.model_validate(BASE | BESIDES.get(name, {}))


def changed(name: str, field: FieldInfo) -> Recipe:
    """The recipe with another value of one field."""
    base = base_of(name)
    now: Any = base
    for part in name.split("."):
        now = now[part] if isinstance(now, dict) else getattr(now, part)
    errors = []
    for value in [OTHERWISE[name]] if name in OTHERWISE else others(field, now):
        fields: dict[str, Any] = base.model_dump(mode="json")
        *parents, last = name.split(".")
        target = fields
        for part in parents:
            target = target[part]
        target[last] = value
        try:
            return Recipe.model_validate(fields)
        except ValidationError as error:
            errors.append(f"{value!r}: {error}")
    pytest.fail(f"no other value of {name} is known: add one to OTHERWISE ({errors})")


def others(field: FieldInfo, now: Any) -> list[Any]:
    if get_origin(field.annotation) is Literal:
        return [value for value in get_args(field.annotation) if value != now]
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (typing.Union, type(None) | int) else (field.annotation,)
    if isinstance(now, bool):
        return [not now]
    if isinstance(now, int):
        return [now + 1, now * 2]
    if isinstance(now, float):
        return [now / 2, now + 1, now + 0.1]
    if isinstance(now, str) or str in kinds or "str" in str(field.annotation):
        return ["v0-other", ["other"]]
    return [7]


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_decides_what_comes_out_or_says_how_work_is_done(name: str) -> None:
    before, after = names_of(base_of(name)), names_of(changed(name, FIELDS[name]))
    if FIELDS[name].json_schema_extra == RUNS:
        assert after == before, f"{name} is marked as one that changes nothing: a restart with another value would start anew"
    elif name not in IN_THE_TEXTS:
        assert after != before, f"{name} is in no name: mark it with RUNS if results do not depend on it, else put it into one"


def test_an_upgrade_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_folder("precision", b"recipe")
    assert run_folder("precision", b"recipe") == before
    monkeypatch.setattr(train, "LIBRARY_VERSION", "9.9.9")
    assert run_folder("precision", b"recipe") != before


@pytest.mark.parametrize("model", [RelevanceRecipe, StudentRecipe])
def test_no_training_is_named_after_its_workers(model: type[Settings]) -> None:
    fields = dict(leaves(model))
    running = {name.rsplit(".", 1)[-1] for name, field in fields.items() if field.json_schema_extra == RUNS}
    assert running >= {"workers", "cpus_per_worker", "use_gpu", "checkpoint_every", "max_failures"}


def test_what_decides_is_told_apart_in_every_part() -> None:
    found = deciding(Recipe.model_validate(BASE))
    assert "workers" not in found["training"]
    assert found["training"]["seed"] == 0
    assert found["extractor"]["attributes"]["colour"]["values"] == ["red", "blue"]
    assert "actors_max" not in found["encoder"]
    assert "description" not in found


def test_the_version_is_the_one_that_is_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == shelfcode.__version__ == library_versions()["shelfcode"]
