"""The first page of an audit: how many labels are wrong, how far the review is, and whether it is worth going on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from shelfcode.audit.decisions.decision import State
from shelfcode.audit.decisions.desk import Desk
from shelfcode.audit.decisions.estimates import CurvePoint
from shelfcode.serving.review.csrf import new_token
from shelfcode.serving.review.page_views import around, frame
from shelfcode.serving.review.rendering import review_page
from shelfcode.serving.review.reviewers import Reviewer
from shelfcode.serving.review.room import ReviewRoom
from shelfcode.serving.review.visits import Visit

WIDTH, HEIGHT = 1000, 300
"""Of a drawing in its own units; the browser stretches it."""

TO_DO: tuple[State, ...] = ("open", "claimed", "second_review", "conflict")
DONE: tuple[State, ...] = ("decided", "agreed", "adjudicated", "exported", "applied", "reverted")


@dataclass(frozen=True)
class CurveDrawing:
    """Findings reviewed from left to right, wrong labels found from below: as the points of two polylines and an area.

    Attributes:
        done, ahead: what was found, and what is expected.
        between: the interval of what is expected, as an area.
        most_reviewed, most_found: where the axes end.
        table: some of the points, for those who do not see the drawing.
    """

    done: str
    ahead: str
    between: str
    most_reviewed: int
    most_found: int
    table: Sequence[CurvePoint]


async def audits_page(room: ReviewRoom, request: Request, reviewer: Reviewer) -> Response:
    """All audits, the newest first."""
    rows, untouched = await room.audits()
    shown: list[dict[str, Any]] = [{"manifest": row.manifest, "left": sum(row.states.get(state, 0) for state in TO_DO)} for row in rows]
    shown += [{"manifest": manifest, "left": None} for manifest in untouched]
    shown.sort(key=lambda row: (row["manifest"].created, row["manifest"].audit), reverse=True)
    token = new_token(room.settings.sessions, request)
    return review_page(request, "audits.html", audits=shown, here="", **around(room, reviewer, csrf=token))


async def overview(visit: Visit) -> Response:
    """The figures of one audit."""
    summary, curve = await visit.ask(Desk.summary), await visit.ask(Desk.curve)
    return review_page(
        visit.request, "overview.html", summary=summary, curve=drawn(curve), states=progress(summary.states), **frame(visit, "overview")
    )


def progress(states: Mapping[State, int]) -> dict[str, Any]:
    """How far a review is: findings that are done, those that wait for a second look, and the rest, in findings."""
    total = sum(states.values())
    done, half = sum(states.get(state, 0) for state in DONE), states.get("second_review", 0) + states.get("conflict", 0)
    return {
        "total": total, "done": done, "half": half, "stale": states.get("stale", 0), "by_state": states,
        "done_width": WIDTH * done / total if total else 0, "half_width": WIDTH * half / total if total else 0, "width": WIDTH,
    }  # fmt: skip


def drawn(points: Sequence[CurvePoint]) -> CurveDrawing | None:
    """A curve as it is drawn; None where it is a point."""
    most_reviewed = max((point.reviewed for point in points), default=0)
    if not most_reviewed:
        return None
    most_found = max(1.0, *(point.high for point in points))

    def place(point: CurvePoint, value: float) -> str:
        return f"{WIDTH * point.reviewed / most_reviewed:.1f},{HEIGHT - HEIGHT * value / most_found:.1f}"

    done, ahead = [point for point in points if not point.expected], [point for point in points if point.expected]
    ahead = done[-1:] + ahead if ahead else []
    between = [place(point, point.low) for point in ahead] + [place(point, point.high) for point in reversed(ahead)]
    return CurveDrawing(
        " ".join(place(point, point.found) for point in done), " ".join(place(point, point.found) for point in ahead), " ".join(between),
        most_reviewed, round(most_found), _some(done) + _some(ahead[1:]),
    )  # fmt: skip


def _some(points: Sequence[CurvePoint], most: int = 8) -> list[CurvePoint]:
    """A few points of many, the last one among them."""
    step = max(1, len(points) // most)
    return list(reversed(points[::-1][::step]))
