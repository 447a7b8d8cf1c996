"""Problems are told as RFC 9457 has them, and survive the way between processes."""

import pickle
import re

import pytest

from shelfcode.serving.api.problems import KINDS, Problem, ProblemDetails


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_status_a_title_and_an_address_of_its_own(kind: str) -> None:
    problem = Problem(kind, "what is wrong")
    told = ProblemDetails.model_validate(problem.body("r1", "/v1/surfaces"))
    assert 400 <= told.status == problem.status < 600
    assert told.type == f"urn:shelfcode:problem:{kind}"
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind)
    assert (told.detail, told.request_id, told.instance) == ("what is wrong", "r1", "/v1/surfaces")
    assert [title for _, title in KINDS.values()].count(told.title) == 1


def test_further_members_stand_beside_the_others() -> None:
    assert Problem("unknown-surface", "d", surfaces=["a"]).body() == {
        "type": "urn:shelfcode:problem:unknown-surface", "title": "No such surface", "status": 404, "detail": "d", "surfaces": ["a"],
    }  # fmt: skip


def test_a_problem_travels_between_processes() -> None:
    problem = Problem("too-many-products", "ü", limit=3)
    arrived = pickle.loads(pickle.dumps(problem))
    assert arrived.body("r") == problem.body("r")
    with pytest.raises(Problem, match="too-many-products"):
        raise arrived
