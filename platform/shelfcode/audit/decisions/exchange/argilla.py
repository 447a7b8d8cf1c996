"""Findings as a dataset of Argilla, and its responses as answers.

Format: what `argilla.Dataset.from_disk(FOLDER)` reads and `dataset.to_disk(FOLDER)` or `dataset.records.to_json(FILE)` writes (Argilla 2):
records.json, .argilla/settings.json and .argilla/dataset.json.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from shelfcode.audit.decisions.decision import Card
from shelfcode.audit.decisions.exchange.answer import ELSEWHERE, STAGE, Answer, CategoryPath, product_text, reason, shown
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.errors import ShelfcodeError

RECORDS_FILE, SETTINGS_FILE, DATASET_FILE = "records.json", ".argilla/settings.json", ".argilla/dataset.json"

OPTIONS_MAX = 500
"""More options than this Argilla's server refuses by default; then the path is asked for as a text."""

GUIDELINES = (
    "Is the label of each product right? Where it is wrong, choose the right one as `path`; the suggestion is the audit's own. "
    "A path is written as its names from the department down, joined by ' > '."
)


_IDENTITY = ("audit", "item_id", "text_hash")


def records(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """One record per finding; its id is the finding's."""
    return [_record(card) for card in cards]


def settings(paths: Sequence[CategoryPath], cards: Sequence[Card]) -> dict[str, Any]:
    """Fields, questions and metadata of the dataset.

    Args:
        paths: all categories. Those that are suggested are added.
    """
    suggested = {tuple(path) for card in cards for path in card.finding["suggested_paths"] or ()}
    names = list(dict.fromkeys(shown(path) for path in sorted({*paths, *suggested})))
    verdict = _question("verdict", "What is true of the label?", _options(ELSEWHERE.items()), required=True)
    title = "The right label, where it is wrong"
    if 2 <= len(names) <= OPTIONS_MAX:
        path = _question("path", title, _options((name, name) for name in names), required=False)
    else:
        path = _question("path", title, {"type": "text", "use_markdown": False}, required=False)
    note = _question("note", "Note", {"type": "text", "use_markdown": False}, required=False)
    fields = [
        {"name": name, "title": title, "required": name == "product", "settings": {"type": "text", "use_markdown": False}}
        for name, title in (("product", "Product"), ("given", "Its label"), ("reason", "Why it is doubted"))
    ]
    metadata = [
        *({"name": name, "title": name, "settings": {"type": "terms"}, "visible_for_annotators": True} for name in ("issue", "department")),
        {"name": "p_wrong", "title": "p_wrong", "settings": {"type": "float"}, "visible_for_annotators": True},
        *({"name": name, "title": name, "settings": {"type": "terms"}, "visible_for_annotators": False} for name in _IDENTITY),
    ]
    return {
        "guidelines": GUIDELINES, "questions": [verdict, path, note], "fields": fields, "vectors": [], "metadata": metadata,
        "allow_extra_metadata": True, "distribution": {"strategy": "overlap", "min_submitted": 1}, "mapping": None,
    }  # fmt: skip


def dataset(audit: str) -> dict[str, Any]:
    """The dataset's own description."""
    return {"name": audit, "guidelines": GUIDELINES, "allow_extra_metadata": True}


def read_records(text: str, url: str) -> Iterator[Answer | RejectedRow]:
    """Answers of completed records; pending ones are left out, and those on which annotators disagree are refused.

    Raises:
        ShelfcodeError: these are no records.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ShelfcodeError(f"{url} is not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) and {"fields", "responses"} <= set(each) for each in found):
        raise ShelfcodeError(f"{url} holds no records of Argilla: expected what dataset.records.to_json(FILE) writes")
    for number, record in enumerate(found, start=1):
        if record.get("status") != "pending":
            yield from _answers(record, f"record {number} of {url}")


def _record(card: Card) -> dict[str, Any]:
    finding = card.finding
    given, suggested, p = finding["given_path"], finding["suggested_paths"] or (), card.p_shown
    suggestions = {"verdict": {"value": "relabel" if suggested else "unsure", "score": p, "agent": card.audit}}
    if suggested:
        best = finding["suggested_p"] or [None]
        suggestions["path"] = {"value": shown(suggested[0]), "score": best[0], "agent": card.audit}
    return {
        "id": card.finding_id, "fields": {"product": product_text(card), "given": shown(given), "reason": reason(card)},
        "metadata": {
            "issue": finding["issue"], "department": given[0] if given else "", "p_wrong": p, "audit": card.audit,
            "item_id": finding["item_id"], "text_hash": finding["text_hash"],
        },
        "suggestions": suggestions, "responses": {}, "vectors": {}, "status": "pending", "_server_id": None,
    }  # fmt: skip


def _question(name: str, title: str, settings: dict[str, Any], required: bool) -> dict[str, Any]:
    return {"name": name, "title": title, "description": None, "required": required, "settings": settings}


def _options(pairs: Any) -> dict[str, Any]:
    options = [{"value": value, "text": text, "description": None} for value, text in pairs]
    return {"type": "label_selection", "options": options, "visible_options": max(3, min(20, len(options)))}


def _answers(record: dict[str, Any], place: str) -> Iterator[Answer | RejectedRow]:
    metadata, by_user = record.get("metadata") or {}, defaultdict[str, dict[str, Any]](dict)
    for question, responses in (record["responses"] or {}).items():
        for response in responses or ():
            by_user[str(response.get("user_id"))][question] = response.get("value")
    answered = [of for of in by_user.values() if of.get("verdict")]
    said = {(of["verdict"], of.get("path") if of["verdict"] == "relabel" else None): of for of in answered}
    item_id = metadata.get("item_id")
    if len(said) > 1:
        verdicts = ", ".join(sorted(f"{verdict} {path or ''}".strip() for verdict, path in said))
        yield RejectedRow(item_id, STAGE, f"annotators disagree: {verdicts}, {place}", record)
    for (verdict, path), of in said.items() if len(said) == 1 else ():
        names = tuple(name.strip() for name in path.split(" > ")) if isinstance(path, str) and path.strip() else None
        yield Answer(
            place=place, finding_id=record.get("id"), item_id=item_id, verdict=str(verdict), path=names,
            text_hash=metadata.get("text_hash"), note=str(of.get("note") or ""), row=record,
        )  # fmt: skip
