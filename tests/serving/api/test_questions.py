"""What travels between processes arrives as it was sent."""

import pickle
from typing import Any

import pytest

from shelfcode.serving.api.questions import Encoded, ItemPage, Neighbours, PrefixPage, Prepared, ProductInput, StoredAttributes

PARTS = (("discovery@v0001", 0.7), ("precision@v0002", 0.3))


@pytest.mark.parametrize(
    "value",
    [
        ProductInput("Süß", None, "b", {"product_type": "x"}, "store"), Encoded((1, 2), (0.5, 1.0), ("truncated",), None),
        Prepared("a@v0001", "damaged"),
        Neighbours(PARTS, None, "a", 5, 1, ("b",), "7", (("brand", "c"),), ("title",)), StoredAttributes("a@v0001", ("a", None)),
        ItemPage("a", ("a@v0001",), 0, 5), PrefixPage("a@v0001", "1_2", 0, 0, 5),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_sent_arrives(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


def test_every_question_names_the_releases_that_it_asks() -> None:
    questions = [
        Neighbours(PARTS, None, "a", 5, 1, (), None, (), ()), ItemPage("a", ("a@v0001", "b@v0001"), 0, 5), StoredAttributes("a@v0001", ()),
        PrefixPage("a@v0001", "", 0, 0, 5),
    ]  # fmt: skip
    assert [question.releases for question in questions] == [
        ("discovery@v0001", "precision@v0002"), ("a@v0001", "b@v0001"), ("a@v0001",), ("a@v0001",),
    ]  # fmt: skip


def test_tokens_grow_with_the_text_to_a_bound_and_are_never_none() -> None:
    sizes = [ProductInput("x" * length, "y" * length, None).tokens for length in (0, 10, 100, 1000, 10**6)]
    assert sizes == sorted(sizes)
    assert ProductInput(None, None, None).tokens > 0
    assert sizes[-1] == ProductInput("x" * 10**7, None, None).tokens < 4096


def test_tokens_are_those_of_the_text_that_is_embedded() -> None:
    given = {"product_type": "x" * 400, "key_ingredients": ["y" * 400] * 8, "dietary_tags": [], "format": None, "occasion": ["z" * 400]}
    assert ProductInput("a", None, None, given).tokens >= 4000 // 4
    assert ProductInput("a" * 10_000, "b" * 10_000, None, {"product_type": "x"}).tokens < 20
    assert ProductInput("燕麦" * 200, None, None).tokens >= 300
