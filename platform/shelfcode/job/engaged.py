"""What customers take together, as a training reads it: pairs and baskets by item_id -> groups of embedded products."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.interactions.relations import RelationRows, Relations, read_relations
from shelfcode.keys import Keys, index_keys
from shelfcode.quantization.target_search.engagement import Engagement, engagement
from shelfcode.releases.release import EngagementRecord

FLAG = "--engagement"


@dataclass(frozen=True)
class CatalogEngagement:
    """Engagement of the embedded products, and what there was to read.

    Attributes:
        record: for the release's manifest.
        itself_rows: rows that pair a product with itself; they are left out.
        judgments: rows of judgments, which say what a query means and not what is taken together; they are left out.
    """

    engaged: Engagement
    record: EngagementRecord
    itself_rows: int
    judgments: int

    @property
    def remark(self) -> str:
        """One line of the job."""
        record = self.record
        parts = [f"engagement: {record.pairs:,} pairs of {record.products:,} products"]
        if record.unknown_products:
            parts.append(f"{record.unknown_products:,} products are not in the catalog")
        if self.itself_rows:
            parts.append(f"{self.itself_rows:,} rows pair a product with itself")
        if self.judgments:
            parts.append(f"{self.judgments:,} rows are judgments, which are no engagement")
        return f"{parts[0]}; {', '.join(parts[1:])}" if parts[1:] else parts[0]


def read_engagement(url: str, recipe: Recipe) -> Relations:
    """What customers take together, by keys of products.

    Raises:
        ShelfcodeError: nothing can be read there, or the recipe makes nothing of it.
    """
    quantizer = recipe.quantizer
    needed = {"quantizer.moves.sweeps": quantizer.moves.sweeps, "quantizer.engagement.weight": quantizer.engagement.weight}
    for field, value in needed.items():
        if not value:
            raise ShelfcodeError(f"{FLAG} {url}: {field} is 0, and engagement would change nothing. Set it above 0, or leave {FLAG} out")
    return read_relations(url, FLAG)


def catalog_engagement(relations: Relations, item_keys_N: Keys) -> CatalogEngagement:
    """Engagement of the products with these keys, by their positions.

    Raises:
        ShelfcodeError: no two products of the catalog are taken together.
    """
    place_of = index_keys(item_keys_N)
    rows = [each for each in relations.rows if each.kind != "judgments"]
    sources, unknown, itself = [], [np.empty(0, np.uint64)], 0
    for each in rows:
        keys_R = np.concatenate([each.owner_R, each.item_R]) if each.kind == "pairs" else each.item_R
        place_R = place_of.get(keys_R)
        sources.append((_groups(each), place_R))
        unknown.append(np.unique(keys_R[place_R < 0]))
        itself += int((each.owner_R == each.item_R).sum()) if each.kind == "pairs" else 0
    engaged = engagement(sources)
    unknown_products = len(np.unique(np.concatenate(unknown)))
    if not engaged:
        raise ShelfcodeError(
            f"{FLAG} {relations.url}: no two products of the catalog are taken together; {unknown_products:,} products are not in the "
            f"catalog, {itself:,} rows pair a product with itself. Give baskets or pairs with the catalog's item_ids, or leave {FLAG} out"
        )
    size_B = np.bincount(engaged.group_R)
    record = EngagementRecord(
        source=relations.url, pairs=int((size_B * (size_B - 1) // 2).sum()), products=len(np.unique(engaged.product_R)),
        unknown_products=unknown_products,
    )  # fmt: skip
    judgments = sum(len(each.item_R) for each in relations.rows if each.kind == "judgments")
    return CatalogEngagement(engaged, record, itself, judgments)


def _groups(rows: RelationRows) -> NDArray[np.int64]:
    """The number of each row's group: its basket, or its own for the two ends of a pair, left ends first."""
    if rows.kind == "pairs":
        return np.tile(np.arange(len(rows.item_R)), 2)
    return np.unique(rows.owner_R, return_inverse=True)[1].astype(np.int64)
