"""What a finding's events come to: its state, and the answer that stands. Pure; the store keeps a copy of the result, for the queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shelfcode.audit.decisions.decision import Arm, Event, State, Verdict

WAITING: tuple[State, ...] = ("open", "second_review")
"""States in which somebody is to decide."""

SETTLED: tuple[State, ...] = ("decided", "agreed", "adjudicated", "exported", "applied")
"""States in which an answer stands."""

UNCOUNTED = ("claim", "release")
"""Events after which nothing else is known of a finding; its version stays."""

MARKS = ("exported", "applied", "reverted")


@dataclass(frozen=True)
class Claim:
    """Whose a finding is, and until when. It ends by itself."""

    event_id: int
    by: str
    until: datetime
    arm: Arm
    batch: str


@dataclass(frozen=True)
class Standing:
    """Where a finding stands.

    Attributes:
        state: `claimed` is none of these; see `at`.
        version: number of events, claims and releases not counted.
        verdict, path: the answer that stands; None before the first decision. `unsure` while reviewers contradict each other.
        arm: how the finding came to its first reviewer; `bulk` for what one action decided over many, `carried` for what was decided in an
            earlier audit.
        event_id: of the answer.
        reviewers: who has given an opinion that was not taken back.
    """

    state: State
    version: int
    verdict: Verdict | None = None
    path: tuple[str, ...] | None = None
    arm: str | None = None
    event_id: int | None = None
    reviewers: tuple[str, ...] = ()
    claim: Claim | None = None

    def at(self, now: datetime) -> State:
        """The state at a time, `claimed` where a claim lasts."""
        return "claimed" if self.claim and self.claim.until > now and self.state in WAITING else self.state


def fold(events: Sequence[Event]) -> Standing:
    """Where a finding stands after its events, oldest first."""
    live, version = standing_events(events), sum(event.kind not in UNCOUNTED for event in events)
    opinions = [event for event in live if event.kind in ("decision", "carried")]
    adjudication = next((event for event in reversed(live) if event.kind == "adjudication"), None)
    answer = adjudication or _answer(opinions)
    state: State = "adjudicated" if adjudication else _state_of(opinions)
    if state in SETTLED:
        state = _last_mark(live, after=max(event.event_id for event in (*opinions, *filter(None, [adjudication])))) or state
    if any(event.kind == "stale" for event in live):
        state = "stale"
    reviewers = tuple(dict.fromkeys(event.by for event in opinions))
    if answer is None:
        return Standing(state, version, reviewers=reviewers, claim=_claim(live))
    first = opinions[0] if opinions else answer
    arm = "bulk" if first.bulk else "carried" if first.kind == "carried" else first.arm
    contradicted = state == "conflict"
    return Standing(
        state, version, "unsure" if contradicted else answer.verdict, None if contradicted else answer.path, arm, answer.event_id,
        reviewers, _claim(live),
    )  # fmt: skip


def standing_events(events: Sequence[Event]) -> list[Event]:
    """Events that were not taken back, without those that took others back."""
    undone = {event.undoes for event in events if event.kind == "undo"}
    return [event for event in events if event.kind != "undo" and event.event_id not in undone]


def meaning(event: Event) -> tuple[str, ...]:
    """What an opinion says of the label. Two reviewers agree where this is the same: who keeps a label and who blames the code do."""
    if event.verdict in ("accept", "relabel"):
        return ("moved", *(event.path or ()))
    return ("kept",) if event.verdict in ("keep", "code_wrong") else (str(event.verdict),)


def _state_of(opinions: Sequence[Event]) -> State:
    """What opinions come to. Who is unsure asks for another; a second one who is unsure, too, leaves it to the lead."""
    votes = [event for event in opinions if event.verdict != "unsure"]
    if not opinions:
        return "open"
    if len(votes) > 1:
        return "agreed" if len(set(map(meaning, votes))) == 1 else "conflict"
    last = opinions[-1]
    if last.verdict == "unsure":
        return "second_review" if len(opinions) == 1 else "conflict"
    return "second_review" if last.wants_second else "decided"


def _answer(opinions: Sequence[Event]) -> Event | None:
    """The first opinion that says something; else the first."""
    return next((event for event in opinions if event.verdict != "unsure"), opinions[0] if opinions else None)


def _last_mark(live: Sequence[Event], after: int) -> State | None:
    """What became of an answer once it stood."""
    marks: list[State] = [event.kind for event in live if event.kind in MARKS and event.event_id > after]  # type: ignore[misc]
    return marks[-1] if marks else None


def _claim(live: Sequence[Event]) -> Claim | None:
    """The last claim, unless it was given up or used since."""
    for event in reversed(live):
        if event.kind == "claim":
            assert event.until is not None
            return Claim(event.event_id, event.by, event.until, event.arm or "ranked", event.batch)
        if event.kind in ("release", "decision", "adjudication", "carried", "stale"):
            return None
    return None
