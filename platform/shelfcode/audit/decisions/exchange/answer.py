"""An answer that was given elsewhere, before it is matched with a finding, and how a finding is told there."""

from dataclasses import dataclass, field
from typing import Any

from shelfcode.audit.decisions.decision import Card
from shelfcode.catalog.decided_labels import PATH_SEPARATOR
from shelfcode.catalog.rejected import RejectedRow

CategoryPath = tuple[str, ...]

STAGE = "decisions"

ELSEWHERE = {
    "relabel": "The label is wrong; the right one is chosen below",
    "keep": "The label is right",
    "code_wrong": "The label is right, and the product lies among the wrong ones",
    "unsure": "I cannot say",
    "exclude": "No product that should be judged",
}
"""What a reviewer elsewhere can say. A path that was suggested makes an `accept` of `relabel` when it comes back."""


@dataclass(frozen=True)
class Answer:
    """What somebody said elsewhere.

    Attributes:
        place: where it was read, for messages.
        finding_id: None where only the product is known.
        from_path, text_hash: what was judged, where the file says so.
        row: as it is kept where the answer is refused.
    """

    place: str
    finding_id: str | None
    item_id: str | None
    verdict: str
    path: CategoryPath | None = None
    from_path: CategoryPath | None = None
    text_hash: str | None = None
    note: str = ""
    seconds: float | None = None
    row: dict[str, Any] = field(default_factory=dict)


def refused(answer: Answer, reason: str) -> RejectedRow:
    return RejectedRow(answer.item_id, STAGE, f"{reason}{', ' if ':' in reason else ': '}{answer.place}", answer.row)


def product_text(card: Card) -> str:
    """Title, brand and description, as a reviewer elsewhere reads them."""
    parts = (card.finding.get(name) for name in ("title", "brand", "description"))
    return "\n".join(part for part in parts if part) or str(card.finding["item_id"])


def shown(path: CategoryPath | list[str] | None) -> str:
    return PATH_SEPARATOR.join(path) if path else "(none)"


def reason(card: Card) -> str:
    return str((card.finding.get("evidence") or {}).get("reason") or "")
