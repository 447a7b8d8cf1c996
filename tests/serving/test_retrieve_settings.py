import math
from typing import Any

import pytest
from pydantic import ValidationError

from shelfcode.serving.resources import deployment_resources, total_resources
from shelfcode.serving.retrieve_settings import RetrieveSettings
from shelfcode.serving.surface_settings import SurfaceSettings, written_out


def settings(**more: Any) -> SurfaceSettings:
    return SurfaceSettings.model_validate({"surfaces": {"search": "precision", "home": "precision"}, "auth": "none", **more})


def test_one_retriever_a_blend_or_a_split_answers() -> None:
    assert RetrieveSettings(retriever="generator").sides == {"generator": (1.0, {"generator": 1.0})}
    assert RetrieveSettings(blend={"generator": 3, "cr": 1}).sides == {"blend": (1.0, {"generator": 0.75, "cr": 0.25})}
    split = RetrieveSettings(split={"generator": 9, "generator@v0004": 1})
    assert split.sides == {"generator": (0.9, {"generator": 1.0}), "generator@v0004": (0.1, {"generator@v0004": 1.0})}
    assert split.retrievers == ["generator", "generator@v0004"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "one of retriever, blend and split"),
        ({"retriever": "generator", "split": {"cr": 1}}, "one of retriever, blend and split"),
        ({"retriever": "Generator"}, "named like generator"),
        ({"blend": {"generator@3": 1}}, "named like generator"),
        ({"blend": {"generator": math.nan}}, "finite"),
        ({"split": {"generator": math.inf}}, "finite"),
        ({"split": {"generator": 0}}, "greater than 0"),
        ({"retriever": "generator", "beams": 0}, "greater than or equal to 1"),
        ({"retriever": "generator", "beams": 100_000}, "less than or equal to 10000"),
        ({"retriever": "generator", "temperature": math.nan}, "finite"),
        ({"retriever": "generator", "temperature": -1}, "greater than or equal to 0"),
        ({"retriever": "generator", "diversity": math.inf}, "finite"),
        ({"retriever": "generator", "seconds": 0}, "greater than 0"),
        ({"retriever": "generator", "width": 3}, "not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RetrieveSettings.model_validate(given)


def test_surfaces_that_do_not_say_are_answered_as_all_are() -> None:
    some = settings(surfaces={"search": {"flavor": "precision", "retrieve": {"retriever": "cr"}}, "home": "precision"})
    ways = {name: some.retrieve_of(route) for name, route in some.routes()}
    assert ways["search"] == RetrieveSettings(retriever="cr")
    assert ways["home"] is None
    both = some.model_copy(update={"retrieve": RetrieveSettings(blend={"generator": 1, "cr": 1})})
    assert both.retrieve_of(written_out("precision")) == both.retrieve
    assert both.retriever_names == ["cr", "generator"]


def test_retrievers_have_a_deployment_where_a_surface_names_one_and_impressions_where_they_are_turned_on() -> None:
    assert {each.deployment for each in deployment_resources(settings())} == {"surfaces", "item-index", "flavor-precision"}
    more = settings(
        retrieve={"retriever": "generator"}, retrieval={"replicas_min": 2, "cpus": 2, "replicas_max": 3}, impressions={"enabled": True}
    )
    found = {each.deployment: each for each in deployment_resources(more)}
    assert (found["retrieval"].replicas, found["retrieval"].cpus) == (2, 2)
    assert total_resources(list(found.values()))["CPU"] == pytest.approx(0.5 + 0.5 + 1 + 4 + 0.1)


def test_a_deployment_cannot_have_fewer_replicas_at_the_most_than_at_the_least() -> None:
    with pytest.raises(ValidationError, match="replicas_max 1 is less"):
        settings(retrieval={"replicas_min": 2})
