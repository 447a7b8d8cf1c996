"""What the ingress asks the deployments behind it, and what they answer: plain values that travel between processes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shelfcode.semantic_id import Codes
from shelfcode.serving.api.filtering import PriceBounds
from shelfcode.serving.surface_settings import COLUMNS

AttributesFrom = Literal["request", "store", "vllm", "rules"]


@dataclass(frozen=True)
class ProductInput:
    """One product to be encoded.

    Attributes:
        attributes: its columns of an attributes table; None where they are not known, and the rules are to find them.
        attributes_from: where they come from.
    """

    title: str | None
    description: str | None
    brand: str | None
    attributes: Mapping[str, Any] | None = None
    attributes_from: AttributesFrom | None = None

    @property
    def tokens(self) -> int:
        """Roughly how many tokens the text has that is embedded, without asking a tokenizer: that of the attributes where there are any."""
        texts = filter(None, (self.title, self.description, self.brand)) if self.attributes is None else _texts_of(self.attributes)
        return 8 + min(2048, sum(len(text.encode("utf-8", "replace")) + LABEL for text in texts) // BYTES_PER_TOKEN)


LABEL, BYTES_PER_TOKEN = 2, 4
"""Bytes between two texts, and bytes of a token: letters of other alphabets take more of both than English ones."""


def _texts_of(attributes: Mapping[str, Any]) -> Iterator[str]:
    for value in attributes.values():
        yield from (value,) if isinstance(value, str) else (each for each in value or () if isinstance(each, str))


@dataclass(frozen=True)
class Encoded:
    """A product's codes.

    Attributes:
        confidence: for each level, by how much the codeword was nearer than the second nearest: 0 is a tie, 1 is exactly on it.
        warnings: sparse_text, truncated, no_attributes.
        attributes_from: None where the flavor reads raw text.
    """

    codes: Codes
    confidence: tuple[float, ...]
    warnings: tuple[str, ...]
    attributes_from: AttributesFrom | None


@dataclass(frozen=True)
class Neighbours:
    """Which products are like one, in one flavor or a blend of several?

    Attributes:
        parts: (release, weight) of each flavor.
        codes: codes of the product in each release; None to take those of item_id.
        k: how many products at most; each shares at least min_level levels.
        attributes: (column, value) pairs that products must have.
        fields: columns that come back with each product.
        columns: those that the caller may see.
    """

    parts: tuple[tuple[str, float], ...]
    codes: tuple[Codes, ...] | None
    item_id: str | None
    k: int
    min_level: int
    exclude: tuple[str, ...]
    retailer_id: str | None
    attributes: tuple[tuple[str, str], ...]
    fields: tuple[str, ...]
    columns: tuple[str, ...] = COLUMNS
    price: PriceBounds | None = None

    @property
    def releases(self) -> tuple[str, ...]:
        return tuple(release for release, _ in self.parts)


@dataclass(frozen=True)
class CartNeighbours:
    """Which products are like any of a cart? Fields as in Neighbours; what the release does not have of the cart is passed over."""

    release: str
    item_ids: tuple[str, ...]
    k: int
    exclude: tuple[str, ...]
    retailer_id: str | None
    attributes: tuple[tuple[str, str], ...]
    price: PriceBounds | None
    fields: tuple[str, ...]
    columns: tuple[str, ...] = COLUMNS

    @property
    def releases(self) -> tuple[str, ...]:
        return (self.release,)


@dataclass(frozen=True)
class RetailerStock:
    """How many products does a retailer have?"""

    releases: tuple[str, ...]
    retailer_id: str


@dataclass(frozen=True)
class KnownRetailers:
    """Of which retailers is it known what they have?"""

    releases: tuple[str, ...]


@dataclass(frozen=True)
class Retrieve:
    """Which of a retailer's products come next?

    Attributes:
        parts: (retriever such as generator@v0002, the name that surfaces.yaml gives it, weight) of each that answers.
        cart, session, history: item_ids; the session is what was seen in it, in order, and the cart.
        at: seconds since 1970.
        k, beams, temperature, diversity: as `Demands` has them.
        exclude: item_ids that must not come back, besides the cart.
        fields: columns that come back with each product.
        columns: those that the caller may see.
        explain: whether the beams come back.
        until: seconds since 1970 from when on nobody waits for the answer any more.
    """

    release: str
    parts: tuple[tuple[str, str, float], ...]
    surface: str
    cart: tuple[str, ...]
    session: tuple[str, ...]
    history: tuple[str, ...]
    retailer_id: str | None
    at: int
    k: int
    beams: int
    temperature: float
    diversity: float
    exclude: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    price: PriceBounds | None
    fields: tuple[str, ...]
    columns: tuple[str, ...] = COLUMNS
    explain: bool = False
    until: float = float("inf")

    @property
    def releases(self) -> tuple[str, ...]:
        return (self.release,)

    @property
    def tokens(self) -> int:
        """Roughly how many tokens go through a model: those of the prompt, and of each beam all but the last codeword."""
        return PROMPT + min(len(self.history), PROMPT_PRODUCTS) + min(len(self.session), PROMPT_PRODUCTS) + BEAM_TOKENS * self.beams


PROMPT, PROMPT_PRODUCTS, BEAM_TOKENS = 8, 40, 3


@dataclass(frozen=True)
class StoredAttributes:
    """Which attributes does the store have of some products?"""

    release: str
    item_ids: tuple[str | None, ...]

    @property
    def releases(self) -> tuple[str, ...]:
        return (self.release,)


@dataclass(frozen=True)
class ItemPage:
    """What is known of a product, and which products share its semantic IDs? One page of them."""

    item_id: str
    releases: tuple[str, ...]
    first: int
    limit: int
    columns: tuple[str, ...] = COLUMNS

    @property
    def title(self) -> tuple[str, ...]:
        return _title(self.columns)


@dataclass(frozen=True)
class PrefixPage:
    """What lies under a prefix of a release? One page of it."""

    release: str
    prefix: str
    children_from: int
    products_from: int
    limit: int
    columns: tuple[str, ...] = COLUMNS

    @property
    def title(self) -> tuple[str, ...]:
        return _title(self.columns)

    @property
    def releases(self) -> tuple[str, ...]:
        return (self.release,)


def _title(columns: tuple[str, ...]) -> tuple[str, ...]:
    """What is told of each product of a list besides its ids."""
    return tuple(name for name in ("title",) if name in columns)


Question = Neighbours | CartNeighbours | RetailerStock | KnownRetailers | StoredAttributes | ItemPage | PrefixPage


@dataclass(frozen=True)
class NotLoaded:
    """In place of an answer: a release of the question must be loaded first, for which the others that travel with it shall not wait."""


@dataclass(frozen=True)
class Prepared:
    """A release that one deployment has loaded, or why not.

    Attributes:
        view: the text view that the flavor embeds.
        folder: where the index laid it out, on its node.
        retrievers: name of surfaces.yaml -> the version of it that answers with this release, such as generator@v0002.
        without: name -> why there is none.
    """

    release: str
    problem: str | None = None
    view: Literal["raw", "attributes"] = "raw"
    folder: str | None = None
    retrievers: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
