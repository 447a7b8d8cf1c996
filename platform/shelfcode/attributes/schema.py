"""What an extractor says of a product: four attributes, and those that a recipe adds.

Every extractor fills the same model, so a flavor need not know which one ran. The JSON schema that an LLM is held to is
made from the same limits.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, field_validator, model_validator

from shelfcode.attributes.settings import QUOTES_COLUMN, ExtraAttribute
from shelfcode.text import cut

MAX_INGREDIENTS = 8
MAX_TAGS = 8
MAX_CHARACTERS = 60
"""Of a product type, an ingredient, a format or a value of a recipe's own attribute."""
MAX_QUOTE_CHARACTERS = 80
"""Of the words of a text that say a value: about a clause."""

DIETARY_TAGS: tuple[str, ...] = (
    "vegan",
    "vegetarian",
    "gluten free",
    "dairy free",
    "lactose free",
    "nut free",
    "soy free",
    "egg free",
    "organic",
    "non-gmo",
    "kosher",
    "halal",
    "paleo",
    "keto",
    "low carb",
    "raw",
    "whole grain",
    "high protein",
    "high fiber",
    "low fat",
    "fat free",
    "low calorie",
    "low sodium",
    "sugar free",
    "no added sugar",
    "caffeine free",
    "alcohol free",
)
"""The closed list of dietary tags, in the order in which attributes give them."""

FIELDS = ("product_type", "key_ingredients", "dietary_tags", "format")
"""The four attributes that every extractor fills, in the order of the table and of an LLM's answer."""

_KNOWN_TAGS = frozenset(DIETARY_TAGS)

ExtraAttributes = Mapping[str, ExtraAttribute]
"""A recipe's own attributes, by name."""


class Quote(NamedTuple):
    """The words of a product's text that say a value of one of its attributes, as an LLM copied them."""

    attribute: str
    value: str
    quote: str


class Attributes(BaseModel):
    """The attributes of one product.

    Attributes:
        product_type: what the product is, in lower case and without brand or size: "oat milk". Empty only for a title without a word.
        key_ingredients: at most MAX_INGREDIENTS, the most telling first.
        dietary_tags: out of DIETARY_TAGS.
        format: what it comes as ("carton", "frozen", "wipes"), or "".
        own: values of the attributes that a recipe adds, by name.

    Raises:
        pydantic.ValidationError: too many ingredients, a tag outside the closed list, or a field that is none of these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product_type: str
    key_ingredients: tuple[str, ...] = Field(default=(), max_length=MAX_INGREDIENTS)
    dietary_tags: tuple[str, ...] = ()
    format: str = ""
    extra: dict[str, tuple[str, ...]] = {}

    @field_validator("dietary_tags")
    @classmethod
    def _tags_are_known(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [tag for tag in tags if tag not in _KNOWN_TAGS]
        if unknown:
            raise ValueError(f"unknown dietary tags {unknown}: expected some of {', '.join(DIETARY_TAGS)}")
        return tags

    def columns(self) -> dict[str, str | list[str]]:
        """Values by the names of the table's columns."""
        fields = self.model_dump(mode="json", exclude={"extra"})
        return fields | {name: list(values) for name, values in self.extra.items()}


def attributes_of(columns: Mapping[str, Any], extra: ExtraAttributes) -> Attributes:
    """Attributes from the table's columns, a teacher's or an older extractor's among them: cut to the limits, known tags only."""
    return Attributes(
        product_type=columns["product_type"] or "",
        key_ingredients=tuple(columns["key_ingredients"] or ())[:MAX_INGREDIENTS],
        dietary_tags=tuple(tag for value in columns["dietary_tags"] or () if (tag := _clean(value)) in _KNOWN_TAGS),
        format=columns["format"] or "",
        extra={name: tuple(columns.get(name) or ())[: attribute.limit] for name, attribute in extra.items()},
    )


def json_schema(extra: ExtraAttributes, quotes: bool = False) -> dict[str, Any]:
    """What an LLM's answer must look like; every field is required, so that a short answer is a complete one.

    Args:
        quotes: each ingredient, tag and value of an attribute that the text states is an object of `value` and `quote`.
    """
    text = {"type": "string", "maxLength": MAX_CHARACTERS}
    filled = {**text, "minLength": 1}
    said = _quoted if quotes else _plain
    properties: dict[str, Any] = {
        "product_type": filled,
        "key_ingredients": {"type": "array", "items": said(filled), "maxItems": MAX_INGREDIENTS},
        "dietary_tags": {"type": "array", "items": said({"enum": list(DIETARY_TAGS)}), "maxItems": MAX_TAGS},
        "format": text,
    }
    for name, attribute in extra.items():
        items = {"enum": attribute.values} if attribute.values else filled
        properties[name] = {"type": "array", "items": said(items) if attribute.stated else items, "maxItems": attribute.limit}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return value


def _quoted(value: dict[str, Any]) -> dict[str, Any]:
    words = {"type": "string", "minLength": 1, "maxLength": MAX_QUOTE_CHARACTERS}
    return {
        "type": "object", "properties": {"value": value, "quote": words}, "required": ["value", "quote"], "additionalProperties": False,
    }  # fmt: skip


_Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_CHARACTERS)]
_VALUES = TypeAdapter(list[_Text])


class _Answer(BaseModel):
    """An answer with or without quotes; these are set apart, so that both are read alike."""

    model_config = ConfigDict(extra="allow")

    product_type: Annotated[_Text, StringConstraints(min_length=1)]
    key_ingredients: list[_Text] = Field(max_length=MAX_INGREDIENTS)
    dietary_tags: list[_Text]
    format: _Text
    quotes: list[Quote]

    @model_validator(mode="before")
    @classmethod
    def _set_apart(cls, answer: Any) -> Any:
        if not isinstance(answer, dict):
            return answer
        quotes = [
            Quote(name, _clean(each["value"]), each["quote"])
            for name, values in answer.items()
            if isinstance(values, list)
            for each in values
            if isinstance(each, dict) and isinstance(each.get("value"), str) and isinstance(each.get("quote"), str)
        ]
        plain = {name: [_value(each) for each in values] if isinstance(values, list) else values for name, values in answer.items()}
        return {**plain, QUOTES_COLUMN: quotes}


def _value(said: Any) -> Any:
    return said["value"] if isinstance(said, dict) and isinstance(said.get("value"), str) else said


def parse_answer(text: str, extra: ExtraAttributes) -> Attributes:
    """Attributes from an LLM's answer, with quotes or without: white space and case evened out; repetitions, empty values and those outside
    a closed list left out.

    Raises:
        ValueError: not JSON (cut off, for one), a field is missing or of another kind, too long, or has too many values.
    """
    return parse_quoted_answer(text, extra)[0]


def parse_quoted_answer(text: str, extra: ExtraAttributes) -> tuple[Attributes, tuple[Quote, ...]]:
    """The same with the quotes, whose values are evened out like those of the attributes; a value that came without has none.

    Errors as those of `parse_answer`.
    """
    try:
        answer = _Answer.model_validate_json(text)
        added = answer.model_extra or {}
        missing = [name for name in extra if not isinstance(added.get(name), list)]
        if missing:
            raise ValueError(f"the answer lacks {', '.join(missing)}")
        own = {name: _VALUES.validate_python(added[name]) for name in extra}
        return clean_attributes(answer.model_dump(include=set(FIELDS)) | own, extra), tuple(answer.quotes)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ValueError(f"{where}: {problem['msg']}" if where else str(problem["msg"])) from error


def clean_attributes(columns: Mapping[str, Any], extra: ExtraAttributes) -> Attributes:
    """Attributes from anywhere, as they are stored: white space and case evened out; repetitions, empty values and those outside a closed
    list left out; what is longer or more than the limits allow, cut.
    """
    tags = set(_distinct(columns["dietary_tags"] or ()))
    return Attributes(
        product_type=cut(_clean(columns["product_type"] or ""), MAX_CHARACTERS),
        key_ingredients=_distinct(_short(columns["key_ingredients"] or ()))[:MAX_INGREDIENTS],
        dietary_tags=tuple(tag for tag in DIETARY_TAGS if tag in tags),
        format=cut(_clean(columns["format"] or ""), MAX_CHARACTERS),
        extra={name: _allowed(_short(columns.get(name) or ()), attribute) for name, attribute in extra.items()},
    )


def _short(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(cut(_clean(value), MAX_CHARACTERS) for value in values)


def _clean(text: str) -> str:
    return " ".join(text.lower().split())


def _distinct(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clean for value in values if (clean := _clean(value))))


def _allowed(values: Sequence[str], attribute: ExtraAttribute) -> tuple[str, ...]:
    known = {_clean(value) for value in attribute.values}
    return tuple(value for value in _distinct(values) if not known or value in known)[: attribute.limit]


LABELS = {"product_type": "", "key_ingredients": "ingredients: ", "dietary_tags": "dietary: ", "format": "format: "}


def attributes_text(attributes: Attributes, order: Sequence[str] = FIELDS) -> str:
    """The text view `attributes`, parts that are empty left out.

    "oat milk. ingredients: oats. dietary: vegan, gluten free. format: carton"

    Args:
        order: names of the attributes to put in, one after another.
    """
    columns = attributes.columns()
    parts = []
    for name in order:
        value = columns.get(name, "")
        if text := value if isinstance(value, str) else ", ".join(value):
            parts.append(LABELS.get(name, f"{name.replace('_', ' ')}: ") + text)
    return ". ".join(parts)
