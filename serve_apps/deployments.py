"""What stands behind the ingress, each in a Ray Serve deployment of its own: a flavor's encoder, the item index, an LLM that extracts.

Every call names the release that it is for, so that replicas never have to agree on which one is current. What encodes or extracts is
imported by the replicas that do it: torch and vLLM take seconds and hundreds of megabytes, which the index does without.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from ray.serve import metrics

from serve_apps.stock_following import StockFollower
from shelfcode.errors import ShelfcodeError
from shelfcode.index.release_index import ReleaseIndex
from shelfcode.releases.release import current_name, load_manifest, release_recipe
from shelfcode.serving.api.coalescing import Coalescer
from shelfcode.serving.api.item_index import item_index
from shelfcode.serving.api.live_releases import prepare_for_requests
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Encoded, NotLoaded, Prepared, ProductInput, Question
from shelfcode.serving.routing import named_releases
from shelfcode.serving.surface_settings import FlavorServingSettings, SurfaceSettings
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")

ANSWERING_THREADS = 2
"""Questions that take long are answered so many at a time; with more, the threads would only take turns."""
WARM_UP = ProductInput("a product to begin with", None, None)
BATCH_BOUNDARIES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]

Call = tuple[str, list[ProductInput]]
"""Products to be encoded by one release."""


class FlavorDeployment:
    """Encodes products for one flavor. Calls that wait for the encoder are encoded together, up to a budget of tokens."""

    async def __init__(self, workspace: str, flavor: str, settings: SurfaceSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        from shelfcode.serving.api.flavor_encoder import FlavorEncoder

        serving = settings.flavors.get(flavor, FlavorServingSettings())
        kept = settings.index.releases_kept + len(named_releases(settings, flavor))
        overrides = serving.set if serving.gpus else [*serving.set, "encoder.device=cpu"]  # whatever the release was trained on
        self.encoder = FlavorEncoder(Workspace(workspace), overrides, kept)
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")  # one: encoders use all their cores for one batch
        self.calls: Coalescer[Call] = Coalescer(self._encode, serving.tokens_per_batch, _tokens)
        self.batch_size = metrics.Histogram(
            "shelfcode_batch_products", description="Products encoded together.", boundaries=BATCH_BOUNDARIES, tag_keys=("flavor",)
        )
        self.batch_size.set_default_tags({"flavor": flavor})
        await prepare_for_requests(self.prepare, Workspace(workspace), settings, flavor)

    async def prepare(self, release: str) -> Prepared:
        """Load a release, if it is not loaded; a damaged one changes nothing."""
        try:
            kind = await asyncio.get_running_loop().run_in_executor(self.thread, self._prepare_now, release)
        except ShelfcodeError as error:
            return Prepared(release, str(error))
        return Prepared(release, view=kind)

    def _prepare_now(self, release: str) -> Literal["raw", "attributes"]:
        """Load a release and encode once with it: engines put off some of their work until then."""
        loaded = self.encoder.load(release)
        self.encoder.encode(release, [WARM_UP])
        return loaded.recipe.text_view.kind

    async def encode(self, calls: list[Call]) -> list[list[Encoded | Problem]]:
        """Codes of the products of each call."""
        return list(await asyncio.gather(*(self.calls.ask(call) for call in calls)))

    async def _encode(self, calls: list[Call]) -> list[list[Encoded | Problem]]:
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._encode_now, calls)

    def _encode_now(self, calls: Sequence[Call]) -> list[list[Encoded | Problem]]:
        """Calls of one release go through the encoder together."""
        answers: list[list[Encoded | Problem]] = [[] for _ in calls]
        for release in dict.fromkeys(release for release, _ in calls):
            numbers = [number for number, (name, _) in enumerate(calls) if name == release]
            products = [product for number in numbers for product in calls[number][1]]
            self.batch_size.observe(len(products))
            encoded = iter(self._encoded(release, products))
            for number in numbers:
                answers[number] = [next(encoded) for _ in calls[number][1]]
        return answers

    def _encoded(self, release: str, products: Sequence[ProductInput]) -> list[Encoded | Problem]:
        """The products of several calls; where encoding them fails, it is tried one by one, so that only the culprit's fails."""
        try:
            return self.encoder.encode(release, products)
        except ShelfcodeError as error:
            return [Problem("not-ready", str(error))] * len(products)
        except Exception:
            if len(products) > 1:
                return [self._encoded(release, [product])[0] for product in products]
            log.exception("a product could not be encoded by %s", release)
            return [Problem("internal", "this product made the encoder fail; the server's log tells of it")]


def _tokens(call: Call) -> int:
    return sum(product.tokens for product in call[1])


class ItemIndexDeployment:
    """Answers about the products of releases. Nothing here waits for an encoder, and no question waits for another's release."""

    async def __init__(self, workspace: str, settings: SurfaceSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        self.index, self.loading = item_index(workspace, settings), asyncio.Lock()
        self.threads = ThreadPoolExecutor(ANSWERING_THREADS, thread_name_prefix="answers")
        self.stock = StockFollower(self.index, Workspace(workspace), settings)
        await self.stock.start()
        for flavor in settings.flavor_names:
            await prepare_for_requests(self.prepare, Workspace(workspace), settings, flavor)

    async def prepare(self, release: str) -> Prepared:
        """Load a release, if it is not loaded; a damaged one changes nothing."""
        try:
            index = await self._loaded(release)
        except ShelfcodeError as error:
            return Prepared(release, str(error))
        self.index.keep(index)
        return Prepared(release, folder=str(index.folder))

    async def answer(self, questions: list[Question]) -> list[Any]:
        """The answer to each of some light questions, its Problem, or NotLoaded where it should be asked again alone."""
        return [self._answer_now(question) for question in questions]

    def _answer_now(self, question: Question) -> Any:
        indexes = [index for release in question.releases if (index := self.index.get(release)) is not None]
        return self.index.answer(question, indexes) if len(indexes) == len(question.releases) else NotLoaded()

    async def answer_alone(self, question: Question) -> Any:
        """The answer to a question that takes long, or whose releases are loaded for it; others are answered meanwhile."""
        try:
            indexes = [await self._loaded(release) for release in question.releases]
        except ShelfcodeError as error:
            return Problem("unknown-release", str(error))
        return await asyncio.get_running_loop().run_in_executor(self.threads, self.index.answer, question, indexes)

    async def _loaded(self, release: str) -> ReleaseIndex:
        """A release that is loaded, or is loaded now, in a thread; one after the other, since each takes much memory meanwhile."""
        if (index := self.index.get(release)) is not None:
            return index
        async with self.loading:
            index = self.index.get(release)
            if index is None:
                index = await asyncio.to_thread(self.index.load, release)
                self.index.keep_visitor(index)
            return index

    async def catch_up(self) -> int:
        """Take up what has changed at retailers, now."""
        return await self.stock.catch_up()


class ExtractorDeployment:
    """An LLM for products that come without attributes."""

    def __init__(self, workspace: str, settings: SurfaceSettings) -> None:
        from shelfcode.attributes.published_extractor import on_this_machine
        from shelfcode.serving.api.online_extraction import OnlineExtractor

        opened = Workspace(workspace)
        extractor = settings.online_extraction.extractor or _released_extractor(opened, settings.flavor_names)
        reserved = {"gpus_per_replica": settings.online_extraction.gpus}  # here, whatever it was for a whole catalog
        self.extractor = OnlineExtractor(on_this_machine(extractor, opened).model_copy(update=reserved))

    async def extract(self, products: list[ProductInput]) -> list[dict[str, Any] | None]:
        """Columns of an attributes table for each product; None where the model gave no usable answer."""
        return await self.extractor.extract(products)


def _released_extractor(workspace: Workspace, flavors: Sequence[str]) -> Any:
    """The extractor with which a current release was made."""
    for name in filter(None, (current_name(workspace, flavor) for flavor in flavors)):
        recipe = release_recipe(load_manifest(workspace, name))
        if recipe.text_view.kind == "attributes" and recipe.extractor.engine == "vllm":
            return recipe.extractor
    raise ShelfcodeError("online_extraction.engine vllm: no current release was made with an LLM; say which in online_extraction.extractor")
