"""Write the pages of docs/ that list settings, such as docs/configuration.md, from the models of what is configured.

python docs/configuration.py [--check]      --check writes nothing and exits with 1 when the file is out of date
"""

import argparse
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shelfcode.audit.settings import AuditSettings
from shelfcode.embedding.relevance.recipe import RelevanceRecipe
from shelfcode.evaluation.judge.settings import JudgeSettings
from shelfcode.flavor import Recipe
from shelfcode.retrieval.answering_settings import AnsweringSettings
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.serving.retrieve_settings import RetrieveSettings
from shelfcode.serving.surface_settings import KeySettings, RouteSettings, SurfaceSettings
from shelfcode.settings import Settings, part_of

FOLDER = Path(__file__).parent

INTRODUCTION = """# Configuration

A flavor is a YAML file with the fields below. A field left out takes its default; an unknown field is an error. Every field can be set
for one run with `--set section.field=value`; the value is read as YAML, so quote text that YAML would read as something else:
`--set 'catalog.category_separator=" > "'`. `--set` wins over the file, and over the file's `without_gpu`.

This file is written by `make docs` from the models in `platform/shelfcode/flavor.py` and the `settings.py` beside each
component; change them, not it."""

ENCODER_INTRODUCTION = """# Configuration of an encoder's training

A recipe under `jobs/encoders/`, or one of your own, is a YAML file with the fields below, for `jobs/train_encoder.py` and
`jobs/evaluate_encoder.py` ([encoder.md](encoder.md)). A field left out takes its default; an unknown field is an error; `--set
section.field=value` sets one for a run. `catalog`, `text_view` and `encoder` are those of a flavor and mean the same.

This file is written by `make docs` from the models in `platform/shelfcode/embedding/relevance/recipe.py`; change them, not it."""

SURFACES_INTRODUCTION = """# Configuration of the endpoint

`serve_apps/surfaces.yaml`, or one of your own, has the fields below ([serving.md](serving.md)). A field left out takes its default; an
unknown field is an error. A surface is either the name of a flavor or a route with the fields of `surfaces.NAME`.

This file is written by `make docs` from the models in `platform/shelfcode/serving/surface_settings.py`; change them, not it."""

AUDIT_INTRODUCTION = """# Configuration of an audit

`jobs/audit_catalog.py` takes the fields below as `--set field=value` or `--set section.field=value`; a field left out takes its default, an
unknown field is an error.

This file is written by `make docs` from the models in `settings.py` of `platform/shelfcode/audit/` and of `audit/scoring/`; change
them, not it."""

JUDGE_INTRODUCTION = """# Configuration of a judge

`jobs/judge_clusters.py` takes the fields below as `--set field=value` ([judge.md](judge.md)); a field left out takes its default, an
unknown field is an error.

This file is written by `make docs` from the models in `platform/shelfcode/evaluation/judge/settings.py`; change them, not it."""

RETRIEVER_INTRODUCTION = """# Configuration of a retriever

A recipe under `jobs/retrievers/`, or one of your own, is a YAML file with the fields below, for `jobs/train_retriever.py`
([retrieval.md](retrieval.md)). A field left out takes its default; an unknown field is an error; `--set section.field=value` sets one for a
run. The last section is what `jobs/retrieve_batch.py` takes as `--set field=value`.

This file is written by `make docs` from the models in `platform/shelfcode/retrieval/recipe.py`, `answering_settings.py` beside it, and
`platform/shelfcode/interactions/settings.py`; change them, not it."""

TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
LINKS = {
    "RouteSettings": "[a route](#surfacesname)", "KeySettings": "[a key](#keys)", "RetrieveSettings": "[how carts are answered](#retrieve)",
    "ExtractorSettings": "[an extractor](configuration.md#extractor)",
}  # fmt: skip
BOUNDS = {
    "exclusiveMinimum": "> {}",
    "minimum": ">= {}",
    "exclusiveMaximum": "< {}",
    "maximum": "<= {}",
    "minItems": "entries >= {}",
    "maxItems": "entries <= {}",
    "minLength": "characters >= {}",
    "maxLength": "characters <= {}",
    "pattern": "matches `{}`",
}


class Listed(NamedTuple):
    """Settings that a page lists: where in a file they stand, and how they are called where they are the whole of it."""

    model: type[Settings]
    path: str = ""
    name: str = "recipe"


def documents() -> dict[str, str]:
    """Name of each file -> the whole of it."""
    retriever = [Listed(RetrieverRecipe), Listed(AnsweringSettings, name="answering in bulk")]
    surfaces = [
        Listed(SurfaceSettings),
        Listed(RouteSettings, "surfaces.NAME"),
        Listed(RetrieveSettings, "retrieve"),
        Listed(KeySettings, "keys"),
    ]
    files: dict[str, tuple[str, list[Listed]]] = {
        "configuration.md": (INTRODUCTION, [Listed(Recipe)]),
        "encoder-configuration.md": (ENCODER_INTRODUCTION, [Listed(RelevanceRecipe)]),
        "audit-configuration.md": (AUDIT_INTRODUCTION, [Listed(AuditSettings)]),
        "judge-configuration.md": (JUDGE_INTRODUCTION, [Listed(JudgeSettings)]),
        "retriever-configuration.md": (RETRIEVER_INTRODUCTION, retriever),
        "surfaces-configuration.md": (SURFACES_INTRODUCTION, surfaces),
    }
    return {
        name: "\n\n".join([introduction, *(section for each in listed for section in sections(*each))]) + "\n"
        for name, (introduction, listed) in files.items()
    }


def sections(model: type[Settings], path: str, name_of_whole: str = "recipe") -> Iterator[str]:
    """A section a model: the recipe's own fields first, then those of each of its parts, and of the settings that a mapping leads to."""
    schema = model.model_json_schema()
    rows, parts = [], []
    for name, field in model.model_fields.items():
        full = f"{path}.{name}" if path else name
        part = part_of(field)
        if part:
            parts.append((part[0], full + part[1]))
            if not part[1]:
                continue
        value = schema["properties"][name]
        default = "required" if field.is_required() else f"`{json.dumps(value['default'])}`" if "default" in value else "made anew"
        type_ = f"mapping to {link(full + part[1])}" if part else kind(value)
        rows.append([f"`{full}`", type_, default, ", ".join(limits(value)) or "-", field.description or "-"])
    text = [f"## {path or name_of_whole}", inspect.getdoc(model) or ""]
    if rows:
        text.append(table(["field", "type", "default", "limits", "meaning"], rows))
    checks = [name.strip("_").replace("_", " ") for name in model.__pydantic_decorators__.model_validators]
    if checks:
        text.append(f"Fields are also held against each other: {', '.join(checks)}.")
    yield "\n\n".join(text)
    for part, full in parts:
        yield from sections(part, full)


def kind(value: dict[str, Any]) -> str:
    """The type of a value, from its JSON schema."""
    if "$ref" in value:
        return LINKS.get(value["$ref"].rsplit("/", 1)[-1], "settings")
    if "anyOf" in value:
        return " or ".join(kind(option) for option in value["anyOf"])
    choices = value.get("enum") or ([value["const"]] if "const" in value else [])
    if choices:
        return " or ".join(f"`{choice}`" for choice in choices)
    if value.get("format") == "date-time":
        return "date and time"
    if value["type"] == "array":
        return f"list of {kind(value['items'])}"
    if value["type"] == "object":
        values = value["additionalProperties"]
        return "mapping" if values is True else f"mapping to {kind(values)}"
    return TYPES[value["type"]]


def link(heading: str) -> str:
    """A link to a section of the same file, as GitHub names it."""
    return f"[{heading}](#{heading.lower().replace('.', '')})"


def limits(value: dict[str, Any]) -> list[str]:
    """What a value must keep to besides its type."""
    found = [text.format(value[name]) for name, text in BOUNDS.items() if name in value]
    found += [text for option in value.get("anyOf", []) for text in limits(option)]
    if "items" in value:
        found += [f"each {text}" for text in limits(value["items"])]
    if "propertyNames" in value:
        found.append("keys: " + ", ".join(f"`{key}`" for key in value["propertyNames"]["enum"]))
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or say whether they are current; the exit code."""
    parser = argparse.ArgumentParser(description="Write the pages of docs/ that list the fields of recipes.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is out of date")
    check = parser.parse_args(arguments).check
    stale = [name for name, text in documents().items() if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text]
    if not check:
        for name, text in documents().items():
            (FOLDER / name).write_text(text)
        return 0
    for name in stale:
        print(f"{name} is out of date: run make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
