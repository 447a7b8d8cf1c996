"""What a page is asked to show: the fields of its address, or of a form."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.request_limits import Name
from shelfcode.serving.api.requests import Product, what_is_wrong

Position = Annotated[int, Field(ge=0, le=most.POSITION)]


class PageQuery(BaseModel):
    """What a page is asked to show.

    Attributes:
        product: a product that was typed.
        item_id: that of a product of the catalog.
        part: `children` for the list of child prefixes alone, without the page around it.
    """

    model_config = ConfigDict(frozen=True)

    product: Product | None = None
    item_id: Annotated[str, Field(max_length=most.ID_CHARACTERS)] = ""
    surface: Name = ""
    flavor: Name = ""
    release: Name = ""
    prefix: Annotated[str, Field(max_length=most.PATH_CHARACTERS)] = ""
    children_from: Position = 0
    products_from: Position = 0
    part: Name = ""

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> "PageQuery":
        """Read the fields of an address or a form; unknown ones are ignored.

        Raises:
            Problem: a position in a list is not a number, a text is too long, or a product was sent and nothing was typed.
        """

        def text(name: str) -> str:
            return fields.get(name, "")

        try:
            return cls(
                product=_product(fields), item_id=text("item_id"), surface=text("surface"), flavor=text("flavor"), release=text("release"),
                prefix=text("prefix"), children_from=_number(fields, "children_from"), products_from=_number(fields, "products_from"),
                part=text("part"),
            )  # fmt: skip
        except ValidationError as error:
            raise Problem("invalid-request", what_is_wrong(error)) from error


def _product(fields: Mapping[str, str]) -> Product | None:
    texts = {name: fields[name].replace("\r\n", "\n").strip() for name in ("title", "brand", "description") if name in fields}
    if texts and not any(texts.values()):
        raise Problem("invalid-product", "nothing was typed: give at least a title")
    return Product(**{name: text or None for name, text in texts.items()}) if texts else None


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem("invalid-request", f"{name} is {text[:40]!r}; it is the number of the first row to show")
    return int(text or 0)
