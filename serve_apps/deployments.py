"""What stands behind the ingress, each in a Ray Serve deployment of its own: a flavor's encoder, the item index, an LLM that extracts.

Every call names the release that it is for, so that replicas never have to agree on which one is current. What encodes or extracts is
imported by the replicas that do it: torch and vLLM take seconds and hundreds of megabytes, which the index does without.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray.serve import metrics

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import availability_version, read_availability
from shelfcode.releases.release import current_name, load_manifest, release_recipe
from shelfcode.serving.api.coalescing import Coalescer
from shelfcode.serving.api.item_index import ItemIndex
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Encoded, Prepared, ProductInput, Question
from shelfcode.serving.routing import named_releases
from shelfcode.serving.surface_settings import FlavorServingSettings, SurfaceSettings
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")

AVAILABILITY_POLL_SECONDS = 30
BATCH_BOUNDARIES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]

Call = tuple[str, list[ProductInput]]
"""Products to be encoded by one release."""


class FlavorDeployment:
    """Encodes products for one flavor. Calls that wait for the encoder are encoded together, up to a budget of tokens."""

    def __init__(self, workspace: str, flavor: str, settings: SurfaceSettings) -> None:
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

    async def prepare(self, release: str) -> Prepared:
        """Load a release, if it is not loaded; a damaged one changes nothing."""
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(self.thread, self.encoder.load, release)
        except ShelfcodeError as error:
            return Prepared(release, str(error))
        return Prepared(release, view=loaded.recipe.text_view.kind)

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
            try:
                encoded = iter(self.encoder.encode(release, products))
            except ShelfcodeError as error:
                encoded = iter([Problem("not-ready", str(error))] * len(products))
            for number in numbers:
                answers[number] = [next(encoded) for _ in calls[number][1]]
        return answers


def _tokens(call: Call) -> int:
    return sum(product.tokens for product in call[1])


class ItemIndexDeployment:
    """Answers about the products of releases. Nothing here waits for an encoder."""

    def __init__(self, workspace: str, settings: SurfaceSettings) -> None:
        flavors = settings.flavor_names
        kept = sum(settings.index.releases_kept + len(named_releases(settings, flavor)) for flavor in flavors)
        self.index = ItemIndex(Workspace(workspace), flavors, kept)
        self.settings, self.loading, self.availability = settings, asyncio.Lock(), None
        if settings.availability:
            self.availability = availability_version(settings.availability)
            self.index.availability = read_availability(settings.availability)
            self.following = asyncio.ensure_future(self._follow_availability(settings.availability))

    async def prepare(self, release: str) -> Prepared:
        """Load a release, if it is not loaded; a damaged one changes nothing."""
        try:
            await self._load(release)
        except ShelfcodeError as error:
            return Prepared(release, str(error))
        return Prepared(release)

    async def answer(self, questions: list[Question]) -> list[Any]:
        """The answer to each question, or its Problem."""
        return [await self._answer(question) for question in questions]

    async def _answer(self, question: Question) -> Any:
        for release in question.releases:
            if problem := await self._problem(release):
                return problem
        return self.index.answer(question)

    async def _problem(self, release: str) -> Problem | None:
        if release in self.index.releases:
            return None
        try:
            await self._load(release)
        except ShelfcodeError as error:
            return Problem("unknown-release", str(error))
        return None

    async def _load(self, release: str) -> None:
        async with self.loading:
            if release not in self.index.releases:
                self.index.releases[release] = await asyncio.to_thread(self.index.load, release)

    async def _follow_availability(self, url: str) -> None:
        """Read the availability table again when it changes, which it does more often than releases do."""
        while True:
            await asyncio.sleep(AVAILABILITY_POLL_SECONDS)
            try:
                version = await asyncio.to_thread(availability_version, url)
                if version != self.availability:
                    self.index.availability = await asyncio.to_thread(read_availability, url)
                    self.availability = version
            except ShelfcodeError as error:
                log.warning("the availability table was not read again: %s", error)


class ExtractorDeployment:
    """An LLM for products that come without attributes."""

    def __init__(self, workspace: str, settings: SurfaceSettings) -> None:
        from shelfcode.serving.api.online_extraction import OnlineExtractor

        extractor = settings.online_extraction.extractor or _released_extractor(Workspace(workspace), settings.flavor_names)
        reserved = {"gpus_per_replica": settings.online_extraction.gpus}  # here, whatever it was for a whole catalog
        self.extractor = OnlineExtractor(extractor.model_copy(update=reserved))

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
