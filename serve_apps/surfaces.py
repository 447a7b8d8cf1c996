"""The application that surfaces call.

serve run serve_apps.surfaces:app workspace=WS surfaces=serve_apps/surfaces.yaml
serve deploy serve_apps/config.yaml
"""

import logging
from pathlib import Path
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from serve_apps.answering import Deployments
from serve_apps.deployments import ExtractorDeployment, FlavorDeployment, ItemIndexDeployment
from serve_apps.impressions import ImpressionsDeployment
from serve_apps.ingress import Surfaces, api
from serve_apps.retrieval import RetrievalDeployment
from shelfcode.serving.replica_settings import ReplicaSettings
from shelfcode.serving.resources import (
    EXTRACTOR,
    IMPRESSIONS,
    INDEX,
    INGRESS,
    RETRIEVAL,
    DeploymentResources,
    deployment_resources,
    flavor_deployment,
    shortage,
)
from shelfcode.serving.review.store_address import check_review_store, with_review_store
from shelfcode.serving.surface_settings import FlavorServingSettings, SurfaceSettings, load_surfaces
from shelfcode.workspace import Workspace


class Arguments(BaseModel):
    """What `serve run` takes as name=value, and config.yaml under `args`."""

    model_config = ConfigDict(extra="forbid")

    workspace: str
    surfaces: str = "serve_apps/surfaces.yaml"
    review_store: str | None = None


log = logging.getLogger("ray.serve")

SURFACES = serve.ingress(api)(Surfaces)  # not where the class stands: Serve would copy a module that is not yet whole


def app(arguments: Arguments) -> Application:
    """One ingress, one deployment per flavor, and the item index in its own.

    What the cluster lacks is only logged: it may still grow. `/v1/ready` says which deployments wait.

    Raises:
        ShelfcodeError: surfaces.yaml cannot be read, or a field of it is wrong; or the review store is a file, and there are several nodes.
    """
    path, workspace = _existing(arguments.surfaces), Workspace(arguments.workspace).url
    settings = with_review_store(load_surfaces(path), arguments.review_store, Path(path).parent)
    if ray.is_initialized():
        check_review_store(settings, sum(node["Alive"] for node in ray.nodes()))
        if lacking := shortage(settings, ray.cluster_resources()):
            log.warning("%s", lacking)
    resources = {each.deployment: each for each in deployment_resources(settings)}
    index = _deployed(ItemIndexDeployment, resources[INDEX]).bind(workspace, settings)
    flavors = {flavor: _flavor(workspace, flavor, settings, resources[flavor_deployment(flavor)]) for flavor in settings.flavor_names}
    extractor = _deployed(ExtractorDeployment, resources[EXTRACTOR]).bind(workspace, settings) if EXTRACTOR in resources else None
    retrieval = _retrieval(workspace, settings, resources[RETRIEVAL]) if RETRIEVAL in resources else None
    impressions = None
    if IMPRESSIONS in resources:
        written = settings.impressions
        impressions = _deployed(ImpressionsDeployment, resources[IMPRESSIONS]).bind(workspace, written.seconds, written.rows)
    return _deployed(SURFACES, resources[INGRESS]).bind(workspace, settings, Deployments(index, flavors, extractor, retrieval), impressions)


def _existing(surfaces: str) -> str:
    """The file that is meant: `serve deploy` builds the application in a folder of Ray's own, where a relative path leads nowhere."""
    beside = Path(__file__).parents[1] / surfaces
    return str(beside) if not Path(surfaces).exists() and beside.exists() else surfaces


def _flavor(workspace: str, flavor: str, settings: SurfaceSettings, resources: DeploymentResources) -> Application:
    serving = settings.flavors.get(flavor, FlavorServingSettings())
    return _deployed(FlavorDeployment, resources, autoscaling_config=_scaling(serving)).bind(workspace, flavor, settings)


def _retrieval(workspace: str, settings: SurfaceSettings, resources: DeploymentResources) -> Application:
    return _deployed(RetrievalDeployment, resources, autoscaling_config=_scaling(settings.retrieval)).bind(workspace, settings)


def _scaling(run: ReplicaSettings) -> AutoscalingConfig:
    return AutoscalingConfig(min_replicas=run.replicas_min, max_replicas=run.replicas_max, target_ongoing_requests=run.calls_per_replica)


def _deployed(part: type, resources: DeploymentResources, **options: Any) -> serve.Deployment:
    """A deployment that takes what comes: with Serve's default of 5 at once, clients would queue before the batches that they fill.

    Serve's own line per request is off: it holds addresses, and those hold what was asked. The ingress writes its own.
    """
    if "autoscaling_config" not in options:
        options["num_replicas"] = resources.replicas
    return serve.deployment(
        name=resources.deployment,
        max_ongoing_requests=1000,
        health_check_period_s=5,
        logging_config={"enable_access_log": False},
        ray_actor_options={"num_cpus": resources.cpus, "num_gpus": resources.gpus},
        **options,
    )(part)
