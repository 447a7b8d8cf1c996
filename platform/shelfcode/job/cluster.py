"""The Ray that a job runs on: joined or started, and what it has room for."""

import json
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import ray
import ray.data
import ray.experimental.internal_kv

from shelfcode.errors import ShelfcodeError
from shelfcode.job.capacity import Node, Stage, fewer_cpus, lowered_settings
from shelfcode.job.screen import say, say_log
from shelfcode.recipe_file import AnySettings, validate_settings

UNBOUNDED = 2**31
"""Where an autoscaler knows no bound."""
OWN = "local"
"""What RAY_ADDRESS says for a Ray of the job's own, which is also what a job starts without it."""
SOON = "0.5"
"""Seconds between two looks of Ray Train at its workers: with its own 2 a short training seems to go on for seconds after its end."""
OF_OWN_RAY = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an actor that asks a cloud whether it takes a node back
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Set for a Ray of the job's own: each would start a process that does nothing on a single machine."""
LOGICAL_CPUS = 4
"""Of a Ray of the job's own, at the least. The number is logical: with fewer, actors take all, and Ray Data waits for ever for one."""


def start_ray(cpus: float = 0) -> None:
    """Join the Ray that RAY_ADDRESS names, as it does under `ray job submit`; otherwise start one on this machine that ends with the job.

    Args:
        cpus: that the job asks for, where it knows. A Ray of its own gets at least as many, whatever the machine has.

    Raises:
        ShelfcodeError: no Ray answers at RAY_ADDRESS.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", SOON)
    if not ray.is_initialized():
        say_log()
        address = os.environ.get("RAY_ADDRESS") or OWN
        options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": True}
        if address == OWN:
            for name, value in OF_OWN_RAY.items():
                os.environ.setdefault(name, value)
            options["num_cpus"] = max(LOGICAL_CPUS, os.cpu_count() or 1, math.ceil(cpus))
        try:
            ray.init(address=address, **options)
        except ConnectionError as error:
            raise ShelfcodeError(
                f"RAY_ADDRESS={address}: no Ray answers there, or it wants a token, as one that `ray start` made does unless told "
                "otherwise: then set RAY_AUTH_MODE=token. Without RAY_ADDRESS the job starts a Ray of its own"
            ) from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # else the error that a user can mend is lost in one of Ray's


def has_gpu() -> bool:
    """Whether the running Ray has a GPU now."""
    return ray.cluster_resources().get("GPU", 0) > 0


def fit_to_cluster(settings: AnySettings, stages: Sequence[Stage]) -> AnySettings:
    """The settings as the running Ray has room for them: with fewer CPUs per actor or worker where it must be, which is said.

    Raises:
        ShelfcodeError: there is no room even so; names what is missing and the field to change.
    """
    nodes = cluster_nodes()
    if nodes is None:
        return settings
    lowered = fewer_cpus(stages, nodes)
    for field, cpus in lowered.items():
        say(f"{field} is {cpus} here: the cluster has no room for more")
    return (
        validate_settings(type(settings), lowered_settings(settings.model_dump(), lowered), "fitted to the cluster")
        if lowered
        else settings
    )


def cluster_nodes() -> list[Node] | None:
    """The nodes that the running Ray has or, where it scales by itself, may have; None where nobody can say how far it may grow."""
    config = ray._private.state.state.get_cluster_config()
    if config is not None and config.node_group_configs:
        groups = [(group.resources, group.max_count) for group in config.node_group_configs]
        return [
            Node(_unbounded(held.get("CPU", 0)), _unbounded(held.get("GPU", 0)), number if number >= 0 else UNBOUNDED)
            for held, number in groups
        ]
    alive = [node for node in ray.nodes() if node["Alive"]]
    if any((node.get("Labels") or {}).get("ray.io/node-group") for node in alive) or _scales_by_itself():
        return None
    return [Node(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in alive]


def _unbounded(amount: float) -> float:
    return UNBOUNDED if amount < 0 else amount


def _scales_by_itself() -> bool:
    """Whether an autoscaler with node types of its own reports; one that only mirrors a fixed cluster calls each node's type node_ID."""
    report = ray.experimental.internal_kv._internal_kv_get(ray._private.ray_constants.DEBUG_AUTOSCALING_STATUS)
    types = (json.loads(report).get("autoscaler_report") or {}).get("active_nodes", {}) if report else {}
    return any(not name.startswith("node_") for name in types)
