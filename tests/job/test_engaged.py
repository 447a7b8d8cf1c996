"""What --engagement makes of pairs and baskets, and what it says of rows that cannot be used."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.job.engaged import CatalogEngagement, catalog_engagement, read_engagement
from shelfcode.keys import item_keys

CATALOG = item_keys(pa.array([f"p{product}" for product in range(5)]))
RECIPE = Recipe.model_validate({"name": "small"})


def read(folder: Path, **tables: list[dict[str, str]]) -> CatalogEngagement:
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return catalog_engagement(read_engagement(str(folder), RECIPE), CATALOG)


def pair(left: str, right: str) -> dict[str, str]:
    return {"item_id": left, "other_item_id": right}


def test_pairs_and_baskets_become_groups_and_judgments_are_left_out(tmp_path: Path) -> None:
    baskets = [{"order_id": order, "item_id": item} for order, item in (("1", "p0"), ("1", "p1"), ("1", "p4"), ("2", "p3"), ("1", "p1"))]
    judgments = [{"query": "q", "item_id": "p2", "label": "E"}]
    found = read(tmp_path, baskets=baskets, bought=[pair("p2", "p3"), pair("p3", "p2")], judged=judgments)
    members = [found.engaged.product_R[found.engaged.group_R == group].tolist() for group in range(3)]
    assert sorted(members) == [[0, 1, 4], [2, 3], [2, 3]]
    assert (found.record.pairs, found.record.products, found.record.unknown_products, found.judgments) == (5, 5, 0, 1)
    assert found.remark == "engagement: 5 pairs of 5 products; 1 rows are judgments, which are no engagement"


def test_unknown_products_and_pairs_of_one_product_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, bought=[pair("p0", "p1"), pair("p0", "gone"), pair("gone", "p2"), pair("lost", "p2"), pair("p3", "p3")])
    assert found.remark == "engagement: 1 pairs of 2 products; 2 products are not in the catalog, 1 rows pair a product with itself"
    np.testing.assert_array_equal(found.engaged.product_R, [0, 1])


def test_nothing_usable_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ShelfcodeError, match=r"--engagement .*no two products.*2 products are not in the catalog, 1 rows pair.*leave --eng"
    ):
        read(tmp_path, bought=[pair("gone", "p0"), pair("lost", "gone"), pair("p1", "p1")])


def test_what_is_not_there_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"--engagement .* does not exist"):
        read_engagement(str(tmp_path / "nothing.parquet"), RECIPE)


@pytest.mark.parametrize("field", ["quantizer.moves.sweeps", "quantizer.engagement.weight"])
def test_a_recipe_that_makes_nothing_of_it_is_refused(tmp_path: Path, field: str) -> None:
    _, section, name = field.split(".")
    recipe = Recipe.model_validate({"name": "small", "quantizer": {section: {name: 0}}})
    with pytest.raises(ShelfcodeError, match=f"{field} is 0"):
        read_engagement(str(tmp_path), recipe)
