"""Rich products cut down to few sentences: what a sparse product would have been, had anybody written more.

Each rich product gives a ladder of versions, from the title alone to its first sentences. Real sparse products also lack a brand, or have
a short title; so a part of the ladders stands on less than the whole title and brand.
"""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.keys import item_keys

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")
COLUMNS = ("item_id", "title", "description", "brand")


@dataclass(frozen=True)
class Ladders:
    """V versions of rich products, those of one product one after another, each with one sentence more than the one before.

    Attributes:
        products: item_id (of the version), title, description, brand.
        product_V: int64, position of the product in the table that was cut.
        sentences_V: int64, sentences of the description that a version keeps.
    """

    products: pa.Table
    product_V: NDArray[np.int64]
    sentences_V: NDArray[np.int64]

    @property
    def steps(self) -> NDArray[np.int64]:
        """Versions that are followed by one of the same product: int64[S], positions among the versions."""
        return np.flatnonzero(self.product_V[1:] == self.product_V[:-1])


def split_sentences(text: str | None) -> list[str]:
    """The sentences of a text; a line is one even without a full stop."""
    return [sentence for part in _SENTENCE_END.split(text or "") if any(map(str.isalnum, sentence := part.strip()))]


def count_words(text: str | None) -> int:
    """Words of a text; in a script without spaces each character of Chinese or Japanese counts as one."""
    return len(_WORD.findall(text or ""))


def rich_products(products: pa.Table, settings: SparseSettings) -> NDArray[np.int64]:
    """Positions of rich products, at most `settings.rich_products`, drawn by the hash of their item_id: int64[R], rising."""
    rich = [at for at, text in enumerate(products["description"].to_pylist()) if len(split_sentences(text)) >= settings.rich_sentences]
    rich_R = np.array(rich, np.int64)
    drawn_R = item_keys(products["item_id"].take(pa.array(rich_R))) ^ np.uint64(settings.seed)
    return np.sort(rich_R[np.argsort(drawn_R, kind="stable")[: settings.rich_products]])


def cut_ladders(products: pa.Table, rich_R: NDArray[np.int64], settings: SparseSettings) -> Ladders:
    """The ladders of some rich products.

    Half of them keep title and brand, a quarter lose the brand, and a quarter also the second half of the title, as their number says.
    """
    rows, product, kept = [], [], []
    for number, (at, row) in enumerate(
        zip(rich_R.tolist(), products.select(list(COLUMNS)).take(pa.array(rich_R)).to_pylist(), strict=True)
    ):
        title = half_title(row["title"]) if number % 4 == 3 else row["title"]
        brand = None if number % 4 >= 2 else row["brand"]
        sentences = split_sentences(row["description"])[: settings.most_sentences]
        for count in range(len(sentences) + 1):
            name = f"{row['item_id']} cut to {count}"
            rows.append({"item_id": name, "title": title, "description": " ".join(sentences[:count]) or None, "brand": brand})
            product.append(at)
            kept.append(count)
    table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in COLUMNS]))
    return Ladders(table, np.array(product, np.int64), np.array(kept, np.int64))


def half_title(title: str) -> str:
    """The first half of a title's words, one at the least."""
    words = title.split()
    return " ".join(words[: max(1, (len(words) + 1) // 2)]) or title


def titles_alone(products: pa.Table) -> pa.Table:
    """Products of which nothing but the title is left."""
    none = pa.nulls(len(products), pa.string())
    names = pa.array([f"{item_id} cut to its title" for item_id in products["item_id"].to_pylist()], pa.string())
    return pa.table({"item_id": names, "title": products["title"], "description": none, "brand": none})
