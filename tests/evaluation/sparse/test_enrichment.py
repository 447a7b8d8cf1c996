"""What is inferred stands beside what is given, and says where it came from."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.evaluation.sparse.agreement import Agreed
from shelfcode.evaluation.sparse.enrichment import (
    enriched_products,
    enriched_text,
    enriched_texts,
    infer,
    inferred_columns,
    is_filled,
    right_values,
)
from shelfcode.evaluation.sparse.fields import Fields
from shelfcode.evaluation.sparse.settings import SparseSettings

BRAND = Agreed("Oatly", "1_2_3", 9, 0.9)
TYPE = Agreed("oat milk", "1_2_3_4", 4, 1.0)


def test_only_what_a_product_lacks_is_inferred() -> None:
    fields = Fields({"brand": ["A", "A", "A", None, "Own"], "product_type": ["t"] * 3 + [None, None]})
    codes_NL, asked_Q = np.zeros((5, 4), np.int64), np.array([3, 4])
    lacks = fields.lacking(("brand", "product_type", "format"), asked_Q)
    assert {name: each.tolist() for name, each in lacks.items()} == {"brand": [True, False], "product_type": [True, True]}
    inferred = infer(fields, codes_NL, codes_NL[asked_Q], asked_Q, lacks, (2, 2, 2, 2), SparseSettings(agreement=0.75))
    assert inferred["brand"] == [Agreed("A", "0_0_0_0", 3, 0.75), None]
    assert [each and each.value for each in inferred["product_type"]] == ["t", "t"]
    assert is_filled(inferred).tolist() == [True, True]


def test_a_given_value_is_never_replaced() -> None:
    assert enriched_text("Given", "Creamy.", {"brand": BRAND, "product_type": TYPE}, None) == ("Given", "Creamy. oat milk.")
    assert enriched_text(None, None, {"brand": BRAND}, None) == ("Oatly", None)
    assert enriched_text(None, None, {}, None) == (None, None)
    assert enriched_text(None, "Creamy.", {"product_type": TYPE}, "oat milk") == (None, "Creamy. oat milk."), "said once"
    assert enriched_text(None, None, {"format": Agreed("carton", "1", 3, 1.0)}, "Milk") == (None, "Milk. carton.")


def test_the_columns_say_release_prefix_support_and_agreement() -> None:
    table = inferred_columns({"brand": [BRAND, None], "product_type": [TYPE, None]}, "precision@v0001", 2)
    assert table["inferred_brand"].to_pylist() == ["Oatly", None]
    assert table["inferred_format"].to_pylist() == [None, None]
    sources = table["inferred_from"].to_pylist()
    assert sources[1] is None
    assert [each["field"] for each in sources[0]] == ["brand", "product_type"]
    first = {"field": "brand", "release": "precision@v0001", "prefix": "1_2_3", "support": 9, "agreement": pytest.approx(0.9)}
    assert sources[0][0] == first
    assert inferred_columns({}, "r", 0).num_rows == 0


def test_texts_and_products_to_code_again() -> None:
    none = pa.array([None, "Soft."], pa.string())
    table = pa.table({"item_id": ["a", "b"], "title": ["T", "U"], "description": none, "brand": pa.array([None, "B"], pa.string())})
    inferred = {"brand": [BRAND, None]}
    texts = enriched_texts(table, inferred, [None, "Towels"])
    assert texts.to_pylist() == [
        {"enriched_brand": "Oatly", "enriched_description": None},
        {"enriched_brand": "B", "enriched_description": "Soft. Towels."},
    ]
    again = enriched_products(table, inferred, [None, "Towels"])
    assert again["brand"].to_pylist() == ["Oatly", "B"]
    assert again["item_id"].to_pylist() == ["a filled", "b filled"]
    assert again["title"].to_pylist() == ["T", "U"]


def test_right_values_are_held_against_what_was_deleted() -> None:
    found = [BRAND, BRAND, BRAND, None]
    assert right_values(found, ["OATLY", "Other", None, "Oatly"], np.array([0, 1, 2, 3])) == [True, False]
