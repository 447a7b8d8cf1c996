"""What passes between a reviewer and the store: the card that is shown, and the decision that comes back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from shelfcode.errors import ShelfcodeError

Verdict = Literal["accept", "relabel", "keep", "code_wrong", "unsure", "exclude"]
"""accept: the first suggested path, or another one of them, is right. relabel: a path that was not suggested is. keep: the given path is
right. code_wrong: it is, and the code is what is wrong. unsure: another reviewer should look. exclude: no product that should be judged."""

State = Literal[
    "open", "claimed", "decided", "second_review", "agreed", "conflict", "adjudicated", "exported", "applied", "reverted", "stale"
]
"""Where a finding stands. decided: by one, and that is enough. second_review: by one; another one decides, who is not shown the verdict."""

Arm = Literal["ranked", "random", "gold"]
"""How a finding came to a reviewer: by its priority, by chance among all findings, or because the right answer is known."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
STATES: tuple[State, ...] = get_args(State)


class Changed(ShelfcodeError):  # noqa: N818 - what happened, not a fault
    """A decision against something that has changed since it was shown; the message says what. Over HTTP a 409.

    Attributes:
        card: the finding as it is now; None where the change is not about one finding.
    """

    def __init__(self, message: str, card: "Card | None" = None) -> None:
        super().__init__(message)
        self.card = card


class NotFound(ShelfcodeError):  # noqa: N818
    """No such audit, finding, pattern or decision. Over HTTP a 404."""


@dataclass(frozen=True)
class Filters:
    """Which findings; a field that is None or empty lets all through.

    Attributes:
        department: the first name of the given path.
        p_min, popularity_min: at least so much.
        text: occurs in the title, the brand or the item_id, in whichever case.
    """

    department: str | None = None
    issue: str | None = None
    brand: str | None = None
    pattern: str | None = None
    state: State | None = None
    p_min: float | None = None
    popularity_min: float | None = None
    text: str | None = None


@dataclass(frozen=True)
class Card:
    """A finding as a reviewer is shown it.

    Attributes:
        finding: row of the audit's findings (audit/finding.py: FINDINGS) as plain Python values.
        state: of the finding now.
        version: number of events that the finding has had, claims and releases not counted; a decision names it, and is refused where it
            is no longer the same.
        claimed_by, claimed_until: whose it is now; None where it is nobody's.
        arm, batch: to be sent back with the decision.
        p_shown: the probability that it is wrong, with what decisions have taught since the audit.
        decisions: those that stand, oldest first; empty for a reviewer who must not see them, since a second review is blind.
    """

    audit: str
    finding_id: str
    finding: dict[str, Any]
    state: State
    version: int
    arm: Arm
    batch: str
    p_shown: float
    claimed_by: str | None = None
    claimed_until: datetime | None = None
    decisions: "tuple[Event, ...]" = ()


@dataclass(frozen=True)
class Decision:
    """What a reviewer says of one finding.

    Attributes:
        path: the right path, for accept (one of the suggested ones, the first where it is None) and relabel; None otherwise.
        version: of the card that was shown.
        seconds: that the reviewer spent on it.
        idempotency_key: chosen by whoever sends it; the same decision sent twice counts once.
        new_path: relabel to a path that no product has yet is meant, and no slip.
    """

    finding_id: str
    verdict: Verdict
    version: int
    idempotency_key: str
    path: tuple[str, ...] | None = None
    note: str = ""
    seconds: float | None = None
    arm: Arm = "ranked"
    batch: str = ""
    new_path: bool = False


@dataclass(frozen=True)
class Event:
    """One thing that happened to a finding. Events are never changed nor removed: an undo is one more of them.

    Attributes:
        kind: decision, carried (a decision made in an earlier audit about the same text under the same label), adjudication, undo, claim,
            release, exported, applied, reverted, stale.
        undoes: the event that an undo takes back.
        bulk: what one action over many findings has in common.
        text_hash: of the text that was judged.
        until: when a claim ends; of a release, until when the finding is not offered to the same reviewer again.
        wants_second: whether another reviewer was to look, too.
    """

    event_id: int
    audit: str
    finding_id: str
    item_id: str
    kind: str
    by: str
    at: datetime
    verdict: Verdict | None = None
    path: tuple[str, ...] | None = None
    note: str = ""
    seconds: float | None = None
    p_shown: float | None = None
    arm: Arm | None = None
    batch: str = ""
    bulk: str | None = None
    undoes: int | None = None
    text_hash: str = ""
    until: datetime | None = None
    wants_second: bool = False
