"""What a job asks of a cluster, against what it has. Plain numbers, no Ray."""

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.job.capacity import Need, Node, Stage, fewer_cpus, flavor_stages, lowered_settings
from shelfcode.recipe_file import validate_recipe


def recipe(**fields: object) -> Recipe:
    return validate_recipe({"name": "small", **fields}, "of the test")


ENGINE = {"engine": "vllm", "model": "any", "cpus_per_replica": 1}


@pytest.mark.parametrize(
    ("nodes", "lowered"),
    [
        ([Node(4)], {}),
        ([Node(3)], {}),
        ([Node(2)], {"encoder.cpus_per_actor": 1}),
        ([Node(1, number=2)], {"encoder.cpus_per_actor": 1, "training.cpus_per_worker": 1}),
        ([Node(0), Node(64, number=2**31)], {}),
    ],
)
def test_stages_ask_for_fewer_cpus_where_the_cluster_is_small(nodes: list[Node], lowered: dict[str, int]) -> None:
    """Actors of 2 CPUs and one CPU over for tasks; the largest node must hold the largest actor."""
    assert fewer_cpus(flavor_stages(recipe()), nodes) == lowered


def test_an_engine_and_an_encoder_stand_side_by_side() -> None:
    discovery = recipe(extractor=ENGINE, text_view={"kind": "attributes"})
    assert fewer_cpus(flavor_stages(discovery), [Node(4)]) == {}
    assert fewer_cpus(flavor_stages(discovery), [Node(3)]) == {"encoder.cpus_per_actor": 1}
    with pytest.raises(ShelfcodeError, match=r"embedding asks for 3 CPUs \(1 x embedding actor .* 1 x engine .* 1 for tasks\).* has 2"):
        fewer_cpus(flavor_stages(discovery), [Node(2)])


def test_one_cpu_is_not_enough_and_the_message_says_for_what() -> None:
    with pytest.raises(ShelfcodeError) as refused:
        fewer_cpus(flavor_stages(recipe()), [Node(1)])
    for part in ("embedding asks for 2 CPUs", "encoder.cpus_per_actor", "1 for tasks", "the cluster has 1", "RAY_ADDRESS"):
        assert part in str(refused.value)


def test_workers_that_need_a_gpu_each_are_counted_and_their_field_is_named() -> None:
    trained = recipe(training={"workers": 4, "use_gpu": True})
    assert fewer_cpus(flavor_stages(trained), [Node(8, gpus=1, number=4)]) == {}
    with pytest.raises(ShelfcodeError, match=r"training asks for 4 GPUs \(4 x training worker of 1, as training.use_gpu says\).* has 2"):
        fewer_cpus(flavor_stages(trained), [Node(8, gpus=2)])


def test_an_engine_over_several_gpus_may_span_nodes_and_a_share_must_fit_one() -> None:
    def stage(gpus: float) -> Stage:
        return Stage("extracting", (Need("engine", 1, 1, "extractor.cpus_per_replica", gpus, "extractor.gpus_per_replica"),))

    assert fewer_cpus([stage(2)], [Node(4, gpus=1, number=2)]) == {}
    with pytest.raises(ShelfcodeError, match=r"extractor.gpus_per_replica"):
        fewer_cpus([stage(0.5)], [Node(4)])


def test_settings_are_lowered_field_by_field() -> None:
    fields = {"name": "x", "encoder": {"cpus_per_actor": 2, "model": "m"}, "workers": 3}
    assert lowered_settings(fields, {"encoder.cpus_per_actor": 1, "workers": 2}) == {
        "name": "x", "encoder": {"cpus_per_actor": 1, "model": "m"}, "workers": 2,
    }  # fmt: skip
    assert fields["workers"] == 3
