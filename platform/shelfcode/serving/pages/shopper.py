"""Somebody who looks into the shop window, and whom the answers come from."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.retrieve_requests import RetrieveRequest
from shelfcode.serving.pages.failures import as_problem
from shelfcode.serving.pages.views import Endpoint
from shelfcode.serving.surface_settings import KeySettings

T = TypeVar("T")


class Side(Protocol):
    """What answers a request.

    Attributes:
        name: a retriever as surfaces.yaml names it, blend, or similar.
        share: of the traffic that it gets.
        release: whose products are answered with.
        parts: (version, retriever, weight) of each retriever.
        retrievers: name -> version.
    """

    @property
    def name(self) -> str: ...

    @property
    def share(self) -> float: ...

    @property
    def release(self) -> str: ...

    @property
    def parts(self) -> tuple[tuple[str, str, float], ...]: ...

    @property
    def retrievers(self) -> dict[str, str]: ...


class Carts(Protocol):
    """What the shop window asks of whatever answers carts."""

    def compared(self) -> list[str]: ...

    def side_of(self, surface: str, user_key: str, only: str | None = None) -> Side: ...

    async def retrieve(
        self, surface: str, side: Any, request: RetrieveRequest, columns: tuple[str, ...], request_id: str, shown: bool = True
    ) -> dict[str, Any]: ...

    async def retailers(self, caller: KeySettings) -> list[str]: ...


@dataclass(frozen=True)
class Shopper:
    """Who looks, and who answers.

    Attributes:
        unavailable: errors that mean that a part of the server is down.
    """

    endpoint: Endpoint
    carts: Carts
    caller: KeySettings
    request_id: str
    unavailable: tuple[type[Exception], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the caller may see."""
        return self.endpoint.gate.columns(self.caller)

    @property
    def live(self) -> list[str]:
        """The releases that the caller may look into."""
        live = self.endpoint.releases.live
        return [live[flavor] for flavor in self.endpoint.gate.flavors(self.caller) if flavor in live]

    def problem(self, error: Exception) -> Problem:
        """What the caller is told of an error."""
        return as_problem(error, self.unavailable, self.request_id, "a part of the shop window")

    async def tried(self, asked: Awaitable[T]) -> T | Problem:
        """An answer, or why there is none."""
        try:
            return await asked
        except Exception as error:
            return self.problem(error)
