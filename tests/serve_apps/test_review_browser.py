"""The review in a browser, over a real store: a specialist works off the queue by keys, and a lead settles what two contradict."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browsing import Watched
from reviewing import Review, reviewing

from shelfcode.audit.decisions.decision import Decision, Event
from shelfcode.audit.decisions.desk import Desk

CARD = "#shown article"
SERIOUS = ("serious", "critical")
AXE = "axe.run({resultTypes: ['violations']}).then(({violations}) => violations.map(({id, impact}) => [id, impact]))"


pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """The application of the endpoint, with an audit of 200 findings."""
    with reviewing(tmp_path_factory.mktemp("review"), 200) as review:
        yield review.certain()


@pytest.fixture(scope="module")
def desk(review: Review) -> Iterator[Desk]:
    """The store of the running application, opened beside it."""
    desk = review.desk()
    yield desk
    desk.close()


@pytest.fixture
def lead(chromium: Any, review: Review) -> Iterator[Watched]:
    """A lead who has signed in. Pictures are files that are none."""
    context = chromium.new_context()
    cookies = review.signed_in("lea").cookies.items()
    context.add_cookies([{"name": name, "value": value, "url": review.url} for name, value in cookies])
    watched = Watched(context.new_page(), review.url, pictures="https://shop.example/")
    watched.page.set_default_timeout(30_000)
    context.route("https://shop.example/**", lambda route: route.fulfill(body="no picture", content_type="image/png"))
    watched.follow()
    yield watched
    context.close()
    assert watched.strangers == []
    assert watched.complaints == []


class Cards:
    """The queue in a browser, and what the store holds of it."""

    def __init__(self, page: Any, desk: Desk, audit: str) -> None:
        self.page, self.desk, self.audit = page, desk, audit

    @property
    def id(self) -> str:
        return str(self.page.locator(CARD).get_attribute("data-finding"))

    def press(self, *keys: str) -> str:
        """Press keys, and wait for another card; the finding comes back that was shown before."""
        before = self.id
        for key in keys:
            self.page.keyboard.press(key)
        self.page.wait_for_function("before => document.querySelector('#shown article')?.dataset.finding !== before", arg=before)
        return before

    def kept(self, finding: str, holds: Callable[[list[Event]], bool]) -> None:
        """Wait until the store holds what the page has sent."""
        end = time.monotonic() + 120
        while not ((events := self.desk.history(self.audit, finding, seen_by="lea", kinds=("decision", "undo"))) and holds(events)):
            assert time.monotonic() < end, events
            time.sleep(0.02)

    def verdict(self, finding: str, verdict: str, path: tuple[str, ...] | None = None) -> None:
        """Wait until the last thing said of a finding is this."""
        self.kept(finding, lambda events: (events[0].verdict, path or events[0].path) == (verdict, events[0].path))


def contradict(desk: Desk, audit: str) -> str:
    """A finding on which two reviewers contradict each other."""
    (card,) = desk.next(audit, "ann")
    decided = desk.decide(audit, "ann", Decision(card.finding_id, "unsure", card.version, uuid4().hex))
    if decided.state != "conflict":  # somebody else was unsure of it before
        desk.decide(audit, "bob", Decision(card.finding_id, "unsure", decided.version, uuid4().hex))
    return card.finding_id


def test_the_queue_is_worked_off_by_keys(lead: Watched, review: Review, desk: Desk) -> None:
    page, cards = lead.page, Cards(lead.page, desk, review.audit)
    page.context.clear_cookies()
    lead.open(f"/review/{review.audit}", 401)
    page.get_by_label("Key").fill("lea")
    page.get_by_label("Key").press("Enter")
    page.get_by_role("link", name="Go to the queue").click()
    page.locator(CARD).wait_for()
    page.wait_for_function("() => !document.querySelector('img.picture')")
    cards.verdict(cards.press("a"), "accept")
    cards.verdict(cards.press("k"), "keep")
    second = page.locator('[data-key="2"] bdi').all_inner_texts()
    cards.verdict(cards.press("2"), "accept", tuple(second))
    searched = cards.id
    page.keyboard.press("/")
    page.keyboard.type("household pap")
    page.get_by_role("option", name="Paper").wait_for()
    assert page.get_by_role("combobox").get_attribute("aria-expanded") == "true"
    assert cards.press("Enter") == searched
    cards.kept(searched, lambda events: events[0].verdict in ("relabel", "accept") and events[0].path == ("Household", "Paper"))
    cards.verdict(cards.press("c"), "code_wrong")
    cards.verdict(cards.press("u"), "unsure")
    skipped = cards.press("s")
    cards.press("z")
    assert cards.id == skipped
    kept = cards.press("k")
    cards.verdict(kept, "keep")
    cards.press("z")
    assert cards.id == kept
    cards.kept(kept, lambda events: events[0].kind == "undo")
    cards.verdict(cards.press("x"), "exclude")
    assert all(event.seconds is not None for event in desk.history(review.audit, kept, kinds=("decision",)))
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.get_by_role("button", name="Keep the label").click()
    page.wait_for_function("() => document.activeElement.matches('#shown article')")


def test_no_decision_is_lost_without_a_network_and_a_refused_one_comes_back(lead: Watched, review: Review, desk: Desk) -> None:
    page, cards = lead.page, Cards(lead.page, desk, review.audit)
    lead.open(f"/review/{review.audit}/queue")
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    offline = [cards.press("k"), cards.press("u")]
    page.get_by_text("2 decisions wait to be saved").wait_for()
    page.context.set_offline(False)
    for finding, verdict in zip(offline, ("keep", "unsure"), strict=True):
        cards.verdict(finding, verdict)
    refused = cards.id
    card = desk.finding(review.audit, refused, "lea")
    desk.decide(review.audit, "lea", Decision(refused, "keep", card.version, "from another tab"))
    page.keyboard.press("a")  # the next card is shown only until the refusal arrives, which may be too short to be seen
    page.get_by_text("This decision was not saved").wait_for()
    page.locator(CARD).get_by_text("it takes no decision of yours now").wait_for()
    assert cards.id == refused
    assert cards.press("s") == refused
    lead.complaints[:] = [said for said in lead.complaints if "ERR_INTERNET_DISCONNECTED" not in said and "409" not in said]


def test_patterns_and_conflicts_are_settled_and_taken_back(lead: Watched, review: Review, desk: Desk) -> None:
    page, audit = lead.page, review.audit
    lead.open(f"/review/{audit}/patterns?kind=path_pair")
    page.locator(".products .what a").first.click()
    page.get_by_role("button", name="Move all").wait_for()
    pattern = page.url.rpartition("/")[2]
    (before, _) = desk.pattern(audit, pattern)
    page.get_by_role("button", name="Move all").click()
    page.get_by_role("status").get_by_text("decided").wait_for()
    assert desk.pattern(audit, pattern)[0].open < before.open
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("All of it was taken back").wait_for()
    assert desk.pattern(audit, pattern)[0].open == before.open
    finding = contradict(desk, audit)
    lead.open(f"/review/{audit}/conflicts")
    conflict = page.locator(f'[data-conflict="{finding}"]')
    conflict.get_by_role("button", name="Settle so").click()
    page.get_by_text("Settled.").wait_for()
    assert desk.finding(audit, finding).state == "adjudicated"


def test_all_pages_can_be_used_by_everybody_in_both_themes_and_on_a_small_screen(lead: Watched, review: Review, desk: Desk) -> None:
    page, audit = lead.page, review.audit
    pattern = next(each for each in desk.patterns(audit) if each.open)
    contradicted = contradict(desk, audit)
    last, history = "/findings?first=190", f"/history?finding={contradicted}"  # few rows of many pages: axe looks at each
    places = ("", "/queue", "/patterns", f"/patterns/{pattern.pattern_id}", last, "/conflicts", history, "/export", "/settings")
    for place in places:
        lead.open(f"/review/{audit}{place}")
        page.evaluate(AXE_SCRIPT)
        for theme, width in (("light", 1280), ("dark", 360)):
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{place} scrolls sideways at {width}"
            assert not [found for found in page.evaluate(AXE) if found[1] in SERIOUS], f"{place} in {theme}"
