"""Settings of answering contexts in bulk."""

from typing import Annotated

from pydantic import Field

from shelfcode.settings import RUNS, Positive, Settings


class AnsweringSettings(Settings):
    """What is asked for with every context, and how the work is done."""

    k: Positive = Field(20, description="products of a list")
    beams: Positive | None = Field(None, description="of a generator: semantic IDs that are followed; null: 60, or ten more than k")
    temperature: float = Field(0.0, ge=0, description="of a generator: above 0, semantic IDs are drawn; the higher, the more evenly")
    seed: int = Field(0, ge=0, description="of the draws")
    rows_per_part: Positive = Field(1000, description="contexts that an actor answers at a time; each of its files holds as many lists")
    cpus_per_actor: Positive = Field(1, description="CPU cores, and torch threads, of an actor", json_schema_extra=RUNS)
    gpus_per_actor: Annotated[float, Field(ge=0)] = Field(0.0, description="GPUs of an actor, or a fraction of one", json_schema_extra=RUNS)
    actors_max: Positive = Field(4, description="actors at the most; each holds the retriever", json_schema_extra=RUNS)
    restarts_per_actor: int = Field(3, ge=0, description="times that an actor that died is started again", json_schema_extra=RUNS)
