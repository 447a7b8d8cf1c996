"""A set has the text of every product that it speaks of, and comes back from the workspace as it was."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.embedding.relevance.hard_negatives import HardNegatives
from shelfcode.embedding.relevance.training_set import RelevanceSet, gather_set, read_set, split_queries, write_set
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.interactions.judgments import Judgments
from shelfcode.workspace import Workspace

Judged = Callable[..., Judgments]

VIEW = TextViewSettings(columns=["title", "brand"], max_characters=20)
PARTS = (3, 1, 4, 2)
"""Products of each part of the catalog."""


@pytest.fixture
def catalog(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Snapshot]:
    workspace, parts, products = Workspace(str(tmp_path_factory.mktemp("ws"))), [], iter(range(sum(PARTS)))
    for number, rows in enumerate(PARTS):
        numbers = [next(products) for _ in range(rows)]
        columns = {
            "item_id": [str(product) for product in numbers],
            "title": [f"product {product} with a long name" for product in numbers],
        }
        brands = pa.array([None if product % 2 else f"brand {product}" for product in numbers], pa.string())
        path = f"catalog/1/part-{number}.parquet"
        workspace.write_table(path, pa.table({"brand": brands, **columns}))
        parts.append(SnapshotPart(path=path, rows=rows))
    return workspace, Snapshot(
        folder="catalog/1",
        source="shop",
        fingerprint="0",
        read=10,
        rejected=0,
        rejected_folder="rejected/1",
        reasons={},
        parts=tuple(parts),
    )


LEAF_N = np.array([5, NO_LEAF, 5, 0, 1, NO_LEAF, 3, 3, 2, 2], np.int32)
ROWS = [(0, 9, "E"), (0, 0, "I"), (1, 3, "E"), (1, 9, "S"), (2, 4, "E"), (2, 8, "C")]


def hard_negatives(*pairs: tuple[int, int]) -> HardNegatives:
    return HardNegatives(np.array([query for query, _ in pairs], np.int32), np.array([product for _, product in pairs], np.int64))


def spoken_of(relevance: RelevanceSet) -> tuple[list[tuple[str, str, int, int]], list[tuple[str, str, int]]]:
    """Judgments and hard negatives with the texts, and leaves, that they stand for."""
    judged = zip(relevance.query_R, relevance.product_R, relevance.label_R, strict=True)
    mined = zip(relevance.hard_query_H, relevance.hard_product_H, strict=True)
    return (
        [
            (relevance.queries[query], relevance.texts[product], int(relevance.leaf_P[product]), int(label))
            for query, product, label in judged
        ],
        [(relevance.queries[query], relevance.texts[product], int(relevance.leaf_P[product])) for query, product in mined],
    )


@pytest.mark.parametrize("mined", [[], [(0, 5), (0, 3), (2, 9)]])
def test_every_judgment_and_hard_negative_has_the_text_and_leaf_of_its_product(
    catalog: tuple[Workspace, Snapshot], judged: Judged, mined: list[tuple[int, int]]
) -> None:
    workspace, snapshot = catalog
    relevance = gather_set(judged(ROWS), hard_negatives(*mined) if mined else None, LEAF_N, VIEW, workspace, snapshot)
    text_of = raw_texts(pa.concat_tables(workspace.read_table(part.path) for part in snapshot.parts), VIEW)
    assert text_of[0] == "product 0 with a"
    assert spoken_of(relevance) == (
        [(f"query {query}", text_of[product], int(LEAF_N[product]), "ESCI".index(label)) for query, product, label in sorted(ROWS)],
        [(f"query {query}", text_of[product], int(LEAF_N[product])) for query, product in mined],
    )
    assert len(relevance.texts) == len(relevance.leaf_P) == len({product for _, product, _ in ROWS} | {product for _, product in mined})
    dtypes = [getattr(relevance, field.name).dtype for field in fields(relevance)[2:]]
    assert dtypes == [np.int32, np.int32, np.int64, np.int8, np.int32, np.int64]


def test_a_catalog_of_which_every_product_is_judged_is_gathered_whole(catalog: tuple[Workspace, Snapshot], judged: Judged) -> None:
    relevance = gather_set(judged([(0, product, "E") for product in range(10)]), None, LEAF_N, VIEW, *catalog)
    np.testing.assert_array_equal(relevance.product_R, np.arange(10))
    np.testing.assert_array_equal(relevance.leaf_P, LEAF_N)


def by_query(judgments: Judgments) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for query, product, label in zip(judgments.query_R, judgments.product_R, judgments.label_R, strict=True):
        found.setdefault(judgments.queries[query], []).append((int(product), int(label)))
    return found


@pytest.mark.parametrize(("queries", "share", "held"), [(10, 0.1, 2), (10, 0.001, 2), (40, 0.1, 4), (40, 0.49, 20), (11, 0.499, 5)])
def test_a_share_of_the_queries_is_held_out_and_two_at_the_least(judged: Judged, queries: int, share: float, held: int) -> None:
    judgments = judged([(query, product, label) for query in range(queries) for product, label in ((query, "E"), (query + 1, "I"))])
    learning, validation = split_queries(judgments, share, 0)
    assert (len(validation.queries), len(learning.queries)) == (held, queries - held)
    assert by_query(learning) | by_query(validation) == by_query(judgments)
    assert not set(learning.queries) & set(validation.queries)
    for part in (learning, validation):
        assert part.query_R.tolist() == sorted(part.query_R.tolist())
        assert list(part.queries) == sorted(part.queries, key=judgments.queries.index), "in the order that they had"


def test_a_split_depends_on_the_seed_alone(judged: Judged) -> None:
    rows = [(query, query, "E") for query in range(30)]
    first, second = (split_queries(judged([(query, product + more, label) for query, product, label in rows]), 0.2, 0) for more in (0, 7))
    assert [part.queries for part in first] == [part.queries for part in second]
    assert len({split_queries(judged(rows), 0.2, seed)[1].queries for seed in range(5)}) == 5


SMALL = RelevanceSet(
    ("milk", "oat"), ("a", "b", "c"), np.array([1, NO_LEAF, 0], np.int32), np.array([0, 0, 1], np.int32), np.array([0, 1, 2], np.int64),
    np.array([0, 3, 0], np.int8), np.array([1], np.int32), np.array([0], np.int64),
)  # fmt: skip

ODD = ("", " ", "a\nb\tc\r\n", "nul \x00 in", "\x1f", "ünïcode 🍎", "有机燕麦奶", "\u200b\ufeff", '"quoted", \\', "e\u0301", "x" * 100_000)


@pytest.mark.parametrize(
    "relevance",
    [
        SMALL,
        replace(SMALL, hard_query_H=np.empty(0, np.int32), hard_product_H=np.empty(0, np.int64)),
        replace(SMALL, queries=ODD, texts=ODD, leaf_P=np.arange(len(ODD), dtype=np.int32)),
    ],
    ids=["plain", "no hard negatives", "odd characters"],
)
def test_a_set_comes_back_from_the_workspace_as_it_was(workspace_url: str, relevance: RelevanceSet) -> None:
    workspace = Workspace(workspace_url)
    write_set(workspace, "runs/a/learning", relevance)
    again = read_set(workspace, "runs/a/learning")
    for field in fields(relevance):
        kept, read = getattr(relevance, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(read, kept, err_msg=field.name)
        assert type(read) is type(kept)
        assert getattr(read, "dtype", None) == getattr(kept, "dtype", None)
    assert again.digest() == relevance.digest()
    assert workspace.names("runs/a/learning") == ["hard_negatives.parquet", "judgments.parquet", "products.parquet", "queries.parquet"]


def changed() -> Iterator[Any]:
    for name in ("leaf_P", "query_R", "product_R", "label_R", "hard_query_H", "hard_product_H"):
        array = getattr(SMALL, name)
        yield pytest.param({name: array + np.eye(1, len(array), dtype=array.dtype)[0]}, id=name)
        yield pytest.param({name: array[:0]}, id=f"{name}, empty")
    yield pytest.param({"queries": ("milk", "oats")}, id="a query")
    yield pytest.param({"queries": ("milk\x1foat",)}, id="two queries in one")
    yield pytest.param({"queries": ("milk",), "texts": ("oat", "a", "b", "c")}, id="a query among the texts")
    yield pytest.param({"texts": ("a", "b", "d")}, id="a text")
    yield pytest.param({"texts": ("a", "c", "b")}, id="the order of the texts")


@pytest.mark.parametrize("change", changed())
def test_the_digest_changes_with_anything_in_it(change: dict[str, Any]) -> None:
    assert replace(SMALL, **change).digest() != SMALL.digest()
    assert replace(SMALL).digest() == SMALL.digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"queries": ("milk", ""), "texts": ("a",)}, {"queries": ("milk",), "texts": ("", "a")}),
        ({"queries": ("milk\x1foat",)}, {"queries": ("milk", "oat")}),
        ({"leaf_P": np.array([1, 2], np.int32), "query_R": np.array([3], np.int32)},
         {"leaf_P": np.array([1], np.int32), "query_R": np.array([2, 3], np.int32)}),
        ({"hard_query_H": np.array([1, 0], np.int32)}, {"hard_query_H": np.array([1], np.int64)}),
    ],
    ids=["an empty text", "the separator in a text", "a number moved to the next field", "wider numbers"],
)  # fmt: skip
def test_two_sets_never_have_one_digest_because_of_where_a_field_ends(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert replace(SMALL, **one).digest() != replace(SMALL, **other).digest()
