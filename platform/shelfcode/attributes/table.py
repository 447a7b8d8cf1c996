"""The attributes table: what becomes of an answer, how it is stored, and the account of a catalog's extraction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.attributes.grounding import ground_product
from shelfcode.attributes.quotes import ground_quotes, keep_stated
from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR, by_rules
from shelfcode.attributes.schema import Attributes, ExtraAttributes, Quote, parse_quoted_answer
from shelfcode.attributes.settings import QUOTES_COLUMN, Grounding
from shelfcode.attributes.stored_texts import BY_RULES
from shelfcode.keys import KeyIndex, row_keys
from shelfcode.parts import name_of_rows, part_path
from shelfcode.workspace import Workspace

FOLDER = "attributes/"
"""Of a workspace; each extractor's table is a folder in it, under the extractor's name."""

_TEXTS = pa.list_(pa.string())
_QUOTES = pa.list_(pa.struct([("attribute", pa.string()), ("value", pa.string()), ("quote", pa.string())]))


def attributes_schema(extra: ExtraAttributes, quotes: bool = False) -> pa.Schema:
    """Columns of `<workspace>/attributes/<extractor>/part-*.parquet`.

    The contract's six, a list of texts for each attribute of the recipe's own, and what is known of the extraction: `extractor`
    (which one's answer this is: a product whose answer failed has another's), `failure` (why it is another's, else null),
    `truncated` (the text was longer than the model's context and was cut), `unsupported` (what the product's text did not
    support and was dropped). The table of an extractor with quotes has them last: `quotes`, the words of the text that bear out each
    ingredient and tag, null for what the rules filled.
    """
    return pa.schema(
        [
            ("item_id", pa.string()),
            ("text_hash", pa.string()),
            ("product_type", pa.string()),
            ("key_ingredients", _TEXTS),
            ("dietary_tags", _TEXTS),
            ("format", pa.string()),
            *((name, _TEXTS) for name in extra),
            ("extractor", pa.string()),
            ("failure", pa.string()),
            ("truncated", pa.bool_()),
            ("unsupported", _TEXTS),
            *([(QUOTES_COLUMN, _QUOTES)] if quotes else []),
        ]
    )


@dataclass(frozen=True)
class Outcome:
    """One product's attributes before they are stored; `attributes` is None where there are none yet, and `failure` says why.

    Attributes:
        quotes: the words of the text that the answer gives for its values, where it was asked for them.
    """

    attributes: Attributes | None
    failure: str | None
    truncated: bool = False
    quotes: tuple[Quote, ...] = ()


def read_outcome(answer: str | None, error: str | None, truncated: bool, extra: ExtraAttributes) -> Outcome:
    """An engine's answer to one product, or what kept it from answering."""
    if error:
        return Outcome(None, f"engine error: {error.splitlines()[0][:200]}", truncated)
    try:
        attributes, quotes = parse_quoted_answer(answer or "", extra)
        return Outcome(attributes, None, truncated, quotes)
    except ValueError as problem:
        begun = (answer or "").strip()
        cut_off = begun.startswith("{") and not begun.endswith("}")
        reason = "cut off at the limit of tokens" if cut_off else str(problem).splitlines()[0][:200]
        return Outcome(None, f"invalid answer: {reason}", truncated)


def attributes_rows(
    products: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome], extractor: str, extra: ExtraAttributes,
    grounding: Grounding = "lexicon", quotes: bool = False, english_share: float = 0.5,
) -> pa.Table:  # fmt: skip
    """Rows of an attributes table: every outcome held against its product's text; one without attributes is left to the rules.

    Args:
        products: item_id, text_hash, title, description and brand of each.
        extractor: the name of the extractor that the outcomes are of.
        quotes: whether the extractor was asked for quotes: then an answer's values are held against these.
        english_share: share of the catalog's texts that are English, for `quotes`.
    """
    rows = []
    for product, outcome in zip(products, outcomes, strict=True):
        kept: tuple[Quote, ...] | None = None
        if quotes and outcome.attributes and grounding != "off":
            grounded, kept = ground_quotes(outcome.attributes, outcome.quotes, product, extra, english_share)
        else:
            grounded = ground_product(outcome.attributes or by_rules(product, extra), product, grounding)
            if grounding != "off":
                grounded = keep_stated(grounded, product, extra)
            kept = outcome.quotes if outcome.attributes else None
        rows.append({
            "item_id": product["item_id"], "text_hash": product["text_hash"], **grounded.attributes.columns(),
            "extractor": extractor if outcome.attributes else RULES_EXTRACTOR, "failure": outcome.failure,
            "truncated": outcome.truncated, "unsupported": list(grounded.unsupported),
            **({QUOTES_COLUMN: None if kept is None else [each._asdict() for each in kept]} if quotes else {}),
        })  # fmt: skip
    return pa.Table.from_pylist(rows, attributes_schema(extra, quotes))


def write_part(workspace: Workspace, folder: str, table: pa.Table, prefix: str = "") -> None:
    """Store rows under a name that is the same when the same rows are stored again; `prefix` begins it."""
    workspace.write_table(part_path(folder, prefix + name_of_rows(row_keys(table["item_id"], table["text_hash"]))), table)


def store_rows(workspace: Workspace, folder: str, table: pa.Table) -> None:
    """Store rows of an attributes table; those that the rules filled because of a `failure` go into a part of their own."""
    failed_N = pc.is_valid(table["failure"])
    for prefix, rows in (("", table.filter(pc.invert(failed_N))), (BY_RULES, table.filter(failed_N))):
        if len(rows):
            write_part(workspace, folder, rows, prefix)


@dataclass(frozen=True)
class ExtractedCatalog:
    """Where the attributes of a snapshot's products are, and how they came there.

    Attributes:
        parts: of the attributes table, those of other products among them.
        owner: row key of each of the snapshot's products -> number of the part that holds its attributes.
        extracted, shared, reused: products that went through the extractor now, that share the text of another one, and that had
            been through it before; they add up.
        calls: times that the model was asked, second tries among them; 0 for the rules.
        failures: why products were left to the rules -> how many.
        truncated: of the extracted ones, those whose text was too long for the model.
        unsupported: ingredients and tags of the extracted ones that their text does not support, dropped.
        by_rules: products that the rules filled in place of the extractor, now or in earlier runs.
    """

    parts: tuple[str, ...]
    owner: KeyIndex
    extracted: int
    shared: int
    reused: int
    calls: int
    failures: dict[str, int]
    truncated: int
    unsupported: int
    by_rules: int = 0

    def account(self) -> list[str]:
        """What happened, in lines for people."""
        lines = [
            f"{self.extracted:,} texts extracted in {self.calls:,} calls of the model, {self.shared:,} products share another's text, "
            f"{self.reused:,} unchanged and not extracted again"
            if self.calls or not self.extracted
            else f"{self.extracted:,} texts extracted by rules, {self.shared:,} products share another's text, {self.reused:,} unchanged"
        ]
        lines += [f"left to the rules: {count:,} x {reason}" for reason, count in self.failures.items() if self.calls]
        if self.by_rules:
            lines.append(
                f"{self.by_rules:,} of {len(self.owner):,} products have the rules' attributes for now: the next run tries them again"
            )
        if self.truncated:
            lines.append(f"{self.truncated:,} texts were longer than the model's context and were cut at a word")
        if self.extracted:
            lines.append(f"{self.unsupported:,} ingredients and tags dropped: the product's own text does not support them")
        return lines

    def counts(self) -> dict[str, int]:
        """The same as numbers, for a job's last line."""
        return {
            "extracted": self.extracted, "shared": self.shared, "reused": self.reused, "calls": self.calls,
            "left_to_rules": sum(self.failures.values()), "truncated": self.truncated, "unsupported_dropped": self.unsupported,
        }  # fmt: skip
