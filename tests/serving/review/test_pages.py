"""The pages of the review over a real store: what they show, what their forms do, and that nothing a catalog says is taken for markup.

serve_apps/test_review_browser.py has them in a browser.
"""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

import planted_audit
import pytest
from planted_audit import plant_audit
from reviewing import Review, reviewing

from shelfcode.audit.decisions.answers import ReviewSettings
from shelfcode.audit.decisions.decision import Decision

NASTY = "<script>window.hit = 1</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """One for all tests: those that change something do so in an audit of their own."""
    with reviewing(tmp_path_factory.mktemp("review"), 200) as review:
        yield review.certain()


@pytest.fixture
def review(looked_at: Review, request: pytest.FixtureRequest) -> Review:
    """Another audit of the same workspace, of other products, that nobody has touched."""
    return another(looked_at, request.node.name)


def another(review: Review, name: str) -> Review:
    """An audit of other products for each name, the same ones whichever tests have run before."""
    return replace(review, planted=plant_audit(review.workspace, 60, crc32(name.encode()))).certain()


class Browser:
    """Somebody's browser without scripts, on the pages of one audit."""

    def __init__(self, review: Review, name: str) -> None:
        self.client = review.signed_in(name)
        self.base = f"/review/{review.audit}"

    def get(self, path: str = "", status: int = 200, **query: str) -> str:
        answer = self.client.get(f"{self.base}{path}" + (f"?{urlencode(query)}" if query else ""))
        assert answer.status_code == status, answer.text
        return answer.text

    def press(self, text: str, words: str, status: int = 303, **more: str) -> Any:
        """Press the first button of a page that has these words in it, as a browser would."""
        form = next(form for form in re.findall(r'<form[^>]*method="post".*?</form>', text, re.S) if words in form)
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))
        button = next(each for each in re.findall(r"<button([^>]*)>(.*?)</button>", form, re.S) if words in each[1])
        name, value = re.search(r'name="([^"]*)"', button[0]), re.search(r'value="([^"]*)"', button[0])
        if name and value:
            fields[name[1]] = value[1]
        action = re.search(r'action="([^"]*)"', form)
        assert action
        answer = self.client.post(html.unescape(action[1]), data={**{key: html.unescape(text) for key, text in fields.items()}, **more})
        assert answer.status_code == status, answer.text
        return answer

    def follow(self, answer: Any) -> str:
        shown = self.client.get(answer.headers["location"])
        assert shown.status_code == 200, shown.text
        return shown.text


def shown_finding(text: str) -> str:
    found = re.search(r'data-finding="([0-9a-f]{32})"', text)
    assert found
    return found[1]


# What is shown.


@pytest.mark.parametrize("path", ["", "/queue", "/patterns", "/findings", "/history", "/conflicts", "/export", "/settings"])
def test_every_page_is_shown_and_says_where_it_is(looked_at: Review, path: str) -> None:
    text = Browser(looked_at, "lea").get(path)
    assert f'<a href="/review/{looked_at.audit}{path}" aria-current="page">' in text
    assert "Sign out" in text
    assert ' style="' not in text
    assert " onclick" not in text


def test_the_list_of_audits_leads_to_each(looked_at: Review) -> None:
    browser = Browser(looked_at, "ann")
    assert f'href="{browser.base}"' in browser.client.get("/review").text


def test_the_overview_tells_how_many_are_wrong_and_whether_to_go_on(looked_at: Review) -> None:
    text, summary = Browser(looked_at, "ann").get(), looked_at.desk().summary(looked_at.audit)
    assert f'<b class="big">{summary.wrong.estimate:,.0f}</b><p>labels are probably wrong' in text
    assert re.search(r"The next \d+ findings of the queue are expected to hold <b>\d+</b> wrong labels", text)
    assert "nothing was reviewed yet" in text
    assert '<polyline class="hoped" points="0.0,300.0 ' in text
    assert text.count('<th scope="row"><a href=') == len(summary.departments)


def test_a_card_shows_the_path_as_a_diff_that_needs_no_colour(review: Review) -> None:
    browser = Browser(review, "ann")
    given, suggested = ["Snacks", "Candy"], ["Health", "Sports Nutrition", "Protein Bars"]
    rows = [row for row in review.planted.findings.to_pylist() if row["given_path"] == given and row["suggested_paths"][:1] == [suggested]]
    finding = max(rows, key=lambda row: len(row["suggested_paths"]))
    text = browser.get(f"/findings/{finding['finding_id']}")
    assert re.search(
        r'<del><span class="sr">removed: </span><span class="sign" aria-hidden="true">.</span>.*?Snacks.*?Candy.*?</del>', text
    )
    assert re.search(
        r'<ins><span class="sr">added: </span><span class="sign" aria-hidden="true">\+</span>.*?Health.*?Protein Bars.*?</ins>', text
    )
    assert html.escape(finding["evidence"]["reason"]) in text
    assert text.count('<li><span class="what">') >= 5
    for key in "akcuxs1234":
        assert f'data-key="{key}"' in text


def test_common_ancestors_are_plain(looked_at: Review) -> None:
    rows = looked_at.planted.findings.to_pylist()
    finding = next(row for row in rows if row["suggested_paths"] and row["given_path"][0] == row["suggested_paths"][0][0])
    text = Browser(looked_at, "ann").get(f"/findings/{finding['finding_id']}")
    diff = re.search(r'<dl class="diff">.*?</dl>', text, re.S)
    assert diff
    assert diff[0].count(f"<bdi>{finding['given_path'][0]}</bdi>") == 2
    assert not re.search(rf"<(del|ins)>(?:(?!</\1>).)*<bdi>{finding['given_path'][0]}</bdi>", diff[0], re.S)


def test_a_picture_comes_only_from_the_web_and_tells_nobody_where_it_is_shown(looked_at: Review) -> None:
    row = next(row for row in looked_at.planted.findings.to_pylist() if row["image"])
    browser = Browser(looked_at, "ann")
    answer = browser.client.get(f"{browser.base}/findings/{row['finding_id']}")
    assert re.search(rf'<img class="picture" src="{row["image"]}" alt="Picture of [^"]+" referrerpolicy="no-referrer"', answer.text)
    assert "img-src data: https: http:;" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_filters_stand_in_the_address_and_are_kept_from_card_to_card(review: Review) -> None:
    browser = Browser(review, "ann")
    text = browser.get("/queue", department="Snacks", p_min="50", popularity_min="1")
    assert "Snacks, at least 50% likely wrong, popularity from 1" in text
    answer = browser.press(text, "Keep the label")
    assert {"department=Snacks", "p_min=50", "popularity_min=1"} <= set(answer.headers["location"].partition("?")[2].split("&"))
    assert 'value="Snacks" selected' in browser.follow(answer)
    only = browser.get("/queue", part="cards", count="20", department="Snacks", p_min="50", popularity_min="1")
    rows = {row["finding_id"]: row for row in review.planted.findings.to_pylist()}
    shown = [rows[finding] for finding in re.findall(r'data-finding="([0-9a-f]{32})"', only)]
    assert shown
    assert all(row["given_path"][0] == "Snacks" and row["p_wrong"] >= 0.5 and row["popularity"] >= 1 for row in shown)


@pytest.mark.parametrize(("query", "words"), [
    ({"p_min": "many"}, "p_min is &#39;many&#39;"), ({"p_min": "120"}, "p_min"), ({"issue": "wrong"}, "issue"),
    ({"first": "-1"}, "first is"),
])  # fmt: skip
def test_a_filter_that_is_none_is_told(looked_at: Review, query: dict[str, str], words: str) -> None:
    assert words in Browser(looked_at, "ann").get("/findings", 422, **query)


def test_cards_alone_are_for_the_script_which_has_some_already(looked_at: Review) -> None:
    browser = Browser(looked_at, "bob")
    text = browser.get("/queue", part="cards", count="3")
    first, *rest = re.findall(r'data-finding="([0-9a-f]{32})"', text)
    assert len(rest) == 2
    assert text.lstrip().startswith("<div data-csrf=")
    again = browser.get("/queue", part="cards", count="4", have=first)
    assert re.findall(r'data-finding="([0-9a-f]{32})"', again)[:2] == rest
    assert "article" not in browser.get("/queue", part="cards", count="0")


def test_categories_are_searched_by_their_letters(looked_at: Review) -> None:
    browser = Browser(looked_at, "ann")
    assert json.loads(browser.get("/paths", q="oat"))["paths"] == [["Dairy", "Milk", "Oat Milk"]]
    assert json.loads(browser.get("/paths", q=""))["paths"] == []
    text = browser.get("/queue", q="oat")
    assert "Categories that match" in text
    assert 'value="path:["Dairy", "Milk", "Oat Milk"]"' in html.unescape(text)
    assert "No category has “zzz” in it" in browser.get("/queue", q="zzz")


def test_whatever_a_catalog_or_a_reviewer_says_shows_as_text(looked_at: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planted_audit._finding

    def nasty(number: int, seed: int) -> Any:
        row, right = made(number, seed)
        row |= {
            "title": f"{NASTY} {number}",
            "brand": NASTY,
            "description": NASTY,
            "image": "javascript:alert(1)//" if number % 2 else NASTY,
        }
        row["suggested_paths"] = [(NASTY, "a > b", NASTY + str(number % 2)), *row["suggested_paths"]]
        row["evidence"] |= {"reason": NASTY, "missing": [NASTY], "prefix": NASTY}
        row["evidence"]["nearest"] = [near | {"title": NASTY, "path": (NASTY,)} for near in row["evidence"]["nearest"]]
        row["evidence"]["views"] = [view | {"view": NASTY, "path": (NASTY,)} for view in row["evidence"]["views"]]
        return row, right

    monkeypatch.setattr(planted_audit, "_finding", nasty)
    review = another(looked_at, "nasty")
    browser, audit = Browser(review, "lea"), review.audit
    text = browser.get("/queue")
    pattern = review.desk().patterns(audit)[0].pattern_id
    browser.press(text, "Accept the suggestion", note=NASTY)
    paths = (
        "",
        "/queue",
        f"/queue?{urlencode({'q': NASTY, 'brand': NASTY, 'text': NASTY})}",
        "/patterns",
        f"/patterns/{pattern}",
        "/findings",
    )
    for path in (*paths, "/history", f"/history?{urlencode({'reviewer': NASTY, 'finding': 'x'})}", "/queue?part=cards&count=3"):
        answer = browser.client.get(browser.base + path)
        assert answer.status_code in (200, 404), answer.text
        assert "<script>window" not in answer.text
        assert "<img src=x" not in answer.text
        assert 'src="javascript' not in answer.text
    assert NASTY in html.unescape(browser.get("/history"))


# What forms do.


def test_without_scripts_every_button_decides_and_moves_on(review: Review) -> None:
    browser, desk, audit = Browser(review, "ann"), review.desk(), review.audit
    text, seen = browser.get("/queue"), []
    for words, verdict in [("Accept the suggestion", "accept"), ("Keep the label", "keep"), ("Code is wrong", "code_wrong"),
                           ("Unsure", "unsure"), ("Not a product", "exclude")]:  # fmt: skip
        finding = shown_finding(text)
        text = browser.follow(browser.press(text, words, note="looked twice"))
        event = next(event for event in desk.history(audit, finding, seen_by="ann") if event.kind == "decision")
        assert (event.verdict, event.by, event.note) == (verdict, "ann", "looked twice")
        assert event.seconds is not None
        assert shown_finding(text) not in [*seen, finding]
        seen.append(finding)
    skipped = shown_finding(text)
    text = browser.follow(browser.press(text, "Skip"))
    assert shown_finding(text) != skipped
    assert desk.finding(audit, skipped).state == "open"


def test_a_category_from_the_search_relabels_or_accepts_or_keeps(review: Review) -> None:
    browser, desk, audit = Browser(review, "ann"), review.desk(), review.audit
    rows = {row["finding_id"]: row for row in review.planted.findings.to_pylist()}
    known = [["Dairy", "Yogurt"], ["Beverages", "Tea"], ["Household", "Paper"], ["Snacks", "Chips"]]
    for wanted in ("relabel", "accept", "keep"):
        text = browser.get("/queue")
        row = rows[shown_finding(text)]
        suggested = [list(path) for path in row["suggested_paths"]]
        other = next(path for path in known if path not in (*suggested, row["given_path"]))
        path = {"relabel": other, "accept": suggested[-1], "keep": row["given_path"]}[wanted]
        browser.press(text, "Keep the label", choice=f"path:{json.dumps(path)}")
        (event,) = desk.history(audit, row["finding_id"], kinds=("decision",))
        assert (event.verdict, event.path) == (wanted, None if wanted == "keep" else tuple(path))


def test_a_form_sent_twice_counts_once_and_one_that_comes_late_is_refused(review: Review) -> None:
    browser, other = Browser(review, "ann"), Browser(review, "lea")
    text = browser.get("/queue")
    browser.press(text, "Keep the label")
    browser.press(text, "Keep the label")
    finding, audit = shown_finding(text), review.audit
    assert len(review.desk().history(audit, finding, kinds=("decision",))) == 1
    late = other.press(other.get(f"/findings/{finding}"), "Undo my last", status=404)
    assert "nothing" in late.text
    changed = browser.press(text.replace("idempotency_key", "ignored"), "Keep the label", 409, idempotency_key="another")
    assert "It has changed since it was shown" in changed.text
    assert "Back to the queue" in changed.text


def test_the_script_is_answered_in_json(review: Review) -> None:
    browser = Browser(review, "ann")
    browser.client.headers["Accept"] = "application/json"
    text = browser.client.get(f"{browser.base}/queue").text
    finding, audit = shown_finding(text), review.audit
    assert browser.press(text, "Keep the label", 200).json() == {"finding_id": finding, "state": "decided", "version": 1}
    late = browser.press(text, "Unsure", 409, idempotency_key="another")
    assert late.json()["type"] == "urn:shelfcode:problem:changed"
    token = re.search(r'name="csrf_token" value="([^"]+)"', text)
    assert token
    undone = browser.client.post(f"{browser.base}/undo", data={"csrf_token": token[1], "finding_id": finding})
    assert shown_finding(undone.json()["card"]) == finding
    again = browser.press(undone.json()["card"], "Code is wrong", 200)
    assert again.json()["version"] == 3
    assert [event.verdict for event in review.desk().history(audit, finding, kinds=("decision",))] == ["code_wrong", "keep"]
    nothing = browser.client.post(f"{browser.base}/undo", data={"csrf_token": token[1], "finding_id": "0" * 32})
    assert nothing.status_code == 404


def test_the_last_decision_is_taken_back_and_its_card_is_shown_again(review: Review) -> None:
    browser = Browser(review, "ann")
    text = browser.get("/queue")
    after = browser.follow(browser.press(text, "Keep the label"))
    back = browser.follow(browser.press(after, "Undo my last"))
    assert shown_finding(back) == shown_finding(text)
    assert "Taken back" in back
    browser.press(back, "Accept the suggestion")


def test_a_pattern_is_settled_by_one_action_and_taken_back_by_one(review: Review) -> None:
    browser, desk, audit = Browser(review, "ann"), review.desk(), review.audit
    pattern = next(row for row in desk.patterns(audit) if row.kind == "brand")
    for kind in ("path_pair", "brand", "prefix"):
        assert (pattern.sentence.replace(">", "&gt;") in browser.get("/patterns", kind=kind)) == (kind == "brand")
    text = browser.get(f"/patterns/{pattern.pattern_id}")
    assert 0 < len(re.findall(r'<li><span class="what"><a href="[^"]+/findings/', text)) <= 10
    done = browser.follow(browser.press(text, f"Move all {pattern.open}"))
    assert f"{pattern.open} decided" in done
    assert desk.patterns(audit, "brand")[0].open == 0
    back = browser.follow(browser.press(done, "Undo"))
    assert "All of it was taken back" in back
    assert desk.patterns(audit, "brand")[0].open == pattern.open


def test_a_second_review_is_blind_and_a_lead_settles_what_two_contradict(review: Review) -> None:
    desk, audit, ann, bob, lea = review.desk(), review.audit, *(Browser(review, name) for name in ("ann", "bob", "lea"))
    answer = lea.press(lea.get("/settings"), "Save", second_review_share="100", random_share="0", claim_minutes="15")
    assert "Saved" in lea.follow(answer)
    assert desk.review_settings(audit) == ReviewSettings(1.0, 0.0, 15.0)
    text = ann.get("/queue")
    finding = shown_finding(text)
    ann.press(text, "Accept the suggestion", note="a tell-tale note")
    for path in (f"/findings/{finding}", f"/history?finding={finding}", "/history"):
        shown = bob.get(path)
        assert "tell-tale" not in shown
        assert "Suggestion accepted" not in shown
    assert "tell-tale" in ann.get(f"/findings/{finding}")
    second = next(text for text in (bob.get(f"/findings/{finding}"),))
    bob.press(second, "Keep the label")
    bob.get("/conflicts", 403)
    text = lea.get("/conflicts")
    assert f'data-conflict="{finding}"' in text
    assert "tell-tale" in text
    assert "ann is right" in text
    assert "Settled" in lea.follow(lea.press(text, "bob is right", note="it is candy"))
    card = desk.finding(audit, finding)
    assert (card.state, card.decisions[-1].kind, card.decisions[-1].verdict) == ("adjudicated", "adjudication", "keep")
    history = lea.get("/history")
    assert "it is candy" in history
    lea.press(history, "Undo")
    assert desk.finding(audit, finding).state == "conflict"


def test_a_lead_settles_otherwise(review: Review) -> None:
    desk, audit = review.desk(), review.audit
    desk.set_review_settings(audit, ReviewSettings(1.0, 0.0, 15.0))
    (card,) = desk.next(audit, "ann")
    desk.decide(audit, "ann", Decision(card.finding_id, "keep", 0, "one"))
    desk.decide(audit, "bob", Decision(card.finding_id, "exclude", 1, "two"))
    lea = Browser(review, "lea")
    path = card.finding["suggested_paths"][1]
    lea.press(lea.get("/conflicts"), "Settle so", other=f"accept:{json.dumps(path)}")
    settled = desk.finding(audit, card.finding_id).decisions[-1]
    assert (settled.kind, settled.path) == ("adjudication", tuple(path))


def test_a_decided_finding_takes_no_other_decision(review: Review) -> None:
    browser = Browser(review, "ann")
    text = browser.get("/queue")
    browser.press(text, "Keep the label")
    after = browser.get(f"/findings/{shown_finding(text)}")
    assert "it takes no decision of yours now" in after
    assert 'class="decide"' not in after
    assert "Label kept" in after


# Who may.


def test_strangers_are_asked_for_a_key_and_led_back(looked_at: Review) -> None:
    stranger = looked_at.client()
    for path in ("/review", f"/review/{looked_at.audit}/queue?department=Snacks"):
        answer = stranger.get(path)
        assert answer.status_code == 401
        assert 'name="key"' in answer.text
    signed = stranger.post("/explore", data={"key": "ann", "to": f"/review/{looked_at.audit}/queue?department=Snacks"})
    assert signed.headers["location"].endswith("/queue?department=Snacks")
    for then in ("https://evil.example/review", "//evil.example/review", "/reviewed", "/review\\@evil.example"):
        assert looked_at.client().post("/explore", data={"key": "ann", "to": then}).headers["location"] == "/explore"
    assert looked_at.signed_in("surfaces only").get("/review").status_code == 403
    assert looked_at.client(None, Accept="application/json").post(f"/review/{looked_at.audit}/decide").status_code == 401


def test_forms_of_other_sites_change_nothing(looked_at: Review) -> None:
    browser = Browser(looked_at, "lea")
    for form in ("decide", "decide-all", "undo", "adjudicate", "settings"):
        for token in ({}, {"csrf_token": "forged"}):
            answer = browser.client.post(f"{browser.base}/{form}", data={**token, "choice": "keep"})
            assert answer.status_code == 403
            assert "The page is out of date" in answer.text


def test_what_is_a_leads_is_not_for_reviewers(looked_at: Review) -> None:
    browser = Browser(looked_at, "ann")
    assert "Conflicts</a>" not in browser.get()
    for path in ("/conflicts", "/export", "/settings"):
        assert "this is for a lead" in browser.get(path, 403)
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/queue"))
    assert token
    for form in ("adjudicate", "settings"):
        assert browser.client.post(f"{browser.base}/{form}", data={"csrf_token": token[1]}).status_code == 403


def test_what_is_not_there_is_told(looked_at: Review) -> None:
    browser = Browser(looked_at, "ann")
    assert browser.client.get("/review/nothing-v0001-001").status_code == 404
    browser.get("/nowhere", 404)
    browser.get("/queue/1", 404)
    browser.get(f"/findings/{'0' * 32}", 404)
    browser.get("/patterns/nothing", 404)
