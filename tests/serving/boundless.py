"""Where a JSON schema has no bounds."""

from collections.abc import Iterator
from typing import Any


def boundless(schema: Any, place: str = "") -> Iterator[str]:
    """Where a JSON schema lets in a text, a list or a mapping of any size."""
    if isinstance(schema, list):
        for number, each in enumerate(schema):
            yield from boundless(each, f"{place}[{number}]")
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "string" and not {"maxLength", "enum", "const"} & schema.keys():
        yield place
    if kind == "array" and "maxItems" not in schema:
        yield place
    bounded = "maxProperties" in schema and "maxLength" in schema.get("propertyNames", {})
    if kind == "object" and schema.get("additionalProperties") not in (None, False) and not bounded:
        yield place
    for name, part in schema.items():
        if name not in ("examples", "default"):
            yield from boundless(part, f"{place}.{name}")
