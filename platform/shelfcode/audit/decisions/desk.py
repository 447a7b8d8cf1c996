"""The desk: what reviewers, leads, pages, the endpoint and jobs ask of the review store. All methods are synchronous and thread-safe."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid4

import pyarrow as pa
import sqlalchemy as sa

from shelfcode.audit.decisions import deciding, figures, reading
from shelfcode.audit.decisions.answers import AuditRow, BulkResult, Conflict, Facets, KnownPath, Page, PatternRow, ReviewSettings, Summary
from shelfcode.audit.decisions.database import Database, open_database
from shelfcode.audit.decisions.deciding import Desktop, Mark, check_name
from shelfcode.audit.decisions.decision import Arm, Card, Decision, Event, Filters, Verdict
from shelfcode.audit.decisions.estimates import CurvePoint, Reviewed
from shelfcode.audit.decisions.events import differing
from shelfcode.audit.decisions.figures import AuditedFindings, Shown
from shelfcode.audit.decisions.later_audits import catalog_now, items_decided_on, mark_earlier, take_over
from shelfcode.audit.decisions.queue import Asked, claim_next
from shelfcode.audit.decisions.reading import Seen
from shelfcode.audit.decisions.requests import once
from shelfcode.audit.decisions.tables import AUDITS
from shelfcode.audit.decisions.taking_in import copy_audit, is_taken_in
from shelfcode.audit.published_audit import load_audit
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

T = TypeVar("T")

EVERYTHING = Filters()

LEARNED_SECONDS = 30.0
"""How long findings are shown with what was known of probabilities before that is looked up again."""


def open_desk(url: str) -> "Desk":
    """Open a review store and bring its tables up to date.

    Args:
        url: sqlite:///path/reviews.sqlite, which is made where it is not there, or postgresql://user@host/name.

    Raises:
        ShelfcodeError: it cannot be opened, or a newer version of the library has written it; the message says what to do.
    """
    return Desk(open_database(url))


class Desk:
    """A review store.

    Every method raises NotFound for an audit that the store does not have, and ShelfcodeError where the database cannot be reached.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.database = database
        self.clock = clock
        self.rng = random.Random()
        self._figures: dict[int, tuple[int, AuditedFindings, Reviewed]] = {}
        self._learned: dict[str, tuple[float, Shown]] = {}
        self._known_paths = lru_cache(maxsize=8)(self._read_paths)

    def close(self) -> None:
        self.database.close()

    # Audits

    def take_in(self, workspace: Workspace, audit: str) -> None:
        """Copy a published audit into the store, unless it is there; at once or not at all, also when two processes do it together.

        Findings of earlier audits are marked as applied, reverted or stale by what the catalog says now, and what was decided before about
        the same text under the same label stands here, too.

        Raises:
            ShelfcodeError: there is no such audit in the workspace, or the store has one of the same name of another catalog.
        """
        manifest = load_audit(workspace, audit)
        if self.database.reading(lambda connection: is_taken_in(connection, manifest)):
            return
        now = catalog_now(workspace, manifest, self.database.reading(lambda connection: items_decided_on(connection, manifest)))

        def copy(connection: sa.Connection) -> None:
            number = copy_audit(self.database, connection, workspace, manifest, self.clock())
            if number is not None:
                mark_earlier(connection, manifest, now, self.clock())
                take_over(connection, number)

        self.database.writing(copy)

    def audits(self) -> list[AuditRow]:
        """All audits, oldest first, with counts by state."""
        return self.database.reading(lambda connection: reading.audit_rows(connection, self.clock()))

    def summary(self, audit: str) -> Summary:
        """The figures of the overview: wrong labels, precision, what comes next, who did what."""

        def read(connection: sa.Connection) -> Summary:
            row = reading.audit_row(connection, audit)
            return figures.summary(connection, row, self._reviewed(connection, row), self.clock())

        return self.database.reading(read)

    def curve(self, audit: str) -> list[CurvePoint]:
        """Wrong labels found against findings reviewed, and what is expected of the rest."""

        def read(connection: sa.Connection) -> list[CurvePoint]:
            row = reading.audit_row(connection, audit)
            return figures.curve(row, self._reviewed(connection, row))

        return self.database.reading(read)

    def verify(self, audit: str) -> list[str]:
        """The finding_ids whose state in the queue is not what their events come to: none, unless somebody wrote into the tables."""
        return self.database.reading(lambda connection: differing(connection, reading.audit_row(connection, audit).audit_number))

    # Reading

    def findings(self, audit: str, filters: Filters = EVERYTHING, first: int = 0, limit: int = 50, reviewer: str | None = None) -> Page:
        """Findings by priority."""
        seen = self._seen(audit, reviewer)
        return self.database.reading(lambda connection: reading.page(connection, audit, filters, first, limit, seen))

    def finding(self, audit: str, finding_id: str, reviewer: str | None = None) -> Card:
        """One finding; a verdict that waits for a second opinion is shown only to the reviewer who gave it."""

        seen = self._seen(audit, reviewer)

        def read(connection: sa.Connection) -> Card:
            row = reading.finding_row(connection, reading.audit_row(connection, audit), finding_id)
            return reading.cards(connection, audit, [row], seen)[0]

        return self.database.reading(read)

    def facets(self, audit: str) -> Facets:
        """Departments, issues and brands to filter by, with counts."""
        return self.database.reading(lambda connection: reading.facets(connection, audit))

    def patterns(self, audit: str, kind: str | None = None, first: int = 0, limit: int = 50) -> list[PatternRow]:
        """Patterns of one kind or of all, the worst first."""
        return self.database.reading(
            lambda connection: reading.pattern_rows(connection, reading.audit_row(connection, audit), kind, None, first, limit)
        )

    def pattern(self, audit: str, pattern_id: str, sample: int = 10, reviewer: str | None = None) -> tuple[PatternRow, list[Card]]:
        """A pattern and some of its findings, drawn by chance, those first that wait for somebody."""
        seen = self._seen(audit, reviewer)
        return self.database.reading(lambda connection: reading.pattern_with_sample(connection, audit, pattern_id, sample, seen))

    def paths(self, audit: str, text: str = "", limit: int = 20) -> list[KnownPath]:
        """Categories of the catalog that have each of these words in one of their names, the best match first."""
        return reading.find_paths(self._known_paths(audit)[0], text, limit)

    def history(
        self, audit: str, finding_id: str | None = None, reviewer: str | None = None, first: int = 0, limit: int = 100,
        seen_by: str | None = None, kinds: Sequence[str] = (),
    ) -> list[Event]:  # fmt: skip
        """Events, the latest first: of one finding, by one reviewer, or all.

        Args:
            seen_by: who is shown them. A verdict that waits for a second opinion is left out of the events of all others.
            kinds: events of these kinds alone; of all where it is empty.
        """
        return self.database.reading(
            lambda connection: reading.history(connection, audit, finding_id, reviewer, first, limit, seen_by, kinds)
        )

    def conflicts(self, audit: str) -> list[Conflict]:
        """Findings on which reviewers contradict each other, by priority."""
        seen = self._seen(audit, None)
        return self.database.reading(lambda connection: reading.conflicts(connection, audit, seen))

    def corrections(self, audit: str) -> pa.Table:
        """Findings whose answer stands, as reading.CORRECTIONS."""
        return self.database.reading(lambda connection: reading.corrections(connection, audit))

    # Reviewing

    def next(self, audit: str, reviewer: str, filters: Filters = EVERYTHING, count: int = 1, arm: Arm | None = None) -> list[Card]:
        """Hand out findings: those that the reviewer holds already, then new ones, each of which nobody else is given meanwhile.

        Args:
            arm: None draws the share that the audit's settings give to the random arm.

        Returns:
            Up to `count` cards; fewer where no more are left for this reviewer.
        """
        check_name(reviewer)
        seen = self._seen(audit, reviewer)

        def claim(connection: sa.Connection) -> list[Card]:
            asked = Asked(connection, reading.audit_row(connection, audit), reviewer, filters, replace(seen, at=self.clock()))
            return claim_next(asked, count, arm, self.rng)

        return self.database.writing(claim)

    def decide(self, audit: str, reviewer: str, decision: Decision) -> Card:
        """Take a decision; the same one sent again changes nothing, and gets the finding as it is now.

        Raises:
            NotFound: the audit has no such finding.
            Changed: the finding changed since it was shown, or is somebody else's.
            ShelfcodeError: the decision says nothing sensible, or its key was used for another one.
        """
        check_name(reviewer)
        return self._one(audit, reviewer, decision, deciding.decide)

    def adjudicate(self, audit: str, lead: str, decision: Decision) -> Card:
        """Settle a finding on which reviewers contradict each other, or correct an answer; raises as `decide` does."""
        check_name(lead)
        return self._one(audit, lead, decision, deciding.adjudicate)

    def decide_all(
        self,
        audit: str,
        reviewer: str,
        pattern_id: str,
        verdict: Verdict,
        path: tuple[str, ...] | None,
        idempotency_key: str,
        note: str = "",
    ) -> BulkResult:
        """Give all findings of a pattern one verdict, in one transaction; `undo` with the result's `bulk` takes it back.

        Raises:
            NotFound: the audit has no such pattern.
            ShelfcodeError: the verdict says nothing sensible, or the key was used for another action.
        """
        check_name(reviewer)

        def decide(desktop: Desktop) -> dict[str, Any]:
            return vars(deciding.decide_all(desktop, reviewer, pattern_id, verdict, path, note))

        content = ["decide_all", audit, reviewer, pattern_id, verdict, path, note]
        return BulkResult(**self._change(audit, idempotency_key, content, decide)[0])

    def undo(self, audit: str, reviewer: str, event_id: int | None = None, bulk: str | None = None) -> list[Card]:
        """Take back one decision, all of one action over many, or the reviewer's last; the findings come back as they are now.

        Raises:
            NotFound: the reviewer made no such decision.
            Changed: it was taken back before, or somebody else has built on it.
        """
        check_name(reviewer)
        content = ["undo", audit, reviewer, event_id, bulk]
        rows, _ = self._change(audit, uuid4().hex, content, lambda desktop: deciding.undo(desktop, reviewer, event_id, bulk))
        seen = self._seen(audit, reviewer)
        return self.database.reading(lambda connection: reading.cards(connection, audit, rows, seen))

    def skip(self, audit: str, reviewer: str, finding_id: str) -> None:
        """Give a finding back; others may have it, and this reviewer is offered all others first."""
        check_name(reviewer)
        self._change(audit, uuid4().hex, ["skip"], lambda desktop: deciding.skip(desktop, reviewer, finding_id))

    def mark(self, audit: str, by: str, kind: Mark, finding_ids: Sequence[str]) -> None:
        """Note that answers were exported, applied to the catalog, or reverted there.

        Raises:
            NotFound: one of the findings is none of this audit.
            Changed: one of them has no answer that stands. Nothing is marked then.
        """
        check_name(by)
        self._change(audit, uuid4().hex, ["mark"], lambda desktop: deciding.mark(desktop, by, kind, finding_ids))

    def review_settings(self, audit: str) -> ReviewSettings:
        return self.database.reading(lambda connection: reading.settings_of(reading.audit_row(connection, audit)))

    def set_review_settings(self, audit: str, settings: ReviewSettings) -> None:
        """Change how an audit is reviewed from now on.

        Raises:
            ShelfcodeError: a share is not between 0 and 1, or claims would last less than half a minute or more than a week.
        """
        for name, share in (("second_review_share", settings.second_review_share), ("random_share", settings.random_share)):
            if not 0 <= share <= 1:
                raise ShelfcodeError(f"{name} {share}: expected a share between 0 and 1")
        if not 0.5 <= settings.claim_minutes <= 7 * 24 * 60:
            raise ShelfcodeError(f"claim_minutes {settings.claim_minutes}: expected between 0.5 and {7 * 24 * 60}")

        def change(connection: sa.Connection) -> None:
            row = reading.audit_row(connection, audit)
            connection.execute(AUDITS.update().where(AUDITS.c.audit_number == row.audit_number).values(**vars(settings)))

        self.database.writing(change)

    def _reviewed(self, connection: sa.Connection, audit: sa.Row[Any]) -> Reviewed:
        """All findings of an audit with their verdicts; read again once something was decided."""
        number, change = audit.audit_number, figures.last_change(connection, audit.audit_number)
        known = self._figures.get(number)
        if known is None or known[0] != change:
            audited = known[1] if known else figures.audited_findings(connection, audit)
            known = change, audited, figures.reviewed_findings(connection, number, audited)
            self._figures[number] = known
        return known[2]

    def _seen(self, audit: str, by: str | None) -> Seen:
        """Who reads now; what decisions taught of the probabilities is looked up again every LEARNED_SECONDS."""
        learned = self._learned.get(audit)
        if learned is None or learned[0] < monotonic():
            learned = monotonic() + LEARNED_SECONDS, self.database.reading(lambda connection: self._learn(connection, audit))
            self._learned[audit] = learned
        return Seen(self.clock(), by, learned[1].p, learned[1].lowest)

    def _learn(self, connection: sa.Connection, audit: str) -> Shown:
        row = reading.audit_row(connection, audit)
        return figures.shown(self._reviewed(connection, row)) if figures.last_change(connection, row.audit_number) else Shown()

    def _one(self, audit: str, by: str, decision: Decision, work: Callable[[Desktop, str, Decision], int]) -> Card:
        """A change of one finding, and the card that comes of it."""
        content = [work.__name__, audit, by, {name: value for name, value in vars(decision).items() if name not in ("seconds", "version")}]
        row, _ = self._change(audit, decision.idempotency_key, content, lambda desktop: work(desktop, by, decision))
        seen = self._seen(audit, by)
        return self.database.reading(lambda connection: reading.cards(connection, audit, [row], seen)[0])

    def _change(self, audit: str, key: str, content: object, work: Callable[[Desktop], Any]) -> tuple[Any, bool]:
        """Do something once, in one transaction."""
        paths, seen = self._known_paths(audit)[1], self._seen(audit, None)

        def change(connection: sa.Connection) -> tuple[Any, bool]:
            now = self.clock()
            desktop = Desktop(connection, reading.audit_row(connection, audit), replace(seen, at=now), paths)
            return once(self.database, connection, key, content, now, lambda: work(desktop))

        return self.database.writing(change)

    def _read_paths(self, audit: str) -> tuple[list[KnownPath], frozenset[tuple[str, ...]]]:
        """An audit's categories, which never change, as a list and as a set."""
        known = self.database.reading(lambda connection: reading.known_paths(connection, reading.audit_row(connection, audit).audit_number))
        return known, frozenset(category.path for category in known)
