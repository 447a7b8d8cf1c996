"""One request of a reviewer: who they are, which audit it is about, and how to ask the desk about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request

from shelfcode.audit.decisions.desk import Desk
from shelfcode.serving.review import csrf
from shelfcode.serving.review.reviewers import Reviewer, reviewer_of
from shelfcode.serving.review.room import ReviewRoom
from shelfcode.serving.surface_settings import ReviewRole

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Visit:
    """A reviewer who was let in, to review an audit.

    Attributes:
        audit: its name, never `latest`; it is in the store.
    """

    room: ReviewRoom
    request: Request
    reviewer: Reviewer
    audit: str

    async def ask(self, question: Callable[Concatenate[Desk, str, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a method of the desk says of this audit, such as `ask(Desk.findings, Filters(), first=50)`.

        Raises:
            Problem: it refused, or the store does not answer.
        """
        return await self.room.ask(question, self.audit, *args, **kwargs)

    def csrf_token(self) -> str:
        """A token for the forms and the script of the page that is shown."""
        return csrf.new_token(self.room.settings.sessions, self.request)


def let_in(room: ReviewRoom, request: Request, role: ReviewRole = "reviewer") -> Reviewer:
    """The reviewer who sent a request.

    Raises:
        Problem: no key, or one that is not good for this (401, 403).
    """
    return reviewer_of(room.gate, request, room.enter(request), role)


async def visit(room: ReviewRoom, request: Request, audit: str, role: ReviewRole = "reviewer", changes: bool = False) -> Visit:
    """Let a reviewer in to an audit.

    Args:
        audit: its name, or `latest`.
        changes: whether the request is to change something; then the token in its header is checked. Forms are checked by `check_token`.

    Raises:
        Problem: no key, or one that is not good for this, or no token (401, 403); no such audit, or no store (404); the store does not
            answer (503).
    """
    reviewer = let_in(room, request, role)
    if changes:
        check_token(room, request)
    return Visit(room, request, reviewer, await room.audit(audit))


def check_token(room: ReviewRoom, request: Request, token: str | None = None) -> None:
    """Refuse a request that changes something and may come from another site's page; pages give the token of their form.

    Raises:
        Problem: the token is missing, or none of this browser's session (403).
    """
    csrf.check_token(room.settings.sessions, request, token)
