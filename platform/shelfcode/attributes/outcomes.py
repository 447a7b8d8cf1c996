"""What becomes of an answer: read, held against the product's own text, or replaced by what the rules find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shelfcode.attributes.grounding import ground
from shelfcode.attributes.rules.evidence import read_evidence
from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR, extract
from shelfcode.attributes.rules.own_values import extract_extra
from shelfcode.attributes.schema import Attributes, ExtraAttributes, attributes_schema, parse_answer


@dataclass(frozen=True)
class Outcome:
    """One product's attributes before they are stored; `attributes` is None where there are none yet, and `failure` says why."""

    attributes: Attributes | None
    failure: str | None
    truncated: bool = False


def read_outcome(answer: str | None, error: str | None, truncated: bool, extra: ExtraAttributes) -> Outcome:
    """An engine's answer to one product, or what kept it from answering."""
    if error:
        return Outcome(None, f"engine error: {error.splitlines()[0][:200]}", truncated)
    try:
        return Outcome(parse_answer(answer or "", extra), None, truncated)
    except ValueError as problem:
        begun = (answer or "").strip()
        cut_off = begun.startswith("{") and not begun.endswith("}")
        reason = "cut off at the limit of tokens" if cut_off else str(problem).splitlines()[0][:200]
        return Outcome(None, f"invalid answer: {reason}", truncated)


def by_rules(product: Mapping[str, Any], extra: ExtraAttributes) -> Attributes:
    """What the rules find of a product."""
    attributes = extract(product["title"], product["description"], product["brand"])
    return attributes.model_copy(update={"extra": extract_extra(product["title"], product["description"], extra)}) if extra else attributes


def attributes_rows(products: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome], extractor: str, extra: ExtraAttributes) -> pa.Table:
    """Rows of an attributes table: every outcome held against its product's text; one without attributes is left to the rules.

    Args:
        products: item_id, text_hash, title, description and brand of each.
        extractor: the name of the extractor that the outcomes are of.
    """
    rows = []
    for product, outcome in zip(products, outcomes, strict=True):
        evidence = read_evidence(product["title"], product["description"], product["brand"])
        grounded = ground(outcome.attributes or by_rules(product, extra), evidence)
        rows.append({
            "item_id": product["item_id"], "text_hash": product["text_hash"], **grounded.attributes.columns(),
            "extractor": extractor if outcome.attributes else RULES_EXTRACTOR, "failure": outcome.failure,
            "truncated": outcome.truncated, "unsupported": list(grounded.unsupported),
        })  # fmt: skip
    return pa.Table.from_pylist(rows, attributes_schema(extra))
