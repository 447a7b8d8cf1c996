"""Why a deployment cannot start: what Ray Serve and the cluster know of it."""

import time
from collections.abc import Collection
from typing import Any

import ray
from ray.serve.context import _get_global_client  # serve.status() does not say which replicas have a place on a node

from shelfcode.serving.resources import deployment_resources, shortage, waiting_for
from shelfcode.serving.surface_settings import SurfaceSettings

FAILED = ("UNHEALTHY", "DEPLOY_FAILED")
PLACED_WITHIN_SECONDS = 30
"""A replica counts as placed when its process has imported its code, which takes a busy machine a while."""


def why_blocked(settings: SurfaceSettings, application: str, deployments: Collection[str]) -> str | None:
    """Which of some deployments have failed, or wait for resources that nobody gives them; None where all run or are starting.

    Args:
        application: the name under which Ray Serve runs this endpoint.
    """
    known: dict[str, Any] = _get_global_client().get_serve_details()["applications"][application]["deployments"]
    cluster, free = ray.cluster_resources(), ray.available_resources()
    too_small = shortage(settings, cluster) is not None
    reasons: list[str | None] = []
    for needed in deployment_resources(settings):
        details = known.get(needed.deployment)
        if details is None or needed.deployment not in deployments:
            continue
        if details["status"] in FAILED:
            reasons.append(f"deployment {needed.deployment} failed: {details.get('message')}")
        elif not any(replica.get("node_id") for replica in details["replicas"]):
            now = time.time()
            waited = now - min((replica.get("start_time_s") or now for replica in details["replicas"]), default=now)
            reasons.append(waiting_for(needed, cluster, free) if too_small or waited > PLACED_WITHIN_SECONDS else None)
    return "; ".join(filter(None, reasons)) or None
