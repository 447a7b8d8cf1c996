"""What is told of every product when nothing particular is asked for, written beforehand as the JSON that is sent."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from shelfcode.index.code_index import CodeIndex
from shelfcode.index.item_store import ItemStore
from shelfcode.semantic_id import SEPARATOR

COLUMNS = ("title",)
"""Columns that are on a card, after item_id and semantic_id."""
CARDS_AT_A_TIME = 65_536


@dataclass(frozen=True)
class Cards:
    """A card for each place.

    Attributes:
        first_N: where each begins in texts, and the end.
        texts: JSON objects without their closing brace, so that more can be added.
    """

    first_N: NDArray[np.int64]
    texts: NDArray[np.uint8]

    def card(self, place: int) -> bytes:
        """The beginning of a product's JSON object."""
        first, end = self.first_N[place : place + 2].tolist()
        return self.texts[first:end].tobytes()


def build_cards(codes: CodeIndex, items: ItemStore) -> Cards:
    """Write the cards of all places."""
    lengths, texts = [np.zeros(1, np.int64)], [b""]
    for first in range(0, len(codes), CARDS_AT_A_TIME):
        written = list(_written(codes, items, np.arange(first, min(len(codes), first + CARDS_AT_A_TIME))))
        lengths.append(np.array([len(each) for each in written], np.int64))
        texts.append(b"".join(written))
    return Cards(np.cumsum(np.concatenate(lengths)), np.frombuffer(b"".join(texts), np.uint8))


def _written(codes: CodeIndex, items: ItemStore, place_P: NDArray[np.int64]) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    codes_PL = codes.codes_LB[:, codes.buckets_of(place_P)].T.tolist()
    for row, product_codes in zip(codes.row_N[place_P].tolist(), codes_PL, strict=True):
        semantic_id = SEPARATOR.join(map(str, product_codes))
        yield encode({"item_id": items.value(row, "item_id"), "semantic_id": semantic_id, **items.values(row, COLUMNS)})[:-1]
