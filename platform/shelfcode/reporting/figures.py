"""What every part of an evaluation is: immutable figures that survive a round trip through JSON."""

from pydantic import BaseModel, ConfigDict, Field


class Figures(BaseModel):
    """Base of the parts of an evaluation. A figure that has no value is None, never NaN, and says why.

    Attributes:
        undefined: figure name -> the reason why it is None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    undefined: dict[str, str] = Field(default_factory=dict)
