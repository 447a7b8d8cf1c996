"""What both steps of reading a log count, and the sum of it: the record of the log."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.record import EventCounts, InteractionsRecord, LogPart
from shelfcode.interactions.session_rows import EventRows
from shelfcode.interactions.sessions import SUMMED, SessionFacts
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.settings import deciding

_SHOWN_ITEMS = 5

MOST_NAMES = {"surfaces": ("surface", 100_000), "retailers": ("retailer_id", 1_000_000)}
"""Names of each sort at most. A column with more of them holds something else, which would fill the driver's memory."""

MOST_KINDS = 1_000
"""Kinds of events that are counted, the commonest."""


@dataclass
class Tally:
    """What is known of the events that were read, before they are sessions; a sum of what EventRows tells."""

    rows: int = 0
    read: int = 0
    passed_over: int = 0
    rejected: int = 0
    joined: int = 0
    unknown: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unknown_items: list[str] = field(default_factory=list)
    retailers: set[str] = field(default_factory=set)
    surfaces: set[str] = field(default_factory=set)

    def add(self, other: "Tally") -> None:
        """Add what was counted elsewhere.

        Raises:
            ShelfcodeError: there are too many names of a sort.
        """
        for name in ("rows", "read", "passed_over", "rejected", "joined", "unknown"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds = Counter(dict((self.kinds + other.kinds).most_common(MOST_KINDS)))
        self.reasons.update(other.reasons)
        self.unknown_items = list(dict.fromkeys([*self.unknown_items, *other.unknown_items]))[:_SHOWN_ITEMS]
        self.retailers |= other.retailers
        self.surfaces |= other.surfaces
        for name, (column, most) in MOST_NAMES.items():
            if len(getattr(self, name)) > most:
                raise ShelfcodeError(
                    f"{column} has more than {most:,} different values: it is another column. Name the right one with "
                    f"--set interactions.columns.{column}=THEIR_NAME"
                )

    def to_json(self) -> str:
        """As text, for passing on."""
        return json.dumps({name: sorted(value) if isinstance(value, set) else value for name, value in vars(self).items()})

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """What `to_json` gave."""
        values: dict[str, Any] = json.loads(text)
        sets = {name: set(values[name]) for name in ("retailers", "surfaces")}
        return cls(**{**values, **sets, "kinds": Counter(values["kinds"]), "reasons": Counter(values["reasons"])})


def counted(read: EventRows) -> Tally:
    """The counts of some rows; without the number of rows, and without the reasons."""
    return Tally(
        read=read.read, passed_over=read.passed_over, rejected=len(read.rejected), joined=read.joined, unknown=read.unknown,
        kinds=read.kinds, unknown_items=list(read.unknown_items), retailers=set(read.retailers), surfaces=set(read.surfaces),
    )  # fmt: skip


class StoredSessions(BaseModel):
    """The sessions of a partition, stored; counts as in InteractionsRecord.

    Attributes:
        part: None where no event is left.
    """

    model_config = ConfigDict(frozen=True)

    part: LogPart | None
    facts: SessionFacts
    duplicates: int
    over_limit: int
    users_over_limit: int


def complete_record(
    settings: InteractionSettings, tally: Tally, stored: Sequence[StoredSessions], said: dict[str, Any]
) -> InteractionsRecord:
    """What became of a log, of all that both steps counted.

    Args:
        said: the fields that nobody counts: folder, source, catalog, products and rejected_folder.

    Raises:
        RuntimeError: an event is not accounted for.
    """
    parts = tuple(each.part for each in stored if each.part)
    facts = [each.facts for each in stored]
    events = EventCounts(
        read=tally.read, used=sum(part.events for part in parts), duplicates=sum(each.duplicates for each in stored),
        rejected=tally.rejected, over_limit=sum(each.over_limit for each in stored), passed_over=tally.passed_over,
    )  # fmt: skip
    if events.used + events.duplicates + events.rejected + events.over_limit + events.passed_over != events.read:
        raise RuntimeError(f"events are not accounted for: {events}")
    sums = {name: sum(getattr(each, name) for each in facts) for name in SUMMED}
    return InteractionsRecord(
        **said, settings=deciding(settings),
        fingerprint=f"{sum(each.fingerprint for each in facts) % 2**64:016x}", rows=tally.rows, events=events,
        reasons=dict(tally.reasons.most_common()), unknown_events=tally.unknown,
        joined_events=tally.joined, unknown_examples=tuple(tally.unknown_items), kinds=dict(tally.kinds.most_common()),
        users_over_limit=sum(each.users_over_limit for each in stored), retailers=tuple(sorted(tally.retailers)),
        surfaces=tuple(sorted(tally.surfaces)), parts=parts,
        first_at=min((each.first_at for each in facts if each.first_at is not None), default=None),
        last_at=max((each.last_at for each in facts if each.last_at is not None), default=None), **sums,
    )  # fmt: skip
