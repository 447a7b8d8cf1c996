"""How a request is answered once it is let in: which releases it goes to, and what the deployments behind answer."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from ray.exceptions import RayActorError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from shelfcode.errors import ShelfcodeError
from shelfcode.index.release_index import ReleaseIndex, open_release_index
from shelfcode.semantic_id import format_codes
from shelfcode.serving import routing
from shelfcode.serving.api.access import Gate
from shelfcode.serving.api.coalescing import Coalescer
from shelfcode.serving.api.item_index import is_light, item_index, on_cards
from shelfcode.serving.api.live_releases import LiveReleases, Unavailable
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Encoded, Neighbours, NotLoaded, Prepared, ProductInput, Question, StoredAttributes
from shelfcode.serving.api.requests import Product, SimilarRequest, catalog_id, catalog_ids, characters_sent, given_id, read_product
from shelfcode.serving.api.retriever_choice import Choice, choose_retrievers
from shelfcode.serving.resources import INDEX, RETRIEVAL, flavor_deployment
from shelfcode.serving.routing import Target
from shelfcode.serving.surface_settings import FlavorServingSettings, SurfaceSettings
from shelfcode.workspace import Workspace

QUESTIONS_PER_CALL, QUESTION_CALLS_AT_ONCE = 64, 3
PATIENCE_SECONDS = 30
"""Time for a dead replica to be replaced; after it, a request fails."""
BLOCKED_SECONDS = 10
"""Time between two looks at what keeps a deployment from starting. Loading a release may take longer, and is waited for."""
READ_AT_ONCE = 16_384
"""Characters of products that are read on the event loop. Longer ones, which may be full of HTML, are read beside it."""
DOWN = (RayActorError, DeploymentUnavailableError)
"""Errors that mean that a part of the server is down for now."""

patiently = retry(
    retry=retry_if_exception_type(DOWN),
    stop=stop_after_delay(PATIENCE_SECONDS), wait=wait_random_exponential(multiplier=0.1, max=2), reraise=True,
)  # fmt: skip
"""A call whose replica dies is made again to another: encoding and looking up change nothing, so twice does no harm."""


@dataclass(frozen=True)
class Deployments:
    """What stands behind the ingress.

    Attributes:
        extractor: None where only the rules extract.
        retrieval: None where no surface names a retriever.
    """

    index: DeploymentHandle
    flavors: dict[str, DeploymentHandle]
    extractor: DeploymentHandle | None = None
    retrieval: DeploymentHandle | None = None


class Answering:
    """Knows which releases are live, and asks the deployments.

    Args:
        why_blocked: names of deployments -> what keeps any of them from starting, if anything does.
        blocked_seconds: time between two looks at that.
    """

    def __init__(
        self,
        workspace: str,
        settings: SurfaceSettings,
        deployments: Deployments,
        why_blocked: Callable[[Collection[str]], str | None],
        blocked_seconds: float = BLOCKED_SECONDS,
    ) -> None:
        self.workspace, self.why_blocked, self.blocked_seconds = workspace, why_blocked, blocked_seconds
        self.settings, self.gate = settings, Gate.of(settings)
        self.index, self.flavors = deployments.index, deployments.flavors
        self.extractor, self.retrieval = deployments.extractor, deployments.retrieval
        self.releases = LiveReleases(Workspace(workspace), settings, self._prepare)
        self.mapped = item_index(workspace, settings)
        self.questions: Coalescer[Question] = Coalescer(self._answers, QUESTIONS_PER_CALL, at_once=QUESTION_CALLS_AT_ONCE)
        self.encoders = {flavor: self._coalescer(flavor, handle) for flavor, handle in self.flavors.items()}

    def targets(self, surface: str, routing_key: str) -> list[Target]:
        """The flavors and releases that answer a request of a surface, the one with the largest weight first."""
        route = routing.route_of(self.settings, surface)
        chosen = routing.targets(route, self.releases.live, self.releases.askable, routing_key)
        return sorted(chosen, key=lambda target: -target.weight)

    async def encode(self, targets: Sequence[Target], products: Sequence[Any]) -> list[dict[str, Any]]:
        """Every product with its semantic ID in each target, or with its error, in its place."""
        long = characters_sent(products) > READ_AT_ONCE
        read = await asyncio.to_thread(self._read, products) if long else self._read(products)
        good = [product for product in read if not isinstance(product, Problem)]
        by_target = await asyncio.gather(*(self._encode(target, [product for product, _ in good]) for target in targets))
        answers = iter(zip(good, *by_target, strict=True))
        return [
            _failed_product(value, product) if isinstance(product, Problem) else _encoded_product(targets, *next(answers))
            for value, product in zip(products, read, strict=True)
        ]

    def _read(self, products: Sequence[Any]) -> list[tuple[Product, list[str]] | Problem]:
        read: list[tuple[Product, list[str]] | Problem] = []
        for value in products:
            try:
                read.append(read_product(value, self.settings.limits))
            except Problem as problem:
                read.append(problem)
        return read

    async def _encode(self, target: Target, products: Sequence[Product]) -> list[Encoded | Problem]:
        if not products:
            return []
        inputs = [ProductInput(product.title, product.description, product.brand) for product in products]
        failed = [False] * len(inputs)
        if self.releases.loaded[target.release].view == "attributes":
            inputs, failed = await self._with_attributes(target.release, products, inputs)
        answers: list[Encoded | Problem] = await self.encoders[target.flavor].ask((target.release, inputs))
        return [_warned(answer) if fell_back else answer for answer, fell_back in zip(answers, failed, strict=True)]

    async def _with_attributes(
        self, release: str, products: Sequence[Product], inputs: Sequence[ProductInput]
    ) -> tuple[list[ProductInput], list[bool]]:
        """Inputs with attributes from the request, else from the store, else from the LLM if there is one.

        Returns:
            The inputs, and for each whether the LLM failed.
        """
        item_ids = tuple(catalog_id(product.item_id) if product.item_id and product.attributes is None else None for product in products)
        stored = await self.ask(StoredAttributes(release, item_ids)) if any(item_ids) else [None] * len(inputs)
        known: list[ProductInput] = []
        for product, from_store, plain in zip(products, stored, inputs, strict=True):
            if product.attributes is not None:
                known.append(replace(plain, attributes=product.attributes.model_dump(), attributes_from="request"))
            else:
                known.append(plain if from_store is None else replace(plain, attributes=from_store, attributes_from="store"))
        missing = [number for number, each in enumerate(known) if each.attributes is None and each.title]
        failed = [False] * len(inputs)
        if self.extractor is None or not missing:
            return known, failed
        for number, columns in zip(missing, await self._extract([known[number] for number in missing]), strict=True):
            failed[number] = columns is None
            if columns is not None:
                known[number] = replace(known[number], attributes=columns, attributes_from="vllm")
        return known, failed

    async def _extract(self, products: list[ProductInput]) -> list[dict[str, Any] | None]:
        """What the LLM finds in the time that it has; None for products that are left to the rules."""
        assert self.extractor is not None
        try:
            return await asyncio.wait_for(called(self.extractor.extract, products), self.settings.online_extraction.seconds)
        except (TimeoutError, *DOWN):
            return [None] * len(products)

    async def neighbours(self, targets: Sequence[Target], request: SimilarRequest, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        """The products most like the one of the request.

        Args:
            columns: those that the caller may see.
        """
        return await self.ask(await self._neighbours(targets, request, columns))  # type: ignore[no-any-return]

    async def neighbours_json(self, targets: Sequence[Target], request: SimilarRequest, columns: tuple[str, ...]) -> bytes:
        """`neighbours`, as JSON."""
        question = await self._neighbours(targets, request, columns)
        if is_light(question) and on_cards(question) and (here := self._here(question)):
            return self.mapped.neighbours_on_cards(question, here[0])
        return to_json(await self.ask(question), inf_nan_mode="null")

    async def _neighbours(self, targets: Sequence[Target], request: SimilarRequest, columns: tuple[str, ...]) -> Neighbours:
        codes = None
        if request.product is not None:
            product, _ = await asyncio.to_thread(read_product, request.product, self.settings.limits)
            encoded = [(await self._encode(target, [product]))[0] for target in targets]
            if problem := next((each for each in encoded if isinstance(each, Problem)), None):
                raise problem
            codes = tuple(each.codes for each in encoded if isinstance(each, Encoded))
        itself = [request.product.item_id] if request.product and request.product.item_id else []
        exclude = tuple(catalog_ids([*request.exclude, *itself]))
        item_id = None if request.item_id is None else catalog_id(request.item_id)
        parts = tuple((target.release, target.weight) for target in targets)
        return Neighbours(
            parts, codes, item_id, request.k, request.min_level, exclude, request.retailer_id,
            tuple(request.attributes.items()), tuple(dict.fromkeys(request.fields)), columns,
            None if request.price is None else (request.price.min, request.price.max),
        )  # fmt: skip

    async def ask(self, question: Question) -> Any:
        """The index's answer: from here, where the question is light and its releases are mapped here.

        Raises:
            Problem: what is wrong with the question.
        """
        light = is_light(question)
        if light and (here := self._here(question)):
            answer = self.mapped.answer(question, here)
        else:
            answer = await self.questions.ask(question) if light else NotLoaded()
            if isinstance(answer, NotLoaded):
                answer = await self._answer_alone(question)
        if isinstance(answer, Problem):
            raise answer
        return answer

    def _here(self, question: Question) -> list[ReleaseIndex]:
        """The releases of a question, where all are mapped into this process; none where any is not."""
        here = [index for release in question.releases if (index := self.mapped.get(release)) is not None]
        return here if len(here) == len(question.releases) else []

    @patiently
    async def _answers(self, questions: list[Question]) -> Sequence[Any]:
        return await self.index.answer.remote(questions)  # type: ignore[no-any-return]

    @patiently
    async def _answer_alone(self, question: Question) -> Any:
        return await self.index.answer_alone.remote(question)

    def _coalescer(self, flavor: str, handle: DeploymentHandle) -> "Coalescer[tuple[str, list[ProductInput]]]":
        @patiently
        async def send(calls: list[tuple[str, list[ProductInput]]]) -> Sequence[Any]:
            return await handle.encode.remote(calls)  # type: ignore[no-any-return]

        budget = self.settings.flavors.get(flavor, FlavorServingSettings()).tokens_per_batch
        return Coalescer(send, budget, lambda call: sum(product.tokens for product in call[1]))

    async def _prepare(self, release: str) -> Prepared:
        """Have every replica that may be asked load a release.

        Raises:
            Unavailable: a deployment has no replica that answers.
        """
        flavor = release.partition("@")[0]
        choice = await asyncio.to_thread(self._choose, release)
        if choice.refusal:
            return Prepared(release, choice.refusal)
        names, calls = [flavor_deployment(flavor), INDEX], [_prepared(self.flavors[flavor], release), _prepared(self.index, release)]
        if self.retrieval is not None and choice.labels:
            names.append(RETRIEVAL)
            calls.append(_prepared(self.retrieval, release, choice.labels))
        loading = list(map(asyncio.ensure_future, calls))
        while (await asyncio.wait(loading, timeout=self.blocked_seconds))[1]:
            if why := await asyncio.to_thread(self.why_blocked, names):
                for each in loading:
                    each.cancel()
                raise Unavailable(why)
        try:
            answers = [each for replicas in await asyncio.gather(*loading) for each in replicas]
        except DOWN as error:
            why = await asyncio.to_thread(self.why_blocked, names)
            raise Unavailable(why or f"{' or '.join(names)} did not answer; it is asked again") from error
        if failed := next((each for each in answers if each.problem), None):
            return failed
        await asyncio.to_thread(self._map, [each.folder for each in answers if each.folder])
        return replace(answers[0], retrievers=choice.labels, without=choice.without)

    def _choose(self, release: str) -> Choice:
        """The retrievers that answer with a release.

        Raises:
            ShelfcodeError: its manifest cannot be read.
        """
        names = self.settings.retriever_names
        try:
            return choose_retrievers(Workspace(self.workspace), names, release, self.settings.retrieval.translate) if names else Choice()
        except ShelfcodeError as error:  # what is wrong with the release itself is told by whoever loads it
            return Choice(refusal=str(error))

    def _map(self, folders: Sequence[str]) -> None:
        """Map a release that the index has laid out on this very node: what is light is answered without a call between processes."""
        for folder in folders:
            try:
                self.mapped.keep(open_release_index(Path(folder)))
                return
            except (OSError, ValueError):  # of another node, or gone since: the index is asked
                continue


async def called(method: Any, *arguments: Any) -> Any:
    return await method.remote(*arguments)


@patiently
async def _prepared(handle: DeploymentHandle, release: str, *more: Any) -> list[Prepared]:
    """What every replica of a deployment answers; one that is just starting is not reached by a broadcast, and is called alone."""
    answers = list(await handle.broadcast("prepare", release, *more).results_async())
    return answers or [await handle.prepare.remote(release, *more)]


def _failed_product(value: Any, problem: Problem) -> dict[str, Any]:
    return {"item_id": given_id(value), "error": problem.body()}


def _encoded_product(targets: Sequence[Target], product: tuple[Product, list[str]], *answers: Encoded | Problem) -> dict[str, Any]:
    """A product's answer: that of the target with the largest weight, and in a blend the others beside it."""
    rows = [_code(target, answer, product[1]) for target, answer in zip(targets, answers, strict=True)]
    return {"item_id": product[0].item_id, **rows[0], **({"also": rows[1:]} if len(rows) > 1 else {})}


def _code(target: Target, answer: Encoded | Problem, warnings: list[str]) -> dict[str, Any]:
    source = {"flavor": target.flavor, "release": target.release}
    if isinstance(answer, Problem):
        return {**source, "error": answer.body()}
    return {
        **source, "semantic_id": format_codes(answer.codes), "codes": answer.codes, "confidence": answer.confidence,
        "warnings": [*warnings, *answer.warnings], "attributes_from": answer.attributes_from,
    }  # fmt: skip


def _warned(answer: Encoded | Problem) -> Encoded | Problem:
    """An answer with the warning that the LLM should have extracted its attributes, and did not."""
    if isinstance(answer, Problem):
        return answer
    return Encoded(answer.codes, answer.confidence, (*answer.warnings, "extraction_failed"), answer.attributes_from)
