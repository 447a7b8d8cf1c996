"""A card as its page shows it: paths as a diff, probabilities in percent, and the evidence in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shelfcode.audit.decisions.decision import Card

ISSUE_WORDS = {
    "wrong_branch": "Wrong department",
    "wrong_leaf": "Wrong category, right department",
    "too_shallow": "Filed too high up",
    "placeholder": "In a category that says nothing",
    "conflict": "The same product is filed elsewhere, too",
    "outlier": "Fits nowhere",
    "sparse_text": "Too little text to say",
    "spelling": "The label in another spelling",
}
FAULT_WORDS = {
    "label": "The label looks wrong; the semantic ID fits the text.",
    "code": "The semantic ID looks wrong; the label fits the text.",
    "ambiguous": "The views do not agree on what is wrong.",
}
VERDICT_WORDS = {
    "accept": "Suggestion accepted", "relabel": "Relabelled", "keep": "Label kept", "code_wrong": "Code is wrong", "unsure": "Unsure",
    "exclude": "Excluded",
}  # fmt: skip
STATE_WORDS = {
    "open": "open", "claimed": "being looked at", "decided": "decided", "second_review": "waiting for a second reviewer",
    "agreed": "agreed by two", "conflict": "in conflict", "adjudicated": "settled by a lead", "exported": "exported",
    "applied": "applied to the catalog", "reverted": "reverted in the catalog", "stale": "changed since",
}  # fmt: skip


@dataclass(frozen=True)
class PathDiff:
    """Two paths: the names that they begin with in common, and what is left of each."""

    common: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]


@dataclass(frozen=True)
class Suggestion:
    """A suggested path, the key that takes it, and its probability."""

    key: int
    path: tuple[str, ...]
    p: float | None
    diff: PathDiff


@dataclass(frozen=True)
class CardView:
    """A card, ready to be shown. `image` is an http or https address, or None."""

    card: Card
    title: str
    given: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    issue: str
    fault: str
    image: str | None
    evidence: dict[str, Any]

    @property
    def finding(self) -> dict[str, Any]:
        return self.card.finding

    @property
    def nearest(self) -> list[dict[str, Any]]:
        """The five nearest products, each with the part of its path that the given one has as well."""
        return [{**row, "diff": path_diff(self.given, row["path"] or ())} for row in (self.evidence.get("nearest") or ())[:5]]


def card_view(card: Card) -> CardView:
    """A card, ready to be shown."""
    finding, given = card.finding, tuple(card.finding["given_path"] or ())
    evidence = finding.get("evidence") or {}
    paths, chances = finding.get("suggested_paths") or (), finding.get("suggested_p") or ()
    suggestions = tuple(
        Suggestion(place + 1, tuple(path), chances[place] if place < len(chances) else None, path_diff(given, path))
        for place, path in enumerate(paths[:5])
    )
    return CardView(
        card, finding.get("title") or "", given, suggestions, issue_words(finding["issue"]),
        FAULT_WORDS.get(evidence.get("fault") or "", ""), web_address(finding.get("image")), evidence,
    )  # fmt: skip


def issue_words(issue: str) -> str:
    """What an issue is called in front of people."""
    return ISSUE_WORDS.get(issue, issue.replace("_", " "))


def path_diff(given: Sequence[str], other: Sequence[str]) -> PathDiff:
    """What two paths begin with in common, and what is left of each."""
    same = 0
    while same < min(len(given), len(other)) and given[same] == other[same]:
        same += 1
    return PathDiff(tuple(given[:same]), tuple(given[same:]), tuple(other[same:]))


def web_address(text: str | None) -> str | None:
    """An http or https address that a browser may fetch a picture from; None for anything else that stands in the column."""
    try:
        parts = urlsplit((text or "").strip())
        return parts.geturl() if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None
