"""What all settings are made of. Each component's own stand beside it, and a recipe assembles them (flavor.py)."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

Positive = Annotated[int, Field(gt=0)]

RUNS: JsonDict = {"decides": False}
"""Marks a field, as its json_schema_extra, that says how work is done and not what comes of it: workers, their resources, how large a
batch or a file is. All others are part of the name under which work in progress is kept, so that what is broken off can go on with
more actors, and never goes on with another learning rate."""


class Settings(BaseModel):
    """A part of a recipe: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def deciding(settings: Settings) -> dict[str, Any]:
    """The fields of some settings that decide what comes of them, as values for JSON: all that are not marked with RUNS."""
    values = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("decides") is False:
            del values[name]
        elif isinstance(value, Settings):
            values[name] = deciding(value)
        elif isinstance(value, dict):
            values[name] |= {key: deciding(each) for key, each in value.items() if isinstance(each, Settings)}
    return values


def field_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields of some settings; NAME stands for a name that the recipe chooses."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if part := part_of(field):
            yield from field_names(part[0], f"{prefix}{name}{part[1]}.")


def part_of(field: FieldInfo) -> tuple[type[Settings], str] | None:
    """The settings that a field holds, and what its name goes on with: "" for one, ".NAME" for a mapping to any number of them."""
    kind, suffix = field.annotation, ""
    if get_origin(kind) is dict:
        kind, suffix = get_args(kind)[1], ".NAME"
    return (kind, suffix) if isinstance(kind, type) and issubclass(kind, Settings) else None


def part_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of the parts that hold fields of their own."""
    for name, field in model.model_fields.items():
        part = part_of(field)
        if part and not part[1]:
            yield prefix + name
            yield from part_names(part[0], f"{prefix}{name}.")
