"""The application as `serve deploy` starts it, with an LLM in the path of a request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from served import Endpoint, serve_deploy, serve_withdraw
from test_deployments import replica

from serve_apps.surfaces import Arguments, app
from shelfcode.errors import ShelfcodeError

SURFACES = {
    "surfaces": {"homepage": "discovery", "search": "precision"},
    "auth": "none",
    "flavors": {"precision": {"cpus": 1000}},
    "online_extraction": {
        "engine": "vllm", "seconds": 5,
        "extractor": {
            "engine": "vllm", "model": "package:shelfcode.attributes.small_extractor", "max_input_tokens": 256,
            "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        },
    },
}  # fmt: skip
OAT = {"title": "Mossy Glen Organic Oat Drink Vanilla 32 fl oz", "brand": "Mossy Glen"}


@pytest.fixture(scope="module")
def deployed(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An endpoint whose products without attributes go through a real vLLM engine, and whose other flavor asks for too much."""
    folder = tmp_path_factory.mktemp("deployed")
    yield serve_deploy(endpoint, folder, SURFACES, "deployed", ("flavor-discovery", "item-index", "extractor"))
    serve_withdraw(endpoint, folder)


def encode(endpoint: Endpoint, *products: dict[str, Any]) -> list[dict[str, Any]]:
    answer = endpoint.ask("/v1/surfaces/homepage/encode", {"products": products})
    assert answer.status == 200, answer.text
    return list(answer.json["results"])


def test_the_shipped_surfaces_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    built = app(Arguments(workspace=str(tmp_path)))
    assert built._bound_deployment.name == "surfaces"
    with pytest.raises(ShelfcodeError, match=r"nowhere\.yaml"):
        app(Arguments(workspace=str(tmp_path), surfaces="nowhere.yaml"))


def test_serve_run_hands_its_arguments_to_the_application(tmp_path: Path) -> None:
    built = call_user_app_builder_with_args_if_necessary(app, {"workspace": str(tmp_path), "surfaces": "serve_apps/surfaces.yaml"})
    assert built._bound_deployment.name == "surfaces"
    with pytest.raises(ValidationError, match="surfacs"):
        call_user_app_builder_with_args_if_necessary(app, {"workspace": str(tmp_path), "surfacs": "x"})


def test_a_deployment_that_the_cluster_has_no_room_for_is_named_and_the_others_answer(deployed: Endpoint) -> None:
    told = deployed.until("/v1/ready", lambda told: "discovery" in told["live"] and "precision" in told["problems"], seconds=120)
    assert told["ready"] is False
    assert "deployment flavor-precision waits for 1000 CPU" in told["problems"]["precision"]
    assert encode(deployed, OAT)[0]["semantic_id"]


def test_the_llm_reads_a_product_that_nobody_has_attributes_of(deployed: Endpoint) -> None:
    results = encode(
        deployed, OAT, {"item_id": deployed.shop.products["item_id"][9].as_py()}, {"attributes": {"product_type": "oat drink"}}
    )
    assert [result["attributes_from"] for result in results] == ["vllm", "store", "request"]
    assert "extraction_failed" not in results[0]["warnings"]
    assert len(results[0]["codes"]) == 4


def test_where_the_llm_does_not_answer_in_time_the_rules_do_and_say_so(deployed: Endpoint, endpoint: Endpoint) -> None:
    by_rules = encode(endpoint, OAT)[0]
    extractor = replica(deployed, "extractor", application="deployed")
    extractor.suspend()
    try:
        result = encode(deployed, OAT)[0]
    finally:
        extractor.resume()
    assert result["attributes_from"] == "rules"
    assert "extraction_failed" in result["warnings"]
    assert result["semantic_id"] == by_rules["semantic_id"]
