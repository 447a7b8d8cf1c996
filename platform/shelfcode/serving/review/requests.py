"""What the review is asked over HTTP: bodies, each with its limits, and how they become questions to the desk."""

from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from shelfcode.audit.decisions.decision import Arm, Decision, Filters, State, Verdict
from shelfcode.audit.finding import Issue
from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.http_wire import read_body
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.request_limits import CategoryPath, Name, Value
from shelfcode.serving.api.requests import Body, json_value, what_is_wrong
from shelfcode.serving.surface_settings import LimitSettings

FindingId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", max_length=32)]
PatternId = Annotated[str, Field(min_length=1, max_length=most.NAME_CHARACTERS)]
IdempotencyKey = Annotated[
    str, Field(min_length=1, max_length=most.KEY_CHARACTERS, description="made up by the sender; what is sent twice under one counts once")
]
Note = Annotated[str, Field(max_length=most.NOTE_CHARACTERS)]
Share = Annotated[float, Field(ge=0, le=1)]

Asked = TypeVar("Asked", bound=BaseModel)


class FilterBody(Body):
    """Which findings; whatever is left out lets all through."""

    department: Value | None = Field(None, description="the first name of the given path")
    issue: Issue | None = None
    brand: Value | None = None
    pattern: PatternId | None = Field(None, description="a pattern_id")
    state: State | None = None
    p_min: Share | None = Field(None, description="least probability that the label is wrong")
    popularity_min: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    text: Name | None = Field(None, description="occurs in title, brand or item_id")

    def filters(self) -> Filters:
        return Filters(**self.model_dump())


class FindingsQuery(FilterBody):
    """Which findings, and which of them first."""

    first: Annotated[int, Field(ge=0, le=most.POSITION, alias="from", description="where the page begins")] = 0
    limit: Annotated[int, Field(ge=1, le=most.PAGE, description="of a page")] = 50

    def filters(self) -> Filters:
        return Filters(**self.model_dump(exclude={"first", "limit"}))


class PatternsQuery(Body):
    """Which patterns, and which of them first."""

    kind: Literal["path_pair", "brand", "prefix"] | None = None
    first: Annotated[int, Field(ge=0, le=most.POSITION, alias="from", description="where the page begins")] = 0
    limit: Annotated[int, Field(ge=1, le=most.PAGE, description="of a page")] = 50


class HistoryQuery(Body):
    """Whose events and of what, and which of them first."""

    finding_id: FindingId | None = None
    reviewer: Annotated[str, Field(max_length=most.REVIEWER_CHARACTERS)] | None = None
    first: Annotated[int, Field(ge=0, le=most.POSITION, alias="from", description="where the page begins")] = 0
    limit: Annotated[int, Field(ge=1, le=most.PAGE, description="of a page")] = 100


class ExportQuery(Body):
    """Which decisions, and in which format."""

    format: Literal["parquet", "csv"] = "parquet"
    only_agreed: bool = Field(False, description="decisions that two people stand behind")
    only_new: bool = Field(False, description="decisions that were not marked as exported")


class NextRequest(Body):
    """How many findings a reviewer wants to be handed, and which."""

    count: Annotated[int, Field(ge=1, le=most.CARDS)] = Field(1, description="findings; those that the reviewer holds already come first")
    filters: FilterBody = FilterBody()
    arm: Arm | None = Field(None, description="how they are chosen; by the audit's own settings where it is left out")


class DecisionRequest(Body):
    """What a reviewer says of one finding."""

    finding_id: FindingId
    verdict: Verdict
    path: CategoryPath | None = Field(None, description="the right path, root first: a suggested one with accept, any other with relabel")
    version: Annotated[int, Field(ge=0, le=most.POSITION)] = Field(description="of the card that was shown; 409 once there is a newer one")
    idempotency_key: IdempotencyKey
    new_path: bool = Field(False, description="with relabel: no product has this path yet, and that is meant")
    note: Note = ""
    seconds: Annotated[float, Field(ge=0, le=86_400)] | None = Field(None, description="that the reviewer took")
    arm: Arm = Field("ranked", description="that of the card")
    batch: Annotated[str, Field(max_length=most.NAME_CHARACTERS)] = Field("", description="that of the card")

    def decision(self) -> Decision:
        return Decision(**{**self.model_dump(), "path": None if self.path is None else tuple(self.path)})


class BulkRequest(Body):
    """One verdict on all open findings of a pattern."""

    pattern_id: PatternId
    verdict: Verdict
    path: CategoryPath | None = Field(None, description="as in a decision")
    idempotency_key: IdempotencyKey
    note: Note = ""


class UndoRequest(Body):
    """What to take back: the reviewer's last decision, where neither is given."""

    event_id: Annotated[int, Field(ge=0)] | None = Field(None, description="of a decision")
    bulk: Name | None = Field(None, description="of a bulk decision, which is taken back whole")

    @model_validator(mode="after")
    def _one_thing(self) -> "UndoRequest":
        if self.event_id is not None and self.bulk is not None:
            raise ValueError("give either event_id or bulk")
        return self


class SkipRequest(Body):
    """A finding that the reviewer gives back undecided."""

    finding_id: FindingId


class MarkRequest(Body):
    """What became of decisions."""

    kind: Literal["exported", "applied", "reverted"] = Field(
        description="applied: the label was set in the catalog; reverted: and taken back"
    )
    finding_ids: list[FindingId] = Field(min_length=1, max_length=most.MARKED)


class SettingsRequest(Body):
    """How an audit is reviewed; what is left out stays as it is."""

    second_review_share: Share | None = Field(None, description="share of decisions that somebody else makes, too, unseen")
    random_share: Share | None = Field(None, description="share of findings handed out by chance, from which precision is estimated")
    claim_minutes: Annotated[float, Field(gt=0, le=1440)] | None = Field(None, description="time for which a finding is one reviewer's")


async def read_request(request: Request, model: type[Asked], limits: LimitSettings) -> Asked:
    """A body as the request that it should be; no body is an empty one.

    Raises:
        Problem: too large, too slow, not JSON, or a field is wrong.
    """
    body = await read_body(request, min(most.REVIEW_BYTES, limits.body_bytes), limits.body_seconds)
    request.scope["shelfcode.bytes_in"] = len(body)
    return checked(model, json_value(body) if body else {})


def checked(model: type[Asked], value: Any) -> Asked:
    """A value as a request.

    Raises:
        Problem: a field is wrong; says which.
    """
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as error:
        raise Problem("invalid-request", what_is_wrong(error)) from error
