"""How a cart is answered: which retriever it goes to, what answers where that cannot, and what of it is written down."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_apps.answering import DOWN, Answering, called, patiently
from shelfcode.index.availability_log import WHOLE_EVERY, Change, append, write_whole
from shelfcode.interactions.impressions import Chosen, Shown
from shelfcode.retrieval.demands import usual_beams
from shelfcode.serving import routing
from shelfcode.serving.api.coalescing import Coalescer
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import CartNeighbours, KnownRetailers, RetailerStock, Retrieve
from shelfcode.serving.api.requests import catalog_ids
from shelfcode.serving.api.retrieve_requests import AvailabilityRequest, ChosenRequest, RetrieveRequest, seconds_of
from shelfcode.serving.api.retriever_choice import trained_retailers
from shelfcode.serving.retrieve_settings import BLEND, RetrieveSettings
from shelfcode.serving.routing import Target
from shelfcode.serving.surface_settings import KeySettings
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")

CALLS_AT_ONCE, LINGER_SECONDS = 2, 0.005
LATEST_CART, LATEST_HISTORY = 20, 5
"""Products that `similar` goes by where no retriever answers: the last ones of the cart, else of the session, else of the history."""
SIMILAR = "similar"
RETAILERS_TOLD = 1000
SEEN_SECONDS = 0.5
"""Time that a change of stock waits for all replicas to know of it; those that do not answer in time find it by themselves."""


@dataclass(frozen=True)
class Side:
    """What answers a request.

    Attributes:
        name: a retriever as surfaces.yaml names it, blend, or similar.
        share: of the traffic that it gets.
        release: whose products are answered with.
        parts: (retriever, name, weight), as Retrieve has them; none where nothing but `similar` can answer.
        way: the settings of the surface.
    """

    name: str
    share: float
    release: str
    parts: tuple[tuple[str, str, float], ...]
    way: RetrieveSettings | None

    @property
    def retrievers(self) -> dict[str, str]:
        """Name -> version."""
        return {name: label for label, name, _ in self.parts}


class CartAnswering:
    """Answers carts, and knows where what retailers have is written down.

    Args:
        impressions: the deployment that writes; None where surfaces.yaml does not turn it on.
    """

    def __init__(self, answering: Answering, impressions: DeploymentHandle | None) -> None:
        self.answering, self.settings, self.retrieval, self.impressions = answering, answering.settings, answering.retrieval, impressions
        self.asked: Coalescer[Retrieve] = Coalescer(
            self._send,
            self.settings.retrieval.tokens_per_batch,
            lambda question: question.tokens,
            at_once=CALLS_AT_ONCE,
            linger_seconds=LINGER_SECONDS,
        )
        self.changed_to = 0
        self.writing: set[asyncio.Task[None]] = set()

    def side_of(self, surface: str, user_key: str, only: str | None = None) -> Side:
        """What answers a request of a surface. Nothing is awaited here, so that release and retrievers are of one moment.

        Args:
            only: one of `compared`, instead of what the surface is set to.

        Raises:
            Problem: no release can be served.
        """
        way = self.settings.retrieve_of(routing.route_of(self.settings, surface))
        targets = self.answering.targets(surface, user_key)
        if way is None or only == SIMILAR:
            return Side(SIMILAR, 1.0, targets[0].release, (), way)
        sides = {only: (1.0, self._weights(only))} if only is not None else way.sides
        name = routing.drawn({name: share for name, (share, _) in sides.items()}, user_key)
        share, weights = sides[name]
        for release in self._releases(targets):
            labels = self.answering.releases.loaded[release].retrievers
            parts = tuple((labels[each], each, weight) for each, weight in weights.items() if each in labels)
            if parts:
                return Side(name, share, release, parts, way)
        return Side(name, share, targets[0].release, (), way)

    def compared(self) -> list[str]:
        """What can be held side by side on any surface: each retriever that answers, all of them together, and what is similar."""
        names = list(self.answering.releases.retrievers)
        return [*names, *([BLEND] if len(names) > 1 else []), SIMILAR]

    def _weights(self, only: str) -> dict[str, float]:
        return dict.fromkeys(self.answering.releases.retrievers, 1.0) if only == BLEND else {only: 1.0}

    async def retailers(self, caller: KeySettings) -> list[str]:
        """Retailers that a caller may ask about, by name: those of its key, else those that are known, RETAILERS_TOLD at the most."""
        if caller.retailers is not None:
            return sorted(caller.retailers)[:RETAILERS_TOLD]
        stocked: list[str] = await self.answering.ask(KnownRetailers(tuple(self.answering.releases.live.values())))
        labels = tuple(self.answering.releases.retrievers.values())
        trained = await asyncio.to_thread(trained_retailers, Workspace(self.answering.workspace), labels)
        return sorted({*stocked, *trained})[:RETAILERS_TOLD]

    def _releases(self, targets: Sequence[Target]) -> list[str]:
        """The releases of a surface, then the other live ones: a retriever may speak the codes of another flavor than the surface shows."""
        return list(dict.fromkeys([*(target.release for target in targets), *self.answering.releases.live.values()]))

    async def retrieve(
        self, surface: str, side: Side, request: RetrieveRequest, columns: tuple[str, ...], request_id: str, shown: bool = True
    ) -> dict[str, Any]:
        """The list for a request, and how it came about.

        Args:
            columns: those that the caller may see.
            shown: whether a user is shown it; where somebody only compares, nothing is written down.

        Raises:
            Problem: the request names what is not there.
        """
        question = self._question(surface, side, request, columns)
        fallbacks = [] if question.history else ["no_history"]
        fallbacks += [] if question.cart or question.session else ["no_cart"]
        answer, why = await self._asked(question, side) if side.parts else (None, "no_retriever")
        if answer is None:
            answer = await self._similar(question)
            fallbacks += [why, SIMILAR]
        else:
            fallbacks += _unknown(answer["context"])
        notes = answer.pop("notes")
        told = {
            "surface": surface, "request_id": request_id, "release": side.release, "side": side.name, "retrievers": side.retrievers,
            "fallbacks": [*fallbacks, *notes], **answer,
        }  # fmt: skip
        if shown:
            self._note_shown(told, side, request)
        return told

    def _question(self, surface: str, side: Side, request: RetrieveRequest, columns: tuple[str, ...]) -> Retrieve:
        way = side.way or RetrieveSettings(retriever=SIMILAR)
        k = request.k or way.k
        cart = tuple(dict.fromkeys(catalog_ids(request.cart)))
        return Retrieve(
            side.release, side.parts, surface, cart, (*catalog_ids([event.item_id for event in request.events]), *cart),
            tuple(catalog_ids(request.history)), None if request.retailer_id is None else catalog_ids([request.retailer_id])[0],
            int(time.time()) if request.at is None else seconds_of(request.at), k, request.beam_width or way.beams or usual_beams(k),
            way.temperature if request.temperature is None else request.temperature, way.diversity, tuple(catalog_ids(request.exclude)),
            tuple(request.attributes.items()), None if request.price is None else (request.price.min, request.price.max),
            tuple(dict.fromkeys(request.fields)), columns, request.explain, time.time() + way.seconds,
        )  # fmt: skip

    async def _asked(self, question: Retrieve, side: Side) -> tuple[dict[str, Any] | None, str]:
        """What the retrievers answer in time; else None, and why.

        Raises:
            Problem: the request names what is not there.
        """
        assert side.way is not None
        try:
            async with asyncio.timeout(side.way.seconds):
                answer = await self.asked.ask(question)
        except TimeoutError:
            return None, "decoder_late"
        except DOWN:
            return None, "decoder_down"
        if not isinstance(answer, Problem):
            return answer, ""
        if answer.status < 500:
            raise answer
        log.warning("retrieval: %s", answer.detail)
        return None, "decoder_late" if answer.kind == "unavailable" else "decoder_down"

    @patiently
    async def _send(self, questions: list[Retrieve]) -> Sequence[Any]:
        if self.retrieval is None:
            raise RuntimeError("there is no deployment of retrievers")  # parts are only found where there is one
        return await self.retrieval.retrieve.remote(questions)  # type: ignore[no-any-return]

    async def _similar(self, question: Retrieve) -> dict[str, Any]:
        """What the index knows: products like those of the cart, else of the session, else of the history."""
        known = question.cart[-LATEST_CART:] or question.session[-LATEST_CART:] or question.history[-LATEST_HISTORY:]
        exclude = tuple(dict.fromkeys([*question.cart, *question.exclude]))
        asked = CartNeighbours(
            question.release, known, question.k, exclude, question.retailer_id, question.attributes, question.price, question.fields,
            question.columns,
        )  # fmt: skip
        answer: dict[str, Any] = await self.answering.ask(asked)
        return answer

    # What is written down.

    def _note_shown(self, told: Mapping[str, Any], side: Side, request: RetrieveRequest) -> None:
        if self.impressions is None:
            return
        rows = told["results"]
        shown = Shown(
            told["request_id"], told["surface"], datetime.now(UTC), side.name, side.share, tuple(row["item_id"] for row in rows),
            tuple(row["score"] for row in rows), tuple(row["proposed_by"] for row in rows), request.user_key, request.retailer_id,
            "+".join(side.retrievers.values()) or None, side.release,
        )  # fmt: skip
        self._write([shown], [])

    def note_chosen(self, surface: str, chosen: ChosenRequest) -> None:
        """Write down what was chosen from a list.

        Raises:
            Problem: nothing is written down here.
        """
        if self.impressions is None:
            raise Problem("no-impressions", "surfaces.yaml does not turn impressions on (impressions: {enabled: true})")
        item_ids = tuple(catalog_ids(chosen.item_ids))
        self._write(
            [],
            [Chosen(chosen.request_id, item_ids, datetime.now(UTC), surface, chosen.event, chosen.user_key, chosen.retailer_id)],
        )

    def _write(self, shown: list[Shown], chosen: list[Chosen]) -> None:
        """Hand rows on; no answer waits for it, and none fails with it."""
        assert self.impressions is not None
        self._beside(called(self.impressions.write, shown, chosen), "impressions were not taken")

    def _beside(self, work: Awaitable[Any], failed: str) -> None:
        """Have something done that no answer waits for."""

        async def done() -> None:
            try:
                await work
            except Exception as error:
                log.warning("%s: %s: %s", failed, type(error).__name__, error)

        task = asyncio.ensure_future(done())
        self.writing.add(task)  # a task that nobody holds may be collected before it is done
        task.add_done_callback(self.writing.discard)

    async def change_availability(self, retailer_id: str, request: AvailabilityRequest) -> dict[str, Any]:
        """Write down what a retailer has, and have all replicas know of it.

        Raises:
            Problem: what retailers have is read from a table here.
        """
        if self.settings.availability:
            raise Problem("availability-from-table", "surfaces.yaml names a table of what retailers have (availability); change that")
        everything = request.item_ids is not None
        change = Change(
            retailer_id=retailer_id, kind="replace" if everything else "change", add=catalog_ids(request.item_ids or request.add),
            remove=catalog_ids(request.remove), at=time.time(),
        )  # fmt: skip
        workspace = Workspace(self.answering.workspace)
        number = await asyncio.to_thread(append, workspace, change, self.changed_to, whole_every=0)
        self.changed_to = max(self.changed_to, number)
        if number % WHOLE_EVERY == 0:
            self._beside(
                asyncio.to_thread(write_whole, workspace, number), "all that retailers have was not written, the next time it will be"
            )
        return {"retailer_id": retailer_id, "change": number, "seen_by_all": await self._seen(number)}

    async def availability(self, retailer_id: str) -> dict[str, Any]:
        """How many products a retailer has.

        Raises:
            Problem: nothing is known of what it has.
        """
        found: dict[str, Any] = await self.answering.ask(RetailerStock(tuple(self.answering.releases.live.values()), retailer_id))
        return {"retailer_id": retailer_id, **found}

    async def _seen(self, number: int) -> bool:
        """Whether all replicas know of a change; they would find it by themselves, but a caller who asks next should not have to wait."""
        handles = [handle for handle in (self.answering.index, self.retrieval) if handle is not None]
        try:
            async with asyncio.timeout(SEEN_SECONDS):
                told = await asyncio.gather(*(handle.broadcast("catch_up").results_async() for handle in handles))
        except Exception as error:
            log.warning("availability: not every replica has said that it knows of change %d: %s", number, error)
            return False
        return all(known >= number for replicas in told for known in replicas)


def _unknown(context: Mapping[str, Any]) -> list[str]:
    """Which parts of a context held nothing but unknown products."""
    empty = [name for name in ("cart", "session") if context[name]["sent"] and not context[name]["known"]]
    return ["unknown_products"] if empty or (context["history"]["sent"] and not context["history"]["used"]) else []
