"""How a surface's carts are answered: by which retriever, how wide, how bold; and how the deployments behind are run."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from shelfcode.serving.api import request_limits as most
from shelfcode.serving.replica_settings import ReplicaSettings
from shelfcode.settings import Positive, Settings

RETRIEVER = re.compile(r"[a-z][a-z0-9_-]*(@v\d{4,})?")
BLEND = "blend"
"""The name of what answers where several retrievers do."""

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RetrieveSettings(Settings):
    """How requests for a list of products are answered: by one retriever, several at once, or one of several by lot."""

    retriever: str | None = Field(None, description="name of a retriever of the workspace; generator@v0002 pins a version")
    blend: dict[str, Weight] = Field(
        {}, description="retriever: weight, for lists that several make together by their ranks; instead of retriever"
    )
    split: dict[str, Weight] = Field(
        {}, description="retriever: share of the traffic, for a trial; a user_key stays on its side; instead of retriever"
    )
    k: Annotated[int, Field(ge=1, le=most.NEIGHBOURS)] = Field(20, description="products of a list, where a request does not say")
    beams: Annotated[int, Field(ge=1, le=most.BEAMS)] | None = Field(
        None, description="of a generator: semantic IDs that are followed; null: 120, or ten more than k. Fewer are quicker, more find more"
    )
    temperature: float = Field(
        0.0, ge=0, le=100, allow_inf_nan=False, description="of a generator: above 0, semantic IDs are drawn; the higher, the more evenly"
    )
    diversity: float = Field(
        0.0, ge=0, le=100, allow_inf_nan=False,
        description="what a product loses that shares its semantic ID with one further up: 1 is a factor of e of its probability",
    )  # fmt: skip
    seconds: float = Field(
        2.0, gt=0, le=60, allow_inf_nan=False, description="time for an answer; after it, products similar to the cart are answered"
    )

    @field_validator("blend", "split")
    @classmethod
    def _names(cls, named: dict[str, float]) -> dict[str, float]:
        for name in named:
            _check_name(name)
        return named

    @model_validator(mode="after")
    def _one_way(self) -> "RetrieveSettings":
        if self.retriever is not None:
            _check_name(self.retriever)
        if sum(map(bool, (self.retriever, self.blend, self.split))) != 1:
            raise ValueError("give one of retriever, blend and split")
        return self

    @property
    def retrievers(self) -> list[str]:
        """The retrievers that are named."""
        return list(self.blend or self.split) or [str(self.retriever)]

    @property
    def sides(self) -> Mapping[str, tuple[float, Mapping[str, float]]]:
        """What may answer: name -> its share of the traffic, and the weight of each of its retrievers. Either add up to 1."""
        if self.blend:
            return {BLEND: (1.0, _shares(self.blend))}
        shares = _shares(self.split) or {str(self.retriever): 1.0}
        return {name: (share, {name: 1.0}) for name, share in shares.items()}


class RetrievalSettings(ReplicaSettings):
    """How the deployment of the retrievers runs; each replica holds all that surfaces name."""

    cpus: float = Field(1, gt=0, description="CPUs that Ray reserves per replica, and threads that compute in it")
    gpus: float = Field(0, ge=0, description="GPUs per replica; a fraction shares one")
    tokens_per_batch: Positive = Field(4096, description="tokens of prompts and beams that go through a model together")
    translate: bool = Field(
        False,
        description="where no retriever speaks the codes of a new release, go by its translation.parquet; otherwise the release waits "
        "until one was trained on it",
    )


class ImpressionSettings(Settings):
    """Whether it is written down what was shown and chosen: ids and an opaque key of the user, nothing else of a person."""

    enabled: bool = Field(False, description="write impressions/ in the workspace")
    seconds: float = Field(30, gt=0, description="time for which rows wait at the most before they are written")
    rows: Positive = Field(20_000, description="rows that wait at the most")


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _check_name(name: str) -> None:
    if not RETRIEVER.fullmatch(name):
        raise ValueError(f"retrievers are named like generator or generator@v0002, not {name[:100]!r}")
