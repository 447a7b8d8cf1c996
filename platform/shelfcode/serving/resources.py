"""What each deployment of the endpoint asks of a cluster, and which of them a cluster has no room for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shelfcode.serving.surface_settings import FlavorServingSettings, SurfaceSettings

INGRESS, INDEX, EXTRACTOR, RETRIEVAL, IMPRESSIONS = "surfaces", "item-index", "extractor", "retrieval", "impressions"
WRITER_CPUS = 0.1
"""What a deployment reserves that only writes files now and then."""


@dataclass(frozen=True)
class DeploymentResources:
    """What one deployment asks for.

    Attributes:
        deployment: its name in Ray Serve.
        setting: where surfaces.yaml says so.
        replicas: how many are started; more may come with the load.
        cpus, gpus: of each replica.
    """

    deployment: str
    setting: str
    replicas: int
    cpus: float
    gpus: float = 0

    @property
    def per_replica(self) -> dict[str, float]:
        """As Ray names resources; without those of which nothing is asked."""
        return {name: amount for name, amount in (("CPU", self.cpus), ("GPU", self.gpus)) if amount}


def flavor_deployment(flavor: str) -> str:
    """The name of the deployment that encodes for a flavor."""
    return f"flavor-{flavor}"


def deployment_resources(settings: SurfaceSettings) -> list[DeploymentResources]:
    """What every deployment of the endpoint asks for; the application is built from this list."""
    flavors = [(name, settings.flavors.get(name, FlavorServingSettings())) for name in settings.flavor_names]
    deployments = [
        DeploymentResources(INGRESS, "ingress", settings.ingress.replicas, settings.ingress.cpus),
        DeploymentResources(INDEX, "index", settings.index.replicas, settings.index.cpus),
        *(DeploymentResources(flavor_deployment(name), f"flavors.{name}", run.replicas_min, run.cpus, run.gpus) for name, run in flavors),
    ]
    if settings.online_extraction.engine == "vllm":
        deployments.append(
            DeploymentResources(EXTRACTOR, "online_extraction", 1, settings.online_extraction.cpus, settings.online_extraction.gpus)
        )
    if settings.retriever_names:
        run = settings.retrieval
        deployments.append(DeploymentResources(RETRIEVAL, "retrieval", run.replicas_min, run.cpus, run.gpus))
    if settings.impressions.enabled:
        deployments.append(DeploymentResources(IMPRESSIONS, "impressions", 1, WRITER_CPUS))
    return deployments


def total_resources(deployments: Sequence[DeploymentResources]) -> dict[str, float]:
    """What all replicas together ask for: `{"CPU": 3.0}`, and `"GPU"` where any is asked for."""
    return {
        name: amount for name in ("CPU", "GPU") if (amount := sum(each.replicas * each.per_replica.get(name, 0.0) for each in deployments))
    }


def shortage(settings: SurfaceSettings, cluster: Mapping[str, float]) -> str | None:
    """What a cluster lacks for this endpoint, and where less can be asked for; None where it has enough.

    Args:
        cluster: all that it has, taken or not, as `ray.cluster_resources()` tells it.
    """
    deployments = deployment_resources(settings)
    lacking = [(name, asked) for name, asked in total_resources(deployments).items() if asked > cluster.get(name, 0.0)]
    if not lacking:
        return None
    sums = " and ".join(f"{asked:g} {name} and the cluster has {cluster.get(name, 0.0):g}" for name, asked in lacking)
    parts = [f"{each.setting}: {each.replicas} x {_amounts(each.per_replica)}" for each in deployments]
    return f"the endpoint asks for {sums} ({'; '.join(parts)}); ask for less in surfaces.yaml, or use a larger cluster"


def waiting_for(deployment: DeploymentResources, cluster: Mapping[str, float], free: Mapping[str, float]) -> str | None:
    """What a deployment waits for that has no replica on any node; None where there is enough for one.

    Args:
        cluster, free: all that the cluster has, and what nobody has taken of it.
    """
    lacking = [name for name, amount in deployment.per_replica.items() if amount > free.get(name, 0.0)]
    if not lacking:
        return None
    left = " and ".join(f"{free.get(name, 0.0):g} of {cluster.get(name, 0.0):g} {name}" for name in lacking)
    return (
        f"deployment {deployment.deployment} waits for {_amounts(deployment.per_replica)}; the cluster has {left} free. "
        f"Ask for less in surfaces.yaml ({deployment.setting}), or use a larger cluster"
    )


def _amounts(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())
