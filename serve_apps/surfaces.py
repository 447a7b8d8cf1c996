"""The application that surfaces call.

serve run serve_apps.surfaces:app workspace=WS surfaces=serve_apps/surfaces.yaml
serve deploy serve_apps/config.yaml
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from serve_apps.deployments import ExtractorDeployment, FlavorDeployment, ItemIndexDeployment
from serve_apps.ingress import Surfaces, api
from shelfcode.serving.surface_settings import FlavorServingSettings, SurfaceSettings, load_surfaces
from shelfcode.workspace import Workspace


class Arguments(BaseModel):
    """What `serve run` takes as name=value, and config.yaml under `args`."""

    model_config = ConfigDict(extra="forbid")

    workspace: str
    surfaces: str = "serve_apps/surfaces.yaml"


INGRESS = serve.ingress(api)(Surfaces)  # not where the class stands: Serve would copy a module that is not yet whole


def app(arguments: Arguments) -> Application:
    """One ingress, one deployment a flavor, and the item index in its own.

    Raises:
        ShelfcodeError: surfaces.yaml cannot be read, or a field of it is wrong.
    """
    settings, workspace = load_surfaces(_found(arguments.surfaces)), Workspace(arguments.workspace).url
    index = _deployed(
        ItemIndexDeployment, "item-index", num_replicas=settings.index.replicas, ray_actor_options={"num_cpus": settings.index.cpus}
    ).bind(workspace, settings)
    flavors = {flavor: _flavor(workspace, flavor, settings) for flavor in settings.flavor_names}
    extractor = None
    if settings.online_extraction.engine == "vllm":
        resources = {"num_cpus": settings.online_extraction.cpus, "num_gpus": settings.online_extraction.gpus}
        extractor = _deployed(ExtractorDeployment, "extractor", ray_actor_options=resources).bind(workspace, settings)
    return _deployed(
        INGRESS, "surfaces", num_replicas=settings.ingress.replicas, ray_actor_options={"num_cpus": settings.ingress.cpus}
    ).bind(workspace, settings, index, flavors, extractor)  # fmt: skip


def _found(surfaces: str) -> str:
    """The file that is meant: `serve deploy` builds the application in a folder of Ray's own, where a relative path leads nowhere."""
    beside = Path(__file__).parents[1] / surfaces
    return str(beside) if not Path(surfaces).exists() and beside.exists() else surfaces


def _flavor(workspace: str, flavor: str, settings: SurfaceSettings) -> Application:
    serving = settings.flavors.get(flavor, FlavorServingSettings())
    return _deployed(
        FlavorDeployment,
        f"flavor-{flavor}",
        autoscaling_config=AutoscalingConfig(
            min_replicas=serving.replicas_min, max_replicas=serving.replicas_max, target_ongoing_requests=serving.calls_per_replica
        ),
        ray_actor_options={"num_cpus": serving.cpus, "num_gpus": serving.gpus},
    ).bind(workspace, flavor, settings)


def _deployed(part: type, name: str, **options: Any) -> serve.Deployment:
    """A deployment that takes what comes: with Serve's default of 5 at once, clients would queue before the batches that they fill.

    Serve's own line a request is off: it holds addresses, and those hold what was asked. The ingress writes its own.
    """
    logging_config = {"enable_access_log": False}
    return serve.deployment(name=name, max_ongoing_requests=1000, health_check_period_s=5, logging_config=logging_config, **options)(part)
