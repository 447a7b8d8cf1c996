"""Whole catalogs: a draft is checked, evaluated and held against its parent before anybody sees it, and refused where it is damaged;
behavioural alignment of each release on its own products, of two releases on those that both code.
"""

from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.embedding.embeddings import embeddings_table
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.quality.evaluate import headline, products_read
from shelfcode.evaluation.release_files import (
    CodedCatalog,
    compare_behavioural_alignment,
    evaluate_catalog,
    measure_behavioural_alignment,
    read_evaluation,
)
from shelfcode.interactions.relations import Relations, read_relations
from shelfcode.keys import item_keys
from shelfcode.quantization.semantic_ids import read_coded_texts, semantic_ids_table
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import publish
from shelfcode.workspace import Workspace

NAMES = [f"P{number:03}" for number in range(200)]


def coded(names: list[str], first_codewords: dict[str, int]) -> CodedCatalog:
    """Products in the order of `names`; snapshot and embeddings are not looked at."""
    codes_NL = np.array([[first_codewords[name], 0] for name in names], dtype=np.uint16)
    return CodedCatalog(Workspace("nowhere"), cast(Any, None), cast(Any, None), item_keys(pa.array(names)), codes_NL)


@pytest.fixture
def relations(tmp_path: Path) -> Relations:
    """Every product with the next one but nine: their numbers end in the same digit."""
    pairs = pa.table({"item_id": NAMES[:-10], "other_item_id": NAMES[10:]})
    pq.write_table(pairs, tmp_path / "substitutes.parquet")
    return read_relations(str(tmp_path))


BY_DIGIT = {name: int(name[-1]) for name in NAMES}
BY_TENS = {name: int(name[-2]) for name in NAMES}


def test_the_order_of_the_products_does_not_matter(relations: Relations) -> None:
    forward, backward = (measure_behavioural_alignment(coded(names, BY_DIGIT), relations) for names in (NAMES, NAMES[::-1]))
    first = forward.relations[0].depths[0]
    assert first.share == 1
    assert first.lift == backward.relations[0].depths[0].lift
    assert first.lift is not None
    assert first.lift > 8
    assert (forward.products, forward.relations[0].unknown_items) == (200, 0)


def test_products_without_a_code_are_counted(relations: Relations) -> None:
    (relation,) = measure_behavioural_alignment(coded(NAMES[:150], BY_DIGIT), relations).relations
    assert (relation.pairs, relation.unknown_items, relation.unknown_rows) == (140, 50, 50)


def test_two_releases_are_compared_on_the_products_that_both_code(relations: Relations) -> None:
    a, b = coded(NAMES[:150], BY_DIGIT), coded(NAMES[:49:-1], BY_TENS)
    found = compare_behavioural_alignment(a, b, relations)
    assert (found.a.products, found.b.products) == (100, 100)
    assert [each.relations[0].pairs for each in (found.a, found.b)] == [90, 90]
    assert found.ratios[0].pairs == 90
    depth = found.ratios[0].depths[0]
    assert (depth.lift_a, depth.lift_b) == (found.a.relations[0].depths[0].lift, found.b.relations[0].depths[0].lift)
    assert found.a.relations[0].depths[0].share == 1
    assert found.b.relations[0].depths[0].share == 0


def test_a_whole_draft_gets_its_evaluation_its_texts_and_a_manifest(shelf) -> None:
    assert len(read_coded_texts(shelf.workspace, shelf.draft)) == 0
    evaluated = shelf.evaluate(model_from="small@v0007")
    manifest = evaluated.manifest
    assert (manifest.flavor, manifest.version, manifest.parent, manifest.model_from) == ("small", "", None, "small@v0007")
    assert manifest.rows.model_dump() == {"read": 243, "coded": 220, "rejected": 23}
    assert manifest.embeddings == shelf.embedded.folder
    assert manifest.churn is None
    assert manifest.metrics == headline(read_evaluation(shelf.workspace, shelf.draft))
    assert {"evaluation.json", "report.html", "coded_texts.npy", "model.safetensors"} <= set(shelf.workspace.names(shelf.draft))
    assert not shelf.workspace.exists(f"{shelf.draft}/manifest.json"), "what has a manifest is published"
    assert [len(titles) for _, titles in evaluated.prefixes] == [4] * 4
    stored = read_coded_texts(shelf.workspace, shelf.draft)
    assert stored.dtype == np.uint64
    assert stored.tolist() == sorted(shelf.embedded.keys_N.tolist()), "kept in rising order"
    assert stored.tolist() != shelf.embedded.keys_N.tolist()


def test_a_draft_is_held_against_its_parent(shelf) -> None:
    parent = publish(shelf.workspace, shelf.draft, shelf.evaluate().manifest)
    shelf.write_draft(changed=55)
    manifest = shelf.evaluate(parent).manifest
    assert manifest.parent == "small@v0001"
    assert manifest.churn["against"] == "small@v0001"
    assert manifest.churn["changed"] == pytest.approx([0.25, 0.25])
    assert "Stability" in shelf.workspace.read_bytes(f"{shelf.draft}/report.html").decode()


def test_a_damaged_draft_is_refused_before_anything_is_written(shelf) -> None:
    """The damages that are found are those of `check_semantic_ids`, in tests/releases/test_check.py."""
    shelf.workspace.remove(shelf.parts[1])
    with pytest.raises(ShelfcodeError, match="holds 110 products in 1 parts"):
        shelf.evaluate()
    assert not {"evaluation.json", "coded_texts.npy"} & set(shelf.workspace.names(shelf.draft))


def test_a_draft_of_other_products_is_refused(shelf) -> None:
    """As many as there should be, and one of them that the catalog does not have."""
    last = shelf.parts[1]
    table = shelf.workspace.read_table(last)
    names = ["nobody", *table["item_id"].to_pylist()[1:]]
    shelf.workspace.write_table(last, table.set_column(0, "item_id", pa.array(names, pa.string())))
    with pytest.raises(KeyError, match="has no semantic ID for 1 products"):
        shelf.evaluate()
    assert not shelf.workspace.exists(f"{shelf.draft}/evaluation.json")


def test_of_a_large_catalog_the_evaluation_keeps_only_the_vectors_that_it_reads(shelf, tmp_path: Path, monkeypatch: Any) -> None:
    """220 products of 12 dimensions; among 40 of them pairs are drawn, and those that share an ID are compared."""
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr("shelfcode.evaluation.release_files.products_read", partial(products_read, at_most=40))
    alone = np.arange(220) < 200
    codes_NL = np.stack([np.where(alone, np.arange(220), 255), np.zeros(220, np.int64)], axis=1)
    recipe = validate_recipe({"name": "small", "quantizer": {"codebook_sizes": [256, 2]}}, "of a test")
    catalog = CodedCatalog(shelf.workspace, shelf.snapshot, shelf.embedded, item_keys(shelf.item_ids), codes_NL.astype(np.uint16))
    evaluation = evaluate_catalog(catalog, recipe)
    assert (evaluation.products, evaluation.compared_products, evaluation.collisions.largest) == (220, 40, 20)
    (matrix,) = (tmp_path / "scratch").glob("*.npy")
    assert 40 <= len(np.load(matrix)) <= 60


@pytest.mark.parametrize("texts", [1, 2, 3])
def test_a_catalog_of_very_few_texts_gets_a_release_and_a_report_that_says_what_it_cannot_measure(shelf, texts: int) -> None:
    """All products of a text have its vector, and its code: most codewords of the first level have no products."""
    coded = len(shelf.item_ids)
    x_ND = np.eye(12, dtype=np.float32)[np.arange(coded) % texts]
    stored = shelf.workspace.read_table(f"{shelf.embedded.folder}/part-0.parquet")
    shelf.workspace.write_table(f"{shelf.embedded.folder}/part-0.parquet", embeddings_table(stored, x_ND))
    codes_NL = np.stack([np.arange(coded) % texts, np.zeros(coded, np.int64)], axis=1)
    shelf.workspace.remove(shelf.parts[1])
    shelf.workspace.write_table(shelf.parts[0], semantic_ids_table(pa.chunked_array([shelf.item_ids]), codes_NL))
    evaluated = shelf.evaluate()
    assert [len(titles) for _, titles in evaluated.prefixes] == [4] * texts
    similarity = read_evaluation(shelf.workspace, shelf.draft).similarity_depth
    if texts == 1:
        assert similarity.spearman is None
        assert "every pair shares the same depth, 2" in shelf.workspace.read_bytes(f"{shelf.draft}/report.html").decode()
    else:
        assert similarity.spearman == pytest.approx(1)
