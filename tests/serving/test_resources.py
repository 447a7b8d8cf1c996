"""What the endpoint asks of a cluster is what its application asks for, and a cluster that is too small is told what it lacks."""

from typing import Any

import pytest

from serve_apps.surfaces import Arguments, app
from shelfcode.serving.resources import deployment_resources, shortage, total_resources, waiting_for
from shelfcode.serving.surface_settings import SurfaceSettings, load_surfaces

SURFACES = {"search": "precision", "inspiration": {"blend": {"precision": 1, "discovery": 1}}}
LARGE = {
    "flavors": {"precision": {"replicas_min": 2, "replicas_max": 4, "cpus": 3, "gpus": 0.25}},
    "online_extraction": {"engine": "vllm", "cpus": 2, "gpus": 1},
    "index": {"replicas": 2},
}


def settings(**more: Any) -> SurfaceSettings:
    return SurfaceSettings.model_validate({"surfaces": SURFACES, "auth": "none", **more})


def test_every_deployment_counts_with_the_replicas_that_are_started() -> None:
    asked = {each.deployment: (each.replicas, each.cpus, each.gpus) for each in deployment_resources(settings(**LARGE))}
    assert asked == {
        "surfaces": (1, 0.5, 0), "item-index": (2, 0.5, 0), "flavor-precision": (2, 3, 0.25), "flavor-discovery": (1, 1, 0),
        "extractor": (1, 2, 1),
    }  # fmt: skip
    assert total_resources(deployment_resources(settings(**LARGE))) == {"CPU": 10.5, "GPU": 1.5}
    assert total_resources(deployment_resources(settings())) == {"CPU": 3.0}


def test_the_application_asks_for_just_that(tmp_path: Any) -> None:
    shipped = app(Arguments(workspace=str(tmp_path)))
    built = [shipped._bound_deployment, *(part._bound_deployment for part in _parts(shipped))]
    asked = {each.deployment: each for each in deployment_resources(load_surfaces("serve_apps/surfaces.yaml"))}
    assert {part.name for part in built} == set(asked)
    for part in built:
        assert part.ray_actor_options["num_cpus"] == asked[part.name].cpus
        assert part.ray_actor_options.get("num_gpus", 0) == asked[part.name].gpus


def _parts(application: Any) -> list[Any]:
    _, _, deployments, impressions = application._bound_deployment.init_args
    assert deployments.extractor is None
    assert impressions is None
    return [deployments.index, *deployments.flavors.values(), deployments.retrieval]


def test_a_cluster_that_has_enough_lacks_nothing() -> None:
    assert shortage(settings(), {"CPU": 3.0}) is None


@pytest.mark.parametrize(
    ("more", "cluster", "words"),
    [
        ({}, {"CPU": 2.0}, ["3 CPU and the cluster has 2", "flavors.discovery: 1 x 1 CPU", "surfaces.yaml"]),
        (LARGE, {"CPU": 64.0}, ["1.5 GPU and the cluster has 0", "online_extraction: 1 x 2 CPU and 1 GPU"]),
        (LARGE, {"CPU": 8.0, "GPU": 1.0}, ["10.5 CPU and the cluster has 8", "1.5 GPU and the cluster has 1"]),
    ],
)
def test_a_cluster_that_is_too_small_is_told_what_it_lacks(more: dict[str, Any], cluster: dict[str, float], words: list[str]) -> None:
    told = shortage(settings(**more), cluster)
    assert told is not None
    assert all(word in told for word in words), told


def test_what_waits_is_told_with_what_is_free() -> None:
    discovery = deployment_resources(settings())[-1]
    told = waiting_for(discovery, {"CPU": 2.0}, {"CPU": 0.5})
    assert told is not None
    assert told.startswith("deployment flavor-discovery waits for 1 CPU; the cluster has 0.5 of 2 CPU free")
    assert "flavors.discovery" in told
    assert waiting_for(discovery, {"CPU": 2.0}, {"CPU": 1.0}) is None
