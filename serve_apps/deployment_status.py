"""Why a deployment cannot be asked: what Ray Serve and the cluster know of it."""

import ray
from ray import serve

from shelfcode.serving.resources import INGRESS, deployment_resources, waiting_for
from shelfcode.serving.surface_settings import SurfaceSettings

FAILED = ("UNHEALTHY", "DEPLOY_FAILED")


def why_unavailable(settings: SurfaceSettings, application: str) -> str:
    """The deployments behind the ingress that have no running replica, each with what it waits for.

    Args:
        application: the name under which Ray Serve runs this endpoint.
    """
    deployments = serve.status().applications[application].deployments
    cluster, free = ray.cluster_resources(), ray.available_resources()
    reasons = []
    for needed in deployment_resources(settings):
        if needed.deployment == INGRESS or needed.deployment not in deployments:
            continue
        status = deployments[needed.deployment]
        if status.replica_states.get("RUNNING", 0):
            continue
        failed = status.status in FAILED and status.message
        reasons.append(f"deployment {needed.deployment} failed: {status.message}" if failed else waiting_for(needed, cluster, free))
    return "; ".join(reasons) or "a deployment did not answer in time; it is asked again"
