"""The API as a page shows it: the operations of an OpenAPI description, their fields in rows, and a command to try each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shelfcode.serving.api.examples import BODIES, curl, filled
from shelfcode.serving.api.requests import Product

DEEPEST = 4
"""Levels of nested fields that are written out."""
LIMITS = {
    "maxItems": "at most {:,} of them",
    "maxProperties": "at most {:,} of them",
    "maxLength": "at most {:,} characters",
    "maximum": "at most {:,}",
}
"""Words of a JSON schema -> how a page says them."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class FieldRow:
    """A field of a body, with its path: `results[].level`."""

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Parameter:
    """A parameter in the address of an operation; `place` is path or query."""

    name: str
    place: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One operation of the API."""

    name: str
    method: str
    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    request: tuple[FieldRow, ...]
    response: tuple[FieldRow, ...]
    errors: tuple[tuple[str, str], ...]
    curl: str


def operations(openapi: Json, url: str, names: Mapping[str, str], with_keys: bool) -> list[Operation]:
    """Every operation of an OpenAPI description.

    Args:
        url: of the server, for the commands.
        names: values for the parameters of paths, such as a surface that there is.
    """
    return [
        _operation(openapi, path, method, described, command(url, path, method, names, with_keys))
        for path, methods in openapi["paths"].items()
        for method, described in methods.items()
    ]


def with_shared_schemas(openapi: Json) -> dict[str, Any]:
    """The description with the definitions of all bodies in the one place where OpenAPI wants them; pydantic writes them into each body."""
    whole: dict[str, Any] = json.loads(json.dumps(openapi).replace('"#/$defs/', '"#/components/schemas/'))
    for operation in (operation for methods in whole["paths"].values() for operation in methods.values()):
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        whole.setdefault("components", {}).setdefault("schemas", {}).update(schema.pop("$defs", {}))
    return whole


def product_fields() -> list[FieldRow]:
    """The fields of a product. Requests read products one by one, so no operation's own description has them."""
    schema = Product.model_json_schema()
    return list(field_rows(schema, schema))


def command(url: str, path: str, method: str, names: Mapping[str, str], with_keys: bool) -> str:
    """A command that tries an operation."""
    body = BODIES.get(path) if method in ("post", "put") else None
    implied = "post" if body else "get"  # by curl, from the presence of a body
    return curl(url + filled(path, names), with_keys, body, None if method == implied else method.upper())


def _operation(openapi: Json, path: str, method: str, described: Json, curl: str) -> Operation:
    good: Json = next((answer for status, answer in described["responses"].items() if status.startswith("2")), {})
    return Operation(
        name=f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""),
        method=method.upper(),
        path=path,
        summary=described.get("summary", ""),
        parameters=tuple(_parameter(each, openapi) for each in described.get("parameters", [])),
        request=_body_rows(described.get("requestBody", {}), openapi),
        response=_body_rows(good, openapi),
        errors=tuple((status, each["description"]) for status, each in described["responses"].items() if not status.startswith("2")),
        curl=curl,
    )


def _parameter(described: Json, openapi: Json) -> Parameter:
    schema = described.get("schema", {})
    words = "; ".join(filter(None, [described.get("description") or schema.get("description", ""), _limits(schema, openapi)]))
    return Parameter(described["name"], described["in"], type_of(schema, openapi), described.get("required", False), words)


def _body_rows(described: Json, openapi: Json) -> tuple[FieldRow, ...]:
    schema = described.get("content", {}).get("application/json", {}).get("schema")
    return tuple(field_rows(schema, {**openapi, "$defs": schema.get("$defs", {})})) if schema else ()


def field_rows(schema: Json, whole: Json, before: str = "", depth: int = 1) -> Iterator[FieldRow]:
    """The fields of a schema, and those of the objects in it, one after the other.

    Args:
        whole: where references lead.
    """
    schema = _object_in(schema, whole) or schema
    for name, field in schema.get("properties", {}).items():
        yield FieldRow(f"{before}{name}", type_of(field, whole), name in schema.get("required", ()), _words(field, whole))
        inner = _object_in(field, whole)
        if inner is not None and depth < DEEPEST:
            yield from field_rows(inner, whole, f"{before}{name}{'[]' if _is_list(field, whole) else ''}.", depth + 1)


def type_of(schema: Json, whole: Json) -> str:
    """A type in a word or two."""
    schema = _resolved(schema, whole)
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(type_of(each, whole) for each in choices))
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}), whole)}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_of(values, whole)}" if isinstance(values, dict) and values else "object"
    return str(schema.get("type", "anything"))


def _words(field: Json, whole: Json) -> str:
    words = field.get("description", "")
    if "$ref" in field and not words:
        words = _resolved(field, whole).get("description", "")
    examples: Sequence[Any] = field.get("examples", ())
    return "; ".join(filter(None, [words, _limits(field, whole), f"such as {json.dumps(examples[0])}" if examples else ""]))


def _limits(field: Json, whole: Json) -> str:
    """The largest that a field may be."""
    found = [words.format(choice[name]) for choice in _choices(field, whole) for name, words in LIMITS.items() if name in choice]
    return ", ".join(dict.fromkeys(found))


def _choices(field: Json, whole: Json) -> list[Json]:
    """The types that a field may have, without null."""
    field = _resolved(field, whole)
    return [choice for each in field.get("anyOf", [field]) if (choice := _resolved(each, whole)).get("type") != "null"]


def _is_list(field: Json, whole: Json) -> bool:
    return any(choice.get("type") == "array" for choice in _choices(field, whole))


def _object_in(field: Json, whole: Json) -> Json | None:
    """The object that a field is, or holds in a list; None for one without fields of its own."""
    for choice in _choices(field, whole):
        inner = _resolved(choice.get("items", {}), whole) if choice.get("type") == "array" else choice
        if "properties" in inner:
            return inner
    return None


def _resolved(schema: Json, whole: Json) -> Json:
    """A schema, with a reference to it followed."""
    if "$ref" not in schema:
        return schema
    target: Any = whole
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return _resolved(target, whole)
