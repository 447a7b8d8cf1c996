"""The most that any part of a request may hold, whoever sends it: every text and every list has its limit here.

surfaces.yaml sets lower ones where it says so (`limits`). OpenAPI shows them, and a test walks all requests for a text or list without one.
"""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

ID_CHARACTERS = 1024
NAME_CHARACTERS = 256
VALUE_CHARACTERS = 1024
TEXT_CHARACTERS = 2**20
"""Of a title, description or brand; `limits.text_characters` is what is encoded."""
PATH_CHARACTERS = 8192
PRODUCTS = 4096
NEIGHBOURS = 10_000
BEAMS = 10_000
CONTEXT = 10_000
"""Products of a cart, and of a history; events of a session."""
STOCKED = 500_000
"""Products that one request says of what a retailer has."""
CHOSEN = 1000
"""Products that were chosen from one list."""
PAGE = 10_000
FIELDS = 32
FILTERS = 16
EXCLUDED = 10_000
ATTRIBUTE_VALUES = 64
"""Values that come with a product for one of its attributes; an extractor's own limits, which are lower, cut them."""
OWN_ATTRIBUTES = 32
POSITION = 10**9
"""Where a page may begin."""
SIGN_IN_BYTES = 4096
FORM_BYTES = 2**20
FORM_FIELDS = 20
REVIEWER_CHARACTERS = 100
KEY_CHARACTERS = 128
"""Of an idempotency key."""
NOTE_CHARACTERS = 2000
PATH_NAMES = 32
"""Names of a category path."""
CARDS = 100
"""Findings that a reviewer may hold at once."""
MARKED = 3000
"""Findings that one request says of what became of them."""
REVIEW_BYTES = 2**17
"""Of a request to the review; one decision, or the names of MARKED findings."""
ERRORS_TOLD = 20


def _number_as_text(value: object) -> object:
    """Catalogs hold whole numbers as their digits, so an id may be sent as a number."""
    return str(value) if type(value) is int else value


def _whole(text: str) -> str:
    """Refuse half of a surrogate pair: JSON can write one, but it is no character, and nothing can store it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is no character") from error
    return text


_Whole = AfterValidator(_whole)
_Id = Annotated[str, BeforeValidator(_number_as_text), Field(max_length=ID_CHARACTERS), _Whole]

ItemId = Annotated[_Id, Field(min_length=1)]
RetailerId = _Id
RoutingKey = Annotated[str, Field(max_length=ID_CHARACTERS), _Whole]
Name = Annotated[str, Field(max_length=NAME_CHARACTERS), _Whole]
Value = Annotated[str, Field(max_length=VALUE_CHARACTERS), _Whole]
Text = Annotated[str, Field(max_length=TEXT_CHARACTERS), _Whole]
CategoryPath = Annotated[list[Annotated[Value, Field(min_length=1)]], Field(min_length=1, max_length=PATH_NAMES)]
Values = Annotated[list[Value], Field(max_length=ATTRIBUTE_VALUES)]
