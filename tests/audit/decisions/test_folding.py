"""What a finding's events come to."""

from datetime import UTC, datetime, timedelta

import pytest

from shelfcode.audit.decisions.decision import Event, Verdict
from shelfcode.audit.decisions.folding import fold

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BARS, TEA = ("Health", "Protein Bars"), ("Beverages", "Tea")


class Story:
    """A finding's events, as they happen."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, kind: str, by: str = "anna", **fields: object) -> "Story":
        number = len(self.events) + 1
        self.events.append(Event(number, "a", "f", "i", kind, by, NOW, **fields))  # type: ignore[arg-type]
        return self

    def says(self, verdict: Verdict, by: str = "anna", path: tuple[str, ...] | None = None, second: bool = False) -> "Story":
        return self.add("decision", by, verdict=verdict, path=path, wants_second=second, arm="ranked")

    def claim(self, by: str = "anna", minutes: float = 15) -> "Story":
        return self.add("claim", by, until=NOW + timedelta(minutes=minutes), arm="random", batch="b")

    @property
    def state(self) -> str:
        return fold(self.events).at(NOW)


def test_without_events_a_finding_is_open() -> None:
    standing = fold([])
    assert (standing.state, standing.version, standing.verdict, standing.reviewers) == ("open", 0, None, ())


def test_a_claim_ends_by_itself_and_by_being_given_up_or_used() -> None:
    story = Story().claim(minutes=15)
    assert story.state == "claimed"
    assert fold(story.events).at(NOW + timedelta(minutes=15)) == "open"
    assert Story().claim().add("release").state == "open"
    used = Story().claim().says("keep")
    assert (used.state, fold(used.events).claim) == ("decided", None)


def test_claims_do_not_count_as_versions() -> None:
    assert fold(Story().claim().add("release").claim().says("keep").events).version == 1


@pytest.mark.parametrize(
    ("opinions", "state"),
    [
        ([("keep", None)], "decided"),
        ([("unsure", None)], "second_review"),
        ([("unsure", None), ("accept", BARS)], "decided"),
        ([("unsure", None), ("unsure", None)], "conflict"),
        ([("accept", BARS), ("relabel", BARS)], "agreed"),
        ([("keep", None), ("code_wrong", None)], "agreed"),
        ([("accept", BARS), ("accept", TEA)], "conflict"),
        ([("accept", BARS), ("keep", None)], "conflict"),
        ([("accept", BARS), ("unsure", None)], "conflict"),
        ([("exclude", None), ("exclude", None)], "agreed"),
    ],
)
def test_opinions_come_to_a_state(opinions: list[tuple[Verdict, tuple[str, ...] | None]], state: str) -> None:
    story = Story()
    for number, (verdict, path) in enumerate(opinions):
        story.says(verdict, by=f"reviewer {number}", path=path)
    assert story.state == state


def test_a_second_opinion_is_waited_for_when_the_first_asks_for_it() -> None:
    story = Story().says("accept", path=BARS, second=True)
    assert story.state == "second_review"
    assert story.says("accept", "ben", BARS).state == "agreed"


def test_the_answer_of_a_contradiction_is_unsure_until_the_lead_settles_it() -> None:
    story = Story().says("accept", path=BARS, second=True).says("keep", "ben")
    assert (fold(story.events).verdict, fold(story.events).path) == ("unsure", None)
    settled = fold(story.add("adjudication", "lead", verdict="relabel", path=TEA).events)
    assert (settled.state, settled.verdict, settled.path, settled.arm) == ("adjudicated", "relabel", TEA, "ranked")
    assert settled.reviewers == ("anna", "ben")


def test_an_undo_takes_back_what_it_names_and_nothing_else() -> None:
    story = Story().says("accept", path=BARS, second=True).says("keep", "ben").add("undo", "ben", undoes=2)
    assert story.state == "second_review"
    assert story.add("undo", undoes=1).state == "open"
    assert fold(story.events).version == 4
    assert story.says("keep").state == "decided"


def test_marks_follow_an_answer_and_end_with_it() -> None:
    story = Story().says("accept", path=BARS).add("exported", "lead")
    assert story.state == "exported"
    assert story.add("applied", "the catalog").state == "applied"
    assert story.add("reverted", "the catalog").state == "reverted"
    assert story.add("adjudication", "lead", verdict="keep").state == "adjudicated", "older marks are about another answer"
    assert Story().add("exported").state == "open", "nothing was answered that could be exported"


def test_a_text_or_label_that_changed_makes_everything_stale() -> None:
    assert Story().claim().add("stale", "the catalog").state == "stale"
    assert Story().says("keep").add("stale", "the catalog").state == "stale"


def test_how_a_finding_came_to_its_first_reviewer_is_remembered() -> None:
    bulk = Story().add("decision", verdict="accept", path=BARS, arm="ranked", bulk="x")
    assert fold(bulk.events).arm == "bulk"
    assert fold(Story().add("carried", verdict="keep", arm="random").events).arm == "carried"
