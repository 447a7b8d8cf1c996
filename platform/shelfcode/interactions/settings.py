"""Settings of how interactions are read."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from shelfcode.settings import RUNS, Positive, Settings

InteractionColumn = Literal["session_id", "user_id", "retailer_id", "surface", "event", "at", "item_ids", "item_id"]

INTERACTION_COLUMNS: tuple[InteractionColumn, ...] = get_args(InteractionColumn)


class InteractionSettings(Settings):
    """How a log's columns map to those of interactions, and what of it counts."""

    columns: dict[InteractionColumn, str] = Field({}, description="column of interactions: the log's name for it, where the two differ")
    ordered: bool = Field(
        True, description="whether the order of a session's products means something; false for baskets, in which a product counts once"
    )
    events: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="the kinds of events that are learnt from, as the column `event` names them, such as [cart, order]; null: all"
    )
    unknown_products_max: float = Field(
        0.1, ge=0, le=1, json_schema_extra=RUNS, description="largest share of the events that may be of products which the catalog lacks"
    )
    events_per_user_max: Positive = Field(
        100_000, description="of a user with more events, such as a crawler or one id that all guests share, the latest count"
    )

    @field_validator("columns")
    @classmethod
    def _names_as_they_are_read(cls, columns: dict[InteractionColumn, str]) -> dict[InteractionColumn, str]:
        stripped = {column: name.strip() for column, name in columns.items()}  # as the names of a source are read
        if "item_ids" in stripped and "item_id" in stripped:
            raise ValueError("name the column of item_ids (a list a row) or that of item_id (a row an event), not both")
        return stripped
