"""The API as a page shows it: the operations of an OpenAPI description, their fields in rows, and a command to try each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any
from urllib.parse import quote as url_quote

from shelfcode.serving.api.requests import Product

DEEPEST = 4
"""Levels of nested fields that are written out."""
EXAMPLES: Mapping[str, Any] = {
    "/v1/surfaces/{surface}/encode": {"products": [{"title": "Oat Drink, 1 l"}, {"title": "Penne Rigate 500 g"}]},
    "/v1/surfaces/{surface}/similar": {"product": {"title": "Oat Drink, 1 l"}, "k": 5},
}
PLACES = {"item_id": "ITEM_ID", "prefix": "0"}

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
    """What stands in the address of an operation; `place` is path or query."""

    name: str
    place: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked for."""

    name: str
    method: str
    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    request: tuple[FieldRow, ...]
    response: tuple[FieldRow, ...]
    errors: tuple[tuple[str, str], ...]
    curl: str


def operations(openapi: Json, url: str, places: Mapping[str, str], with_keys: bool) -> list[Operation]:
    """Every operation of an OpenAPI description.

    Args:
        url: of the server, for the commands.
        places: values for the parameters of paths, such as a surface that there is.
    """
    return [
        _operation(openapi, path, method, told, curl(path, method, url, places, with_keys))
        for path, methods in openapi["paths"].items()
        for method, told in methods.items()
    ]


def with_shared_schemas(openapi: Json) -> dict[str, Any]:
    """The description with the definitions of bodies where OpenAPI wants them; they come inside each body."""
    whole: dict[str, Any] = json.loads(json.dumps(openapi).replace('"#/$defs/', '"#/components/schemas/'))
    for told in (told for methods in whole["paths"].values() for told in methods.values()):
        schema = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        whole.setdefault("components", {}).setdefault("schemas", {}).update(schema.pop("$defs", {}))
    return whole


def product_fields() -> list[FieldRow]:
    """The fields of a product: requests read products one by one, so that no operation's own description has them."""
    schema = Product.model_json_schema()
    return list(field_rows(schema, schema))


def curl(path: str, method: str, url: str, places: Mapping[str, str], with_keys: bool) -> str:
    """A command that asks."""
    filled = path
    for name, value in {**PLACES, **places}.items():
        filled = filled.replace(f"{{{name}}}", url_quote(value, safe=""))
    key = ["-H", "Authorization: Bearer YOUR_KEY"] if with_keys else []
    body = ["-d", json.dumps(EXAMPLES[path])] if path in EXAMPLES else []
    verb = ["-X", method.upper()] if method not in ("get", "post") or (method == "post" and not body) else []
    return " ".join(["curl", "-s", *verb, *map(quote, key), quote(url + filled), *map(quote, body)])


def _operation(openapi: Json, path: str, method: str, told: Json, command: str) -> Operation:
    good = told["responses"].get("200", {})
    return Operation(
        name=f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""),
        method=method.upper(),
        path=path,
        summary=told.get("summary", ""),
        parameters=tuple(_parameter(each, openapi) for each in told.get("parameters", [])),
        request=_body_rows(told.get("requestBody", {}), openapi),
        response=_body_rows(good, openapi),
        errors=tuple((status, each["description"]) for status, each in told["responses"].items() if not status.startswith("2")),
        curl=command,
    )


def _parameter(told: Json, openapi: Json) -> Parameter:
    schema = told.get("schema", {})
    words = told.get("description") or schema.get("description", "")
    return Parameter(told["name"], told["in"], type_of(schema, openapi), told.get("required", False), words)


def _body_rows(told: Json, openapi: Json) -> tuple[FieldRow, ...]:
    schema = told.get("content", {}).get("application/json", {}).get("schema")
    return tuple(field_rows(schema, {**openapi, "$defs": schema.get("$defs", {})})) if schema else ()


def field_rows(schema: Json, whole: Json, before: str = "", depth: int = 1) -> Iterator[FieldRow]:
    """The fields of a schema, and those of the objects in it, one after the other.

    Args:
        whole: where references lead.
    """
    schema = _object_in(schema, whole) or schema
    for name, told in schema.get("properties", {}).items():
        yield FieldRow(f"{before}{name}", type_of(told, whole), name in schema.get("required", ()), _words(told, whole))
        inner = _object_in(told, whole)
        if inner is not None and depth < DEEPEST:
            yield from field_rows(inner, whole, f"{before}{name}{'[]' if _is_list(told, whole) else ''}.", depth + 1)


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


def _words(told: Json, whole: Json) -> str:
    words = told.get("description", "")
    if "$ref" in told and not words:
        words = _resolved(told, whole).get("description", "")
    examples: Sequence[Any] = told.get("examples", ())
    return "; ".join(filter(None, [words, f"such as {json.dumps(examples[0])}" if examples else ""]))


def _choices(told: Json, whole: Json) -> list[Json]:
    """What a schema may be, without null."""
    told = _resolved(told, whole)
    return [choice for each in told.get("anyOf", [told]) if (choice := _resolved(each, whole)).get("type") != "null"]


def _is_list(told: Json, whole: Json) -> bool:
    return any(choice.get("type") == "array" for choice in _choices(told, whole))


def _object_in(told: Json, whole: Json) -> Json | None:
    """The object that a field is, or holds in a list; None for one without fields of its own."""
    for choice in _choices(told, whole):
        inner = _resolved(choice.get("items", {}), whole) if choice.get("type") == "array" else choice
        if "properties" in inner:
            return inner
    return None


def _resolved(schema: Json, whole: Json) -> Json:
    """A schema itself, where there is a reference to it."""
    if "$ref" not in schema:
        return schema
    found: Any = whole
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return _resolved(found, whole)
