"""Carts through the deployments that answer them, which stand in this process; only Ray Serve's calls between them are left out."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ray.exceptions import RayActorError
from released import Shop, open_shop
from untrained_retriever import publish_untrained

from serve_apps.answering import Answering, Deployments
from serve_apps.cart_answering import CartAnswering
from serve_apps.deployments import ItemIndexDeployment
from serve_apps.impressions import ImpressionsDeployment
from serve_apps.retrieval import RetrievalDeployment
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Prepared
from shelfcode.serving.api.retrieve_requests import AvailabilityRequest, ChosenRequest, RetrieveRequest
from shelfcode.serving.surface_settings import COLUMNS, KeySettings, SurfaceSettings

SURFACES = {
    "search": {"flavor": "precision", "retrieve": {"retriever": "generator", "beams": 60, "seconds": 20}},
    "home": {"flavor": "precision", "retrieve": {"blend": {"generator": 1, "cr": 1}, "seconds": 20}},
    "trial": {"flavor": "precision", "retrieve": {"split": {"generator": 3, "cr": 1}, "seconds": 20}},
    "hasty": {"flavor": "precision", "retrieve": {"retriever": "generator", "seconds": 0.05}},
    "plain": {"flavor": "precision"},
    "wrong": {"flavor": "precision", "retrieve": {"retriever": "nobody", "seconds": 20}},
}
CALLER = KeySettings(name="team", sha256="0" * 64)


class Method:
    """A deployment's method, called as a handle calls it; `failure` is raised instead, and `delay` waited for."""

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self.method, self.failure, self.delay = method, None, 0.0

    async def remote(self, *given: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        await asyncio.sleep(self.delay)
        return await self.method(*given)


class Handle:
    """A handle of a deployment of one replica."""

    def __init__(self, replica: Any) -> None:
        self.replica, self.methods = replica, dict[str, Method]()

    def __getattr__(self, name: str) -> Method:
        return self.methods.setdefault(name, Method(getattr(self.replica, name)))

    def broadcast(self, name: str, *given: Any) -> Any:
        async def results_async() -> list[Any]:
            return [await getattr(self, name).remote(*given)]

        return type("Results", (), {"results_async": staticmethod(results_async)})


class Encoder:
    """Stands for a flavor's encoder: it loads anything."""

    async def prepare(self, release: str) -> Prepared:
        return Prepared(release)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    shop = open_shop(str(folder / "ws"), 200, folder / "tiny")
    manifest = shop.release("precision", 0)
    items = shop.products["item_id"].to_pylist()
    for kind in ("generator", "cr"):
        publish_untrained(shop.workspace, manifest, {"north": items[:150]}, kind, kind)  # type: ignore[arg-type]
    return shop


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path))


Story = Callable[[CartAnswering, Handle], Awaitable[None]]


def told(shop: Shop, story: Story, impressions: ImpressionsDeployment | None = None, **more: Any) -> None:
    """A story with an endpoint of a shop."""
    settings = SurfaceSettings.model_validate({"surfaces": SURFACES, "auth": "none", "availability_seconds": 3600, **more})

    async def tell() -> None:
        async with asyncio.timeout(120):
            replicas = [ItemIndexDeployment.__new__(ItemIndexDeployment), RetrievalDeployment.__new__(RetrievalDeployment)]
            for replica in replicas:
                await replica.__init__(shop.workspace.url, settings)
            index, retrieval = map(Handle, replicas)
            handles: Any = Deployments(index, {"precision": Handle(Encoder())}, None, retrieval)
            answering = Answering(shop.workspace.url, settings, handles, lambda _: None)
            await answering.releases.refresh()
            await story(CartAnswering(answering, impressions and Handle(impressions)), retrieval)

    asyncio.run(tell())


async def ask(carts: CartAnswering, surface: str, only: str | None = None, shown: bool = True, **request: Any) -> dict[str, Any]:
    asked = RetrieveRequest.model_validate(request)
    side = carts.side_of(surface, asked.user_key or "team", only)
    return await carts.retrieve(surface, side, asked, COLUMNS, f"request-{surface}", shown)


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["item_id"] for row in answer["results"]]


def test_each_surface_is_answered_as_it_is_set_and_what_is_missing_is_told(shop: Shop) -> None:
    items = shop.products["item_id"].to_pylist()

    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        full = await ask(carts, "search", cart=items[:3], history=items[5:9], retailer_id="north", k=5)
        assert (full["side"], full["retrievers"], full["release"]) == ("generator", {"generator": "generator@v0001"}, "precision@v0001")
        assert full["fallbacks"] == ["stock_unknown"]
        assert len(full["results"]) == 5
        assert not set(ids(full)) & set(items[:3])
        empty = await ask(carts, "home")
        assert empty["fallbacks"] == ["no_history", "no_cart", "no_retailer"]
        assert (empty["side"], len(empty["results"])) == ("blend", 20)
        strange = await ask(carts, "search", cart=["who", "knows"], retailer_id="nowhere")
        assert strange["fallbacks"] == ["no_history", "unknown_products", "retailer_never_seen", "stock_unknown"]
        assert len(strange["results"]) == 20
        seen = await ask(carts, "search", events=[{"item_id": items[4], "event": "view"}], k=200, beam_width=300)
        assert items[4] in ids(seen)  # it was looked at, and is not in the cart
        assert seen["fallbacks"] == ["no_history", "no_retailer"]

    told(shop, story)


def test_without_a_retriever_or_in_its_absence_what_is_similar_is_answered(shop: Shop) -> None:
    items = shop.products["item_id"].to_pylist()

    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        plain = await ask(carts, "plain", cart=items[:2], k=5)
        assert (plain["side"], plain["retrievers"]) == ("similar", {})
        assert plain["fallbacks"] == ["no_history", "no_retriever", "similar", "no_retailer"]
        assert {row["proposed_by"] for row in plain["results"]} == {"similar"}
        assert not set(ids(plain)) & set(items[:2])
        wrong = await ask(carts, "wrong", cart=items[:2], k=5)
        assert (ids(wrong), wrong["side"]) == (ids(plain), "nobody")
        retrieval.retrieve.delay = 1.0
        late = await ask(carts, "hasty", cart=items[:2], k=5)
        assert (ids(late), late["fallbacks"]) == (ids(plain), ["no_history", "decoder_late", "similar", "no_retailer"])
        retrieval.retrieve.delay, retrieval.retrieve.failure = 0.0, RayActorError()
        down = await ask(carts, "hasty", cart=items[:2], k=5)
        assert down["fallbacks"][1] in ("decoder_late", "decoder_down")  # a dead replica is waited for as long as there is time
        assert ids(down) == ids(plain)
        nothing = await ask(carts, "hasty")
        assert (nothing["results"], nothing["fallbacks"][-1]) == ([], "nothing_known")
        by_history = await ask(carts, "plain", history=items[:2], k=5)
        assert len(by_history["results"]) == 5

    told(shop, story)


def test_a_change_of_stock_counts_for_the_next_request_and_survives_a_restart(shop: Shop) -> None:
    items = shop.products["item_id"].to_pylist()

    def change(**body: Any) -> AvailabilityRequest:
        return AvailabilityRequest.model_validate(body)

    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        name = 'Al\'s "corner"/shop'
        first = await carts.change_availability(name, change(item_ids=items[:4]))
        assert first["seen_by_all"]
        assert set(ids(await ask(carts, "search", retailer_id=name))) == set(items[:4])
        await carts.change_availability(name, change(add=[items[7], "unheard of"], remove=[items[0]]))
        for surface in ("search", "plain"):
            answer = await ask(carts, surface, retailer_id=name, cart=[items[1]], k=200, beam_width=300)
            assert set(ids(answer)) <= {items[2], items[3], items[7]}
            assert "stock_unknown" not in answer["fallbacks"]
        assert set(ids(answer)) or surface == "plain"
        assert (await carts.availability(name))["products"] == 5
        assert (await carts.availability(name))["in_release"] == {"precision@v0001": 4}
        assert name in await carts.retailers(CALLER)
        assert await carts.retailers(replace_retailers(["b", "a"])) == ["a", "b"]

    async def again(carts: CartAnswering, retrieval: Handle) -> None:
        assert set(ids(await ask(carts, "search", retailer_id='Al\'s "corner"/shop'))) == {items[1], items[2], items[3], items[7]}
        with pytest.raises(Problem, match="nothing is known of what"):
            await carts.availability("north")

    told(shop, story)
    told(shop, again)


def replace_retailers(retailers: list[str]) -> KeySettings:
    return CALLER.model_copy(update={"retailers": retailers})


def test_where_a_table_says_what_retailers_have_callers_do_not(shop: Shop, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    items = shop.products["item_id"].to_pylist()
    pq.write_table(pa.table({"item_id": items[:3], "retailer_id": ["t"] * 3}), tmp_path / "table.parquet")

    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        assert set(ids(await ask(carts, "search", retailer_id="t"))) == set(items[:3])
        with pytest.raises(Problem) as raised:
            await carts.change_availability("t", AvailabilityRequest(add=["a"]))
        assert raised.value.status == 409
        pq.write_table(pa.table({"item_id": items[2:5], "retailer_id": ["t"] * 3}), tmp_path / "table.parquet")
        await retrieval.replica.catch_up()
        assert set(ids(await ask(carts, "search", retailer_id="t"))) == set(items[2:5])

    told(shop, story, availability=str(tmp_path / "table.parquet"))


def test_a_split_keeps_a_user_on_a_side_and_what_was_shown_is_written_down(shop: Shop, tmp_path: Path) -> None:
    items = shop.products["item_id"].to_pylist()
    written = ImpressionsDeployment(str(tmp_path / "log"), 3600, 10_000)

    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        sides = Counter(carts.side_of("trial", f"user {number}").name for number in range(1000))
        assert 700 < sides["generator"] < 800
        answer = await ask(carts, "trial", cart=items[:2], user_key="user 1", retailer_id="north", k=4)
        assert answer["side"] == carts.side_of("trial", "user 1").name
        await ask(carts, "trial", cart=items[:2], user_key="user 2", k=4, shown=False)
        carts.note_chosen("trial", ChosenRequest(request_id="request-trial", item_ids=ids(answer)[2:3]))
        await asyncio.gather(*carts.writing)
        rows = pa.concat_tables(written.fresh).to_pylist()
        assert [row["event"] for row in rows] == ["shown"] * 4 + ["chosen"]
        assert [row["item_id"] for row in rows[:4]] == ids(answer)
        share = {"generator": 0.75, "cr": 0.25}[answer["side"]]
        assert {(row["side"], row["propensity"], row["user_id"], row["release"]) for row in rows} == {
            (answer["side"], share, "user 1", "precision@v0001")
        }
        assert rows[4]["position"] == 3

    told(shop, story, impressions=written)


def test_nothing_is_written_down_where_that_is_not_turned_on(shop: Shop) -> None:
    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        with pytest.raises(Problem, match="does not turn impressions on"):
            carts.note_chosen("trial", ChosenRequest(request_id="a", item_ids=["b"]))

    told(shop, story)


def test_what_can_be_compared_answers_on_any_surface(shop: Shop) -> None:
    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        assert carts.compared() == ["generator", "cr", "blend", "similar"]
        for only in carts.compared():
            answer = await ask(carts, "search", only, cart=shop.products["item_id"].to_pylist()[:2], k=3)
            assert (answer["side"], len(answer["results"])) == (only, 3)

    told(shop, story)


def test_a_release_and_its_retrievers_become_live_together_or_not_at_all(tmp_path: Path) -> None:
    shop = open_shop(str(tmp_path / "ws"), 80, tmp_path / "tiny")
    items = shop.products["item_id"].to_pylist()
    publish_untrained(shop.workspace, shop.release("precision", 0), {"north": items})

    async def story(carts: CartAnswering, retrieval: Handle) -> None:
        first = await ask(carts, "search", cart=items[:2])
        second = shop.release("precision", 1)
        await carts.answering.releases.refresh()
        assert carts.answering.releases.live == {"precision": "precision@v0001"}
        assert "train one on it" in carts.answering.releases.problems["precision"]
        assert ids(await ask(carts, "search", cart=items[:2])) == ids(first)
        publish_untrained(shop.workspace, second, {"north": items})
        carts.answering.releases.refused.clear()
        await carts.answering.releases.refresh()
        moved = await ask(carts, "search", cart=items[:2])
        assert (moved["release"], moved["retrievers"]) == ("precision@v0002", {"generator": "generator@v0002"})
        assert carts.answering.releases.problems == {}

    told(shop, story)
