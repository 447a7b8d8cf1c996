"""What became of a log of interactions that was read into the workspace: counts, facts, and the parts that hold its sessions."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.workspace import Workspace


class EventCounts(BaseModel):
    """What became of the events that were read: the other five add up to `read`. A row without products counts as one event.

    Attributes:
        used: in the sessions.
        duplicates: that came again in a session whose order means nothing.
        rejected: with a reason; there is a rejected row for each.
        over_limit: too old ones of users with more than `events_per_user_max`.
        passed_over: of kinds that `events` leaves out.
    """

    model_config = ConfigDict(frozen=True)

    read: int = 0
    used: int = 0
    duplicates: int = 0
    rejected: int = 0
    over_limit: int = 0
    passed_over: int = 0


class LogPart(BaseModel):
    """Some consecutive sessions of a log; all of a user's are in one part."""

    model_config = ConfigDict(frozen=True)

    path: str
    sessions: int
    events: int


class InteractionsRecord(BaseModel):
    """A log of interactions in the workspace, joined to one catalog.

    Attributes:
        folder: within the workspace: interactions/<digest>.
        source: the file, folder or glob that was read.
        settings: those that decide what comes of a log.
        catalog: digest of the catalog's item keys in their order, and `products`, how many they are.
        fingerprint: of the sessions' content: users, times, retailers, products. How the log was stored changes nothing.
        rows: that were read, be they sessions or events.
        events: what became of them.
        reasons: how often each reason rejected an event.
        rejected_folder: where the rejected ones are kept, within the workspace.
        unknown_events: events of products that the catalog lacks, of the `joined_events` that name a product; some of them as examples.
        kinds: events by their kind, the commonest kinds, passed-over events included; empty where the log does not tell kinds.
        sessions: with at least one event.
        single_sessions: with one product only.
        users: that the log names.
        returning_users: with at least two sessions.
        anonymous_sessions: without a user.
        sessions_without_time: of which the log does not say when they were.
        users_over_limit: users with more events than `events_per_user_max`.
        mixed_sessions: with events at several retailers; such a session counts for the one of its first event.
        retailers, surfaces: names, sorted; the parts refer to them by their places.
        first_at, last_at: seconds since 1970 (UTC) of the earliest and latest session; None where none has a time.
    """

    model_config = ConfigDict(frozen=True)

    folder: str
    source: str
    settings: dict[str, Any]
    catalog: str
    products: int
    fingerprint: str
    rows: int
    events: EventCounts
    reasons: dict[str, int]
    rejected_folder: str
    unknown_events: int
    joined_events: int
    unknown_examples: tuple[str, ...]
    kinds: dict[str, int]
    sessions: int
    single_sessions: int
    users: int
    returning_users: int
    anonymous_sessions: int
    sessions_without_time: int
    users_over_limit: int
    mixed_sessions: int
    retailers: tuple[str, ...]
    surfaces: tuple[str, ...]
    first_at: int | None
    last_at: int | None
    parts: tuple[LogPart, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of a session's events means something."""
        return bool(self.settings["ordered"])

    def lines(self) -> list[str]:
        """The counts as a reader wants them: the sum first, then whatever there was of each kind."""
        of = self.events
        lines = [
            f"{of.read:,} events read: {of.used:,} used, in {self.sessions:,} sessions of {self.users:,} users; "
            f"duplicates: {of.duplicates:,}, rejected: {of.rejected:,}"
        ]
        lines += [f"{count:,} x {reason}" for reason, count in self.reasons.items()]
        most = self.settings["events_per_user_max"]
        told = {
            "events of kinds that are not learnt from": of.passed_over,
            f"events left out of {self.users_over_limit:,} users who have more than {most:,}, the oldest ones": of.over_limit,
            "sessions without a user": self.anonymous_sessions,
            "sessions without a time": self.sessions_without_time,
            "sessions at several retailers, which count for the one of their first event": self.mixed_sessions,
        }
        return lines + [f"{what}: {count:,}" for what, count in told.items() if count]


def load_record(workspace: Workspace, folder: str) -> InteractionsRecord | None:
    """A log that was read to the end. None where there is none, or only one that was broken off.

    Raises:
        ShelfcodeError: its manifest is damaged.
    """
    manifest = f"{folder}/manifest.json"
    if not workspace.exists(manifest):
        return None
    try:
        return workspace.read_record(manifest, InteractionsRecord)
    except ShelfcodeError as error:
        raise ShelfcodeError(f"{error}; delete {folder}") from error


def check_products(joined: int, unknown: int, examples: tuple[str, ...], settings: InteractionSettings) -> None:
    """Refuse a log of another catalog.

    Raises:
        ShelfcodeError: more events than `unknown_products_max` allows are of products that the catalog lacks.
    """
    share, most = unknown / max(1, joined), settings.unknown_products_max
    if share > most:
        raise ShelfcodeError(
            f"{unknown:,} of {joined:,} events ({100 * share:.3g} %) are of products that the catalog lacks, such as "
            f"{', '.join(map(repr, examples))}; at most {100 * most:.3g} % may be. Give the catalog that the log is of and item_ids as it "
            f"has them, or leave these events out with --set interactions.unknown_products_max={math.ceil(100 * share) / 100}"
        )


def check_kinds(kinds: dict[str, int], settings: InteractionSettings) -> None:
    """Refuse names of kinds that no event has.

    Raises:
        ShelfcodeError: lists the kinds that there are.
    """
    if strangers := [kind for kind in settings.events or () if kind not in kinds]:
        found = ", ".join(f"{kind!r} ({count:,})" for kind, count in kinds.items()) or "none, since there is no column for them"
        raise ShelfcodeError(f"interactions.events names {', '.join(map(repr, strangers))}. Kinds of events found: {found}")


def check_sessions(record: InteractionsRecord) -> None:
    """Refuse a log in which no product stands beside or after another.

    Raises:
        ShelfcodeError: it has no session of two products, and no user of two sessions.
    """
    if not record.sessions:
        raise ShelfcodeError(f"no event can be used. {'. '.join(record.lines())}")
    if record.single_sessions == record.sessions and not record.returning_users:
        raise ShelfcodeError(
            f"a log with one product a session: nothing to learn from. None of its {record.sessions:,} sessions has two products, and "
            "nobody has two sessions. Name the column that holds a session's events together, or its users, with "
            "--set interactions.columns.session_id=THEIR_NAME or interactions.columns.user_id=THEIR_NAME"
        )
