"""What the shop window is asked to show. All of it is in the address, so that a window can be handed on as a link."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.request_limits import ItemId, Name, RetailerId, Value
from shelfcode.serving.api.requests import PriceRange, what_is_wrong
from shelfcode.serving.api.retrieve_requests import RetrieveRequest
from shelfcode.serving.surface_settings import LimitSettings

CART, HISTORY, EXCLUDED = 50, 200, 200
"""Products that an address may name of each kind."""
SINGLE = ("surface", "retailer_id", "find", "k", "beam_width", "temperature")

Fields = dict[str, object]


class ShopQuery(BaseModel):
    """A cart, whom it is shown to, and how the surface is asked. Numbers that are left out are those that the surface is set to.

    Attributes:
        find: words of a title, of which products like them are offered.
    """

    model_config = ConfigDict(frozen=True)

    surface: Name = ""
    retailer_id: RetailerId = ""
    cart: tuple[ItemId, ...] = ()
    history: tuple[ItemId, ...] = ()
    exclude: tuple[ItemId, ...] = ()
    find: Value = ""
    k: Annotated[int, Field(ge=1)] | None = None
    beam_width: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    price: PriceRange | None = None

    @classmethod
    def of(cls, fields: Sequence[tuple[str, str]], limits: LimitSettings) -> "ShopQuery":
        """Read the fields of an address; unknown ones are ignored.

        Args:
            fields: (name, value) of each, as they may be repeated. `history` and `exclude` may hold several item_ids, one in a line.

        Raises:
            Problem: a number is none or out of its bounds, a text is too long, or a list is.
        """
        last = {name: value.strip() for name, value in fields}
        price = {end: text for end in ("min", "max") if (text := last.get(f"price_{end}"))}
        given: Fields = {name: last[name] for name in SINGLE if last.get(name)}
        given["cart"] = tuple(dict.fromkeys(_lines(fields, "cart", CART, by_line=False)))
        given["history"], given["exclude"] = _lines(fields, "history", HISTORY), _lines(fields, "exclude", EXCLUDED)
        try:
            query = cls.model_validate({**given, "price": price or None})
        except ValidationError as error:
            raise Problem("invalid-request", what_is_wrong(error)) from error
        for name, number, limit in (("k", query.k, limits.neighbours), ("beam_width", query.beam_width, limits.beams)):
            if number is not None and number > limit:
                raise Problem("invalid-request", f"{name} is {number}; ask for {limit} or fewer", limit=limit)
        return query

    @property
    def is_full(self) -> bool:
        """Whether the cart takes no more."""
        return len(self.cart) >= CART

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for but a surface, a retailer and a cart."""
        numbers = (self.k, self.beam_width, self.temperature, self.price)
        return not (self.history or self.exclude) and all(number is None for number in numbers)

    def fields(self, **changed: object) -> Fields:
        """The fields of the address of this window, or of one that differs from it."""
        price = self.price or PriceRange.model_construct()
        numbers = {
            "k": self.k, "beam_width": self.beam_width, "temperature": self.temperature, "price_min": price.min, "price_max": price.max,
        }  # fmt: skip
        written = {name: f"{number:.12g}" for name, number in numbers.items() if number is not None}
        lists = {"cart": list(self.cart), "history": "\n".join(self.history), "exclude": "\n".join(self.exclude)}
        return {"shop": 1, "surface": self.surface, "retailer_id": self.retailer_id, **lists, **written, "find": self.find, **changed}

    def adding(self, item_id: str) -> Fields:
        """The fields of the window with one more product in the cart."""
        return self.fields(cart=list(dict.fromkeys([*self.cart, item_id])), find="")

    def without(self, item_id: str) -> Fields:
        """The fields of the window with one product less."""
        return self.fields(cart=[each for each in self.cart if each != item_id])

    def request(self, names: Sequence[str]) -> RetrieveRequest:
        """What a surface is asked for.

        Args:
            names: columns that come back with each product.
        """
        return RetrieveRequest(
            cart=list(self.cart), history=list(self.history), retailer_id=self.retailer_id or None, k=self.k, beam_width=self.beam_width,
            temperature=self.temperature, exclude=list(self.exclude), price=self.price, fields=list(names),
        )  # fmt: skip


def _lines(fields: Iterable[tuple[str, str]], wanted: str, most: int, by_line: bool = True) -> tuple[str, ...]:
    """The item_ids that fields of one name hold."""
    texts = [value for name, value in fields if name == wanted]
    item_ids = [line.strip() for text in texts for line in (text.splitlines() if by_line else [text])]
    found = tuple(filter(None, item_ids))
    if len(found) > most:
        raise Problem("invalid-request", f"{wanted} names {len(found)} products; a window takes {most} or fewer", limit=most)
    return found
