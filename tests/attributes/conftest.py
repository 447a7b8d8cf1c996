"""A student too small to be of use, and products to teach it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerFast

from shelfcode.attributes.distil.student import (
    StudentArchitecture,
    StudentRecipe,
    answer_text,
    learn_vocabulary,
    new_student,
    place_student,
)
from shelfcode.attributes.prompt import product_text
from shelfcode.attributes.rules.extractor import extract
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace

TINY = StudentArchitecture(vocabulary=1024, hidden_size=64, layers=2, heads=2, feed_forward=128)

Snap = Callable[[Workspace, Sequence[dict[str, Any]]], Snapshot]


@pytest.fixture
def snap(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Snap:
    """Takes a snapshot, in two parts, of products of which item_id and title are given and the rest may be."""

    def take(workspace: Workspace, products: Sequence[dict[str, Any]]) -> Snapshot:
        source = tmp_path_factory.mktemp("source")
        schema = pa.schema([(name, pa.string()) for name in ("item_id", "title", "brand", "description")])
        for name, part in (("a", products[: len(products) // 2]), ("b", products[len(products) // 2 :])):
            pq.write_table(pa.Table.from_pylist(list(part), schema), source / f"{name}.parquet")
        return take_snapshot(str(source), CatalogSettings(), workspace, f"read-{source.name}", lambda _: None)

    return take


@pytest.fixture(scope="session")
def tiny_recipe() -> StudentRecipe:
    return StudentRecipe(
        name="tiny", architecture=TINY, max_tokens=512, steps=400, batch_size=16, learning_rate=0.01, warmup_steps=10, weight_decay=0.0
    )


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    """Texts of 400 products of the sample catalog and what the rules find of each, as a student is taught it."""
    products = sample_chunk(0, 400, seed=5).products.to_pylist()
    return [(product_text(row["title"], None, row["brand"]), answer_text(extract(row["title"], None, row["brand"]))) for row in products]


@pytest.fixture
def short_pairs(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The 32 shortest, no two with one text."""
    return sorted(dict(pairs).items(), key=lambda pair: len(pair[0] + pair[1]))[:32]


@pytest.fixture(scope="session")
def tiny_tokenizer(pairs: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    return learn_vocabulary((text for pair in pairs for text in pair), TINY.vocabulary)


@pytest.fixture
def untaught(tmp_path: Path, tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast) -> Callable[..., str]:
    """Saves a student of its own seed, and hands out its folder."""

    def make(name: str = "student", seed: int = 0, max_tokens: int = 512) -> str:
        import torch

        torch.manual_seed(seed)
        model = new_student(tiny_recipe.model_copy(update={"max_tokens": max_tokens}), tiny_tokenizer)
        place_student(tmp_path / name, model, tiny_tokenizer)
        return str(tmp_path / name)

    return make
