"""Findings as tasks of Label Studio, and its annotations as answers.

Format: https://labelstud.io/guide/task_format and https://labelstud.io/guide/predictions. A task is {"data": ..., "predictions": [...]},
and what is exported ("JSON", not "JSON-MIN") has the same data and {"annotations": [{"result": [...]}]}.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from shelfcode.audit.decisions.decision import Card
from shelfcode.audit.decisions.exchange.answer import ELSEWHERE, STAGE, Answer, CategoryPath, product_text, reason, shown
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.errors import ShelfcodeError

TASKS_FILE, CONFIG_FILE = "tasks.json", "labeling_config.xml"

_SKIPPED = "skipped by the annotator"


def tasks(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """One task per finding, with the audit's own suggestion as a prediction. `score` is the probability that the label is wrong."""
    return [_task(card) for card in cards]


def labeling_config(paths: Iterable[CategoryPath], with_images: bool) -> str:
    """The labeling interface: the product, its label, the reason, what to say of it, and the categories as a tree."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$given")
    ElementTree.SubElement(view, "Text", name="product", value="$product")
    ElementTree.SubElement(view, "Text", name="reason", value="$reason")
    if with_images:
        ElementTree.SubElement(view, "Image", name="image", value="$image")
    choices = ElementTree.SubElement(view, "Choices", name="verdict", toName="product", choice="single", required="true")
    for verdict, sentence in ELSEWHERE.items():
        ElementTree.SubElement(choices, "Choice", alias=verdict, value=sentence)
    attributes = {"name": "path", "toName": "product", "showFullPath": "true", "pathSeparator": " > ", "maxUsages": "1"}
    taxonomy = ElementTree.SubElement(view, "Taxonomy", attributes)
    nodes: dict[CategoryPath, ElementTree.Element] = {(): taxonomy}
    for path in sorted(paths):
        for depth in range(1, len(path) + 1):
            if path[:depth] not in nodes:
                nodes[path[:depth]] = ElementTree.SubElement(nodes[path[: depth - 1]], "Choice", value=path[depth - 1])
    ElementTree.SubElement(view, "TextArea", name="note", toName="product", placeholder="Note")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def read_tasks(text: str, url: str) -> Iterator[Answer | RejectedRow]:
    """Answers of annotated tasks; tasks that nobody annotated are left out, and those on which annotators disagree are refused.

    Raises:
        ShelfcodeError: this is no export of tasks.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ShelfcodeError(f"{url} is not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in found):
        hint = "expected a list of objects with `data`. Export as JSON, not as JSON-MIN"
        raise ShelfcodeError(f"{url} holds no tasks of Label Studio: {hint}")
    for number, task in enumerate(found, start=1):
        yield from _answers(task, f"task {task.get('id', number)} of {url}")


def _task(card: Card) -> dict[str, Any]:
    finding = card.finding
    data = {
        "finding_id": card.finding_id, "audit": card.audit, "item_id": finding["item_id"], "text_hash": finding["text_hash"],
        "given_path": list(finding["given_path"] or ()), "given": shown(finding["given_path"]), "product": product_text(card),
        "reason": reason(card), "issue": finding["issue"], "p_wrong": card.p_shown,
    }  # fmt: skip
    if finding.get("image"):
        data["image"] = finding["image"]
    suggested = finding["suggested_paths"] or ()
    result = [_result("verdict", "choices", ["relabel" if suggested else "unsure"])]
    result += [_result("path", "taxonomy", [list(path)]) for path in suggested[:1]]
    return {"data": data, "predictions": [{"model_version": card.audit, "score": card.p_shown, "result": result}]}


def _result(name: str, kind: str, value: list[Any]) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": "product", "type": kind, "value": {kind: value}}


def _answers(task: dict[str, Any], place: str) -> Iterator[Answer | RejectedRow]:
    data, annotations = task["data"], [each for each in task.get("annotations") or () if each.get("result") or each.get("was_cancelled")]
    read = [_answer(data, annotation, place, task) for annotation in annotations]
    said = {(answer.verdict, answer.path) for answer in read if isinstance(answer, Answer)}
    if len(said) > 1:
        verdicts = ", ".join(sorted(f"{verdict} {shown(path) if path else ''}".strip() for verdict, path in said))
        yield RejectedRow(_text(data.get("item_id")), STAGE, f"annotators disagree: {verdicts}, {place}", task)
    elif said:
        yield next(answer for answer in read if isinstance(answer, Answer))
    else:
        yield from read[:1]


def _answer(data: dict[str, Any], annotation: dict[str, Any], place: str, task: dict[str, Any]) -> Answer | RejectedRow:
    item_id = _text(data.get("item_id"))
    if annotation.get("was_cancelled"):
        return RejectedRow(item_id, STAGE, f"{_SKIPPED}: {place}", task)
    values = {each.get("from_name"): each.get("value") or {} for each in annotation["result"]}
    choices: list[Any] = values.get("verdict", {}).get("choices") or []
    paths = _deepest([tuple(map(str, path)) for path in values.get("path", {}).get("taxonomy") or ()])
    if len(choices) != 1:
        return RejectedRow(item_id, STAGE, f"expected one choice of `verdict`, got {len(choices)}: {place}", task)
    if len(paths) > 1:
        return RejectedRow(item_id, STAGE, f"several paths were chosen: {', '.join(map(shown, paths))}, {place}", task)
    by_sentence = {sentence: verdict for verdict, sentence in ELSEWHERE.items()}
    verdict, given = by_sentence.get(choices[0], str(choices[0])), data.get("given_path")
    return Answer(
        place=place, finding_id=_text(data.get("finding_id")), item_id=item_id, verdict=verdict,
        path=paths[0] if paths and verdict == "relabel" else None,
        from_path=tuple(given) or None if isinstance(given, list) else None, text_hash=_text(data.get("text_hash")),
        note="\n".join(values.get("note", {}).get("text") or ()), seconds=annotation.get("lead_time"), row=task,
    )  # fmt: skip


def _deepest(paths: Sequence[CategoryPath]) -> list[CategoryPath]:
    """Paths without those that lie above another one: Label Studio may name the ancestors of what was chosen, too."""
    return [path for path in paths if not any(path != other and path == other[: len(path)] for other in paths)]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
