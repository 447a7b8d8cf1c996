"""The pages in a browser, on a running endpoint, as somebody with a key sees them."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browsing import Watched
from canned import NASTY_ID, Canned, application
from fronted import listening
from released import BOLD_TITLE, ITEM_IDS
from served import Endpoint

AXE = "axe.run({resultTypes: ['violations']}).then(({violations}) => violations.map(({id, impact}) => [id, impact]))"


@pytest.fixture(scope="module")
def signed_in(chromium: Any, endpoint: Endpoint) -> Any:
    """What a browser remembers of somebody who gave the form their key."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{endpoint.url}/explore")
    page.get_by_label("Key").fill(endpoint.key)
    page.get_by_label("Key").press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def watched(chromium: Any, endpoint: Endpoint, signed_in: Any) -> Iterator[Watched]:
    context = chromium.new_context(storage_state=signed_in)
    watched = Watched(context.new_page(), endpoint.url)
    watched.page.set_default_timeout(30_000)
    watched.follow()
    yield watched
    context.close()
    assert watched.strangers == []
    assert watched.complaints == []


def test_a_product_is_typed_and_seen_in_both_flavors(watched: Watched, endpoint: Endpoint) -> None:
    page = watched.page
    watched.open("/")
    assert page.url.endswith("/explore")
    page.get_by_label("Title").fill("Oat Drink Barista, 1 l")
    page.get_by_label("Title").press("Enter")
    page.wait_for_selector("[data-semantic-id]")
    ids = {flavor: page.locator(f'[data-flavor="{flavor}"] [data-semantic-id]').inner_text() for flavor in ("precision", "discovery")}
    assert all(re.fullmatch(r"\d+(_\d+){3}", text) for text in ids.values())
    assert page.locator('[data-flavor="precision"] meter').count() == 4
    nearest = endpoint.ask("/v1/surfaces/search/similar", {"product": {"title": "Oat Drink Barista, 1 l"}}).json["results"]
    assert page.locator('[data-nearest="precision"] .products .what a').all_inner_texts() == [each["title"] for each in nearest]
    assert page.locator('[data-nearest="discovery"] .products li').count() > 0
    page.get_by_label("Surface", exact=True).select_option("homepage")
    page.get_by_role("button", name="Ask it").click()
    page.wait_for_selector('[data-surface="homepage"]')
    assert "discovery@" in page.locator('[data-surface="homepage"]').inner_text()
    titles = ".products .what a"
    answer = page.locator(f"[data-surface] {titles}").all_inner_texts()
    assert answer == page.locator(f'[data-nearest="discovery"] {titles}').all_inner_texts()


def test_the_tree_is_walked_from_the_root_to_a_product_and_back_up(watched: Watched) -> None:
    page = watched.page
    watched.open("/explore?flavor=discovery")
    for level in range(1, 5):
        page.locator(".children .child a").first.click()
        page.wait_for_selector(f"text=level {level} of 4.")
    prefix = page.locator("h1 .mono").inner_text()
    page.locator(".products .what a").first.click()
    page.wait_for_selector("[data-semantic-id]")
    assert page.locator('[data-flavor="discovery"] [data-semantic-id]').inner_text() == prefix
    page.locator('[data-flavor="discovery"] td a').last.click()
    page.locator(".crumbs a").first.click()
    assert page.locator("h1").inner_text() == "All of discovery"


def test_prefixes_open_in_place_and_without_scripts_by_links(watched: Watched) -> None:
    page = watched.page
    watched.open("/explore")
    card = page.locator('.card[data-flavor="precision"]')
    button = card.get_by_role("button").first
    button.click()
    card.locator(".children .children .child a").first.wait_for()
    assert button.get_attribute("aria-expanded") == "true"
    card.locator(".children .children").get_by_role("button").first.click()
    card.locator(".children .children .children .child a").first.wait_for()
    button.click()
    assert not card.locator(".children .children").first.is_visible()
    state = page.context.storage_state()
    plain = page.context.browser.new_context(java_script_enabled=False, storage_state=state).new_page()
    plain.goto(f"{watched.url}/explore")
    assert plain.locator(".child button").count() == 0
    plain.locator(".child a").first.click()
    assert "level 1 of 4" in plain.locator("main").inner_text()


def test_markup_shows_as_text_and_awkward_ids_work_through_links(watched: Watched) -> None:
    page = watched.page
    for item_id in ITEM_IDS:
        watched.open(f"/explore?{urlencode({'item_id': item_id})}")
        assert page.locator("main > p .mono").first.inner_text() == item_id
    watched.open(f"/explore?{urlencode({'item_id': ITEM_IDS[0]})}")
    assert page.locator("h1").inner_text() == BOLD_TITLE
    page.locator('[data-flavor="precision"] td a').last.click()
    page.get_by_role("link", name="<b>Bold</b>").first.click()
    page.wait_for_selector("[data-semantic-id]")
    assert page.locator("main > p .mono").first.inner_text() == ITEM_IDS[0]
    page.locator("summary").click()
    page.get_by_label("Title").fill('<img src=x onerror="window.hit=1"><script>window.hit=1</script> Oat Drink')
    page.get_by_role("button", name="Show its semantic IDs").click()
    page.wait_for_selector("meter")
    assert "<script>" in page.locator("h1").inner_text()
    assert page.evaluate("window.hit") is None


def test_problems_are_told_in_plain_words(watched: Watched) -> None:
    watched.open("/explore?item_id=nobody", 404)
    assert "the item_id 'nobody'" in watched.page.get_by_role("alert").inner_text()
    watched.open("/explore?title=", 422)
    assert "nothing was typed" in watched.page.get_by_role("alert").inner_text()


def test_the_api_page_is_read(watched: Watched) -> None:
    page = watched.page
    watched.open("/docs")
    text = page.locator("main").inner_text()
    assert "/v1/surfaces/{surface}/similar" in text
    assert "min_level" in text
    assert f"curl -s -H 'Authorization: Bearer YOUR_KEY' {watched.url}/v1/" in text
    assert page.locator("td", has_text=re.compile("^self$")).count() == 0


# The shop window, over canned answers.


@pytest.fixture
def window(chromium: Any) -> Iterator[Watched]:
    with listening(application(Canned())) as port:
        context = chromium.new_context(viewport={"width": 360, "height": 800})
        watched = Watched(context.new_page(), f"http://127.0.0.1:{port}")
        watched.page.set_default_timeout(30_000)
        watched.follow()
        yield watched
        context.close()
    assert watched.strangers == []
    assert watched.complaints == []


@pytest.mark.live
def test_a_cart_is_filled_lists_are_compared_and_the_beam_is_walked(window: Watched) -> None:
    page = window.page
    window.open("/explore?shop=1")
    page.get_by_label("Retailer").fill("7")
    page.get_by_label("Into the cart").fill(NASTY_ID)
    page.get_by_label("Into the cart").press("Enter")
    page.wait_for_selector("[data-cart]")
    assert page.get_by_label("Retailer").input_value() == "7"
    page.get_by_label("Into the cart").fill("of precision")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("region", name="Products like").get_by_role("link", name="Add to the cart").click()
    page.wait_for_selector('[data-cart="x"]')
    assert [row.get_attribute("data-cart") for row in page.locator("[data-cart]").all()] == [NASTY_ID, "x"]
    assert page.locator("[data-column]").count() == 4
    page.locator('[data-cart="x"]').get_by_role("link", name="Remove").click()
    page.locator('[data-cart="x"]').wait_for(state="detached")
    assert page.locator('[data-column="cr"] .products li').count() == 2
    page.evaluate("document.querySelectorAll('details:not(.branches *)').forEach((each) => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.evaluate(AXE_SCRIPT)
    assert page.evaluate(AXE) == []
    assert page.evaluate("window.hit") is None
    page.locator("[data-walk] summary", has_text="60%").click()
    page.locator("[data-walk] summary", has_text="1_2").click()
    page.get_by_role("link", name="What lies under 1_2").click()
    page.wait_for_selector("text=level 2 of 2")
    assert page.locator("h1 .mono").inner_text() == "1_2"
