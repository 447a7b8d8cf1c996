"""How many replicas of a deployment run."""

from pydantic import Field, model_validator

from shelfcode.settings import Positive, Settings


class ReplicaSettings(Settings):
    """Of a deployment that grows with its load."""

    replicas_min: Positive = Field(1, description="fewest replicas")
    replicas_max: Positive = Field(1, description="most replicas, as load demands them")
    calls_per_replica: Positive = Field(2, description="calls under way per replica that the deployment aims at; with more it grows")

    @model_validator(mode="after")
    def _ordered(self) -> "ReplicaSettings":
        if self.replicas_max < self.replicas_min:
            raise ValueError(f"replicas_max {self.replicas_max} is less than replicas_min {self.replicas_min}")
        return self
