"""Whether a cluster has room for what a job will ask of it: plain arithmetic, done before any work.

Ray waits without a word for resources that never come. So a job first adds up what each of its stages holds at the same time, asks for
fewer CPUs where a stage can do with fewer, and stops where it cannot. Tasks of Ray Data need one whole CPU beyond all actors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe

ADVICE = "Ask for less, or use a larger cluster; without RAY_ADDRESS a job starts a Ray of its own, of 4 CPUs or more"


@dataclass(frozen=True)
class Node:
    """What one node has, and how many such nodes there are or may come."""

    cpus: float
    gpus: float = 0
    number: int = 1


@dataclass(frozen=True)
class Need:
    """What some equal actors or tasks ask for.

    Attributes:
        what: their name for a reader.
        number: how many there are at the least.
        cpus, gpus: of each.
        field: of the settings, that says how many CPUs each takes; they can do with fewer.
        gpu_field: that says how many GPUs each takes.
    """

    what: str
    number: int
    cpus: float
    field: str
    gpus: float = 0
    gpu_field: str = ""


@dataclass(frozen=True)
class Stage:
    """What a job holds at the same time.

    Attributes:
        spare: CPUs that must be left for tasks.
    """

    name: str
    needs: tuple[Need, ...]
    spare: float = 0


def fewer_cpus(stages: Sequence[Stage], nodes: Sequence[Node]) -> dict[str, int]:
    """The fields that must be lowered for all stages to fit on a cluster: name -> CPUs. Empty where all fits as it is.

    Raises:
        ShelfcodeError: a stage does not fit even so; says what is missing, and which field to change.
    """
    lowered: dict[str, int] = {}
    for stage in stages:
        needs = tuple(replace(need, cpus=min(need.cpus, lowered.get(need.field, need.cpus))) for need in stage.needs)
        _check_gpus(replace(stage, needs=needs), nodes)
        while (problem := _too_many_cpus(replace(stage, needs=needs), nodes)) is not None:
            largest = max(needs, key=lambda need: need.cpus)
            if largest.cpus <= 1:
                raise ShelfcodeError(problem)
            lowered[largest.field] = int(largest.cpus) - 1
            needs = tuple(replace(need, cpus=lowered.get(need.field, need.cpus)) for need in needs)
    return lowered


def _too_many_cpus(stage: Stage, nodes: Sequence[Node]) -> str | None:
    total, largest_node = sum(node.number * node.cpus for node in nodes), max((node.cpus for node in nodes), default=0)
    asked = sum(need.number * need.cpus for need in stage.needs) + stage.spare
    for need in stage.needs:
        if need.cpus > largest_node:
            return f"{stage.name}: {_named(need)} asks for {need.cpus:g} CPUs, and the largest node has {largest_node:g}. {ADVICE}"
    if asked <= total:
        return None
    parts = [f"{need.number} x {_named(need)} of {need.cpus:g}" for need in stage.needs] + (
        [f"{stage.spare:g} for tasks"] if stage.spare else []
    )
    return f"{stage.name} asks for {asked:g} CPUs ({', '.join(parts)}), and the cluster has {total:g}. {ADVICE}"


def _check_gpus(stage: Stage, nodes: Sequence[Node]) -> None:
    total, largest_node = sum(node.number * node.gpus for node in nodes), max((node.gpus for node in nodes), default=0)
    asked = sum(need.number * need.gpus for need in stage.needs)
    wanting = [need for need in stage.needs if need.gpus]
    alone = [need for need in wanting if min(need.gpus, 1) > largest_node]  # an engine over several GPUs may span nodes
    if asked > total or alone:
        parts = ", ".join(f"{need.number} x {need.what} of {need.gpus:g}, as {need.gpu_field} says" for need in alone or wanting)
        raise ShelfcodeError(
            f"{stage.name} asks for {asked:g} GPUs ({parts}), and the cluster has {total:g}. "
            f"Set {wanting[0].gpu_field}, or --set hardware=cpu for a flavor, or use a cluster with GPUs"
        )


def _named(need: Need) -> str:
    return f"{need.what} ({need.field})"


def lowered_settings(fields: Mapping[str, Any], lowered: Mapping[str, int]) -> dict[str, Any]:
    """Settings as nested fields, with some fields replaced: {"encoder": {"cpus_per_actor": 2}} and {"encoder.cpus_per_actor": 1}."""
    changed = dict(fields)
    for name, cpus in lowered.items():
        part, _, rest = name.partition(".")
        changed[part] = lowered_settings(changed[part], {rest: cpus}) if rest else cpus
    return changed


def embedding_stage(recipe: Recipe) -> Stage:
    """Embedding actors, and the engines of an extractor that feeds them."""
    needs = [encoder_need(recipe.encoder, max(1, recipe.encoder.actors_min))]
    if recipe.text_view.kind == "attributes" and recipe.extractor.engine == "vllm":
        needs.append(extractor_need(recipe.extractor))
    return Stage("embedding", tuple(needs), spare=1)


def extraction_stage(extractor: ExtractorSettings) -> Stage:
    """The engines of an extractor alone; the rules need tasks only."""
    return Stage("extracting attributes", (extractor_need(extractor),) if extractor.engine == "vllm" else (), spare=1)


def coding_stage(recipe: Recipe) -> Stage:
    """The quantizer, one actor at the least, which takes one CPU and as much of a GPU as the encoder's."""
    need = Need("quantizing actor", 1, 1, "encoder.cpus_per_actor", recipe.encoder.gpus_per_actor, "encoder.gpus_per_actor")
    return Stage("encoding", (need,), spare=1)


def training_stage(workers: int, cpus: int, use_gpu: bool, prefix: str = "training.") -> Stage:
    """Workers of a training; Ray Train's own controller takes no CPU."""
    return Stage("training", (Need("training worker", workers, cpus, f"{prefix}cpus_per_worker", int(use_gpu), f"{prefix}use_gpu"),))


def encoder_need(encoder: EncoderSettings, number: int = 1) -> Need:
    """Actors or tasks that hold an encoder."""
    return Need(
        "embedding actor", number, encoder.cpus_per_actor, "encoder.cpus_per_actor", encoder.gpus_per_actor, "encoder.gpus_per_actor"
    )


def extractor_need(extractor: ExtractorSettings) -> Need:
    """Engines of an extractor."""
    cpus, gpus = extractor.cpus_per_replica, extractor.gpus_per_replica
    return Need("engine", extractor.replicas_min, cpus, "extractor.cpus_per_replica", gpus, "extractor.gpus_per_replica")


def coding_stages(recipe: Recipe) -> list[Stage]:
    """Of a job that codes a catalog with a release."""
    return [embedding_stage(recipe), coding_stage(recipe)]


def flavor_stages(recipe: Recipe) -> list[Stage]:
    """Of a job that trains a flavor."""
    training = recipe.training
    return [*coding_stages(recipe), training_stage(training.workers, training.cpus_per_worker, training.use_gpu)]
