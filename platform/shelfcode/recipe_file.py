"""Recipes and other settings as files and flags: read, overridden, validated, with errors that name the field."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from shelfcode.catalog.settings import ContractColumn
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.settings import Settings, field_names

AnySettings = TypeVar("AnySettings", bound=Settings)


def load_recipe(flavor: str, folder: Path, overrides: Sequence[str] = (), gpu: bool = False) -> Recipe:
    """Read a flavor by name (a YAML file in `folder`) or by path, apply `key.sub=value` overrides, validate.

    The file is validated with and without its `without_gpu`, whatever is asked for: what is wrong in it should not wait for other hardware.

    Args:
        gpu: whether there is one, where the recipe's `hardware` is auto; without one, `without_gpu` is applied under the overrides.

    Raises:
        ShelfcodeError: no such flavor, not YAML, or a field that is unknown or out of range; the message names it.
    """
    path = named_file("--flavor", flavor, folder)
    written = read_yaml(path)
    without_gpu = _with_values(written, validate_recipe(written, str(path)).without_gpu, f"{path}: without_gpu")
    validate_recipe(without_gpu, f"{path} without a GPU")
    for override in overrides:
        if override.startswith("without_gpu"):
            raise ShelfcodeError(f"--set {override}: set the field itself, which wins over without_gpu")
    hardware = _hardware(written, overrides)
    if hardware == "auto":
        hardware = "gpu" if gpu else "cpu"
    fields = apply_overrides(without_gpu if hardware == "cpu" else written, overrides)
    return validate_recipe({**fields, "hardware": hardware, "without_gpu": {}}, str(path))


def leaves_hardware_open(flavor: str, folder: Path, overrides: Sequence[str] = ()) -> bool:
    """Whether what the cluster has at the moment, and nobody's word, decides on the hardware of a recipe. Raises as `load_recipe`."""
    return _hardware(read_yaml(named_file("--flavor", flavor, folder)), overrides) == "auto"


def _hardware(written: dict[str, Any], overrides: Sequence[str]) -> str:
    return str(apply_overrides(written, overrides).get("hardware", "auto"))


def read_yaml(path: Path) -> dict[str, Any]:
    """The fields of a YAML file.

    Raises:
        ShelfcodeError: it is not YAML, or holds no fields.
    """
    try:
        fields = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ShelfcodeError(f"{path} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise ShelfcodeError(f"{path} holds no recipe: expected fields such as 'name:' and 'encoder:'")
    return fields


def validate_recipe(fields: dict[str, Any], origin: str) -> Recipe:
    """Recipe from plain fields.

    Raises:
        ShelfcodeError: every field that is wrong, one a line; for an unknown one the nearest known name.
    """
    return validate_settings(Recipe, fields, f"recipe {origin}")


def validate_settings(model: type[AnySettings], fields: dict[str, Any], origin: str) -> AnySettings:
    """Any settings from plain fields; `origin` is what they are, for messages. Raises like `validate_recipe`."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        lines = [_describe(problem, model) for problem in error.errors()]
        raise ShelfcodeError(f"{origin}:\n  " + "\n  ".join(lines)) from error


def apply_overrides(fields: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `fields` with each `key.sub=value` set; values are read as YAML (1, 0.5, true, [64, 128], text).

    Raises:
        ShelfcodeError: an override without `=`, or through a field that has no fields.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ShelfcodeError(f"--set {override}: expected key.sub=value, such as --set training.seed=1")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ShelfcodeError(f"--set {override}: the value is not YAML: {error}") from error
        # To YAML a bare `|` or ` > ` is an empty text, and to a user a separator.
        values[key.strip()] = value if parsed in (None, "") and value not in ("null", "~", "''", '""') else parsed
    return _with_values(fields, values, "--set")


def _with_values(fields: dict[str, Any], values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """A copy of nested fields with each dotted name set; `origin` is where the values come from, for messages."""
    changed: dict[str, Any] = yaml.safe_load(yaml.safe_dump(fields))
    for key, value in values.items():
        *parents, last = key.split(".")
        target = changed
        for name in parents:
            target = target.setdefault(name, {})
            if not isinstance(target, dict):
                raise ShelfcodeError(f"{origin} {key}={value}: {name!r} has no fields of its own")
        target[last] = value
    return changed


def named_file(flag: str, name: str, folder: Path) -> Path:
    """The YAML file that a flag names: one of a folder by its name, or any by its path.

    Raises:
        ShelfcodeError: there is none; lists those there are.
    """
    if os.sep in name or name.endswith((".yaml", ".yml")):
        path, known = Path(name), []
    else:
        path, known = folder / f"{name}.yaml", sorted(file.stem for file in folder.glob("*.yaml"))
    if not path.is_file():
        hint = f"; there are {', '.join(known)}" if known else ""
        raise ShelfcodeError(f"{flag} {name}: no file {path}{hint}. Give a name under jobs/{folder.name}/ or the path of a YAML file")
    return path


def _describe(problem: Any, model: type[Settings]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{name}: {problem['msg']} (got {problem['input']!r})" if name else str(problem["msg"])
    known = [*field_names(model), *(f"catalog.columns.{column}" for column in get_args(ContractColumn))]
    leaf = name.rsplit(".", 1)[-1]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not nearest:  # a field given without the part it belongs to is far from its full name
        leaves = {full.rsplit(".", 1)[-1]: full for full in known}
        nearest = [leaves[close] for close in difflib.get_close_matches(leaf, leaves, n=1)]
    hint = f"; the nearest known one is {nearest[0]!r}" if nearest else ""
    return f"unknown field {name!r}{hint}"
