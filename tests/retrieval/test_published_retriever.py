"""Retrievers written to a workspace and opened again, on the release they were trained on and on later ones."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, R requests, K products of a list.

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_contexts import contexts_of
from small_published import KINDS, RECIPE, a_later_release, a_retriever, contexts_by_name, loud, published, scores_by_name
from small_retriever import CPU, marks_in

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import log_of_sessions
from shelfcode.releases.release import Manifest
from shelfcode.retrieval.never_sold import NeverSoldModel, feature_count
from shelfcode.retrieval.published_retriever import (
    Kind,
    codebooks,
    load_card,
    open_retriever,
)
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.retriever import new_retriever_model
from shelfcode.retrieval.sharing import fit_sharing
from shelfcode.retrieval.shelves import open_shelves
from shelfcode.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def manifest(workspace: Workspace, publish_small: Callable[..., Manifest]) -> Manifest:
    return publish_small(workspace)


@pytest.mark.parametrize("kind", KINDS)
def test_a_retriever_that_is_opened_answers_as_it_did_before(workspace: Workspace, manifest: Manifest, kind: Kind) -> None:
    retriever = a_retriever(workspace, manifest, kind)
    card = published(workspace, retriever, kind)
    opened = open_retriever(workspace, load_card(workspace, f"{kind}@current"), CPU)
    contexts = contexts_by_name(retriever.assortment)
    before, after = (one.answer(contexts, 12) for one in (retriever, opened))
    assert after.products_RK.tolist() == before.products_RK.tolist()
    assert after.scores_RK.tolist() == before.scores_RK.tolist()
    assert (before.products_RK >= 0).all()
    assert (opened.recipe, opened.retailers, opened.surfaces) == (RECIPE, ("north", "south"), ("home", "search"))
    assert opened.sharing.weight_F.tolist() == retriever.sharing.weight_F.tolist()
    assert opened.sharing.sales.late_N.tolist() == retriever.sharing.sales.late_N.tolist()
    assert (opened.sharing.sales.at_retailer != retriever.sharing.sales.at_retailer).nnz == 0
    assert (card.label, card.figures, card.release) == (f"{kind}@v0001", {"recall@20": 0.5}, "small@v0001")
    assert load_card(workspace, kind) == load_card(workspace, f"{kind}@v0001") == card


def test_the_last_stage_is_published_too(workspace: Workspace, manifest: Manifest) -> None:
    plain = a_retriever(workspace, manifest, "cr")
    ranked = replace(plain, ranker=loud(Ranker()))
    card = published(workspace, ranked, "cr")
    contexts = contexts_by_name(plain.assortment)
    answers = [one.answer(contexts, 12).products_RK.tolist() for one in (plain, ranked, open_retriever(workspace, card, CPU))]
    assert answers[0] != answers[1] == answers[2]
    workspace.write_bytes(f"{card.folder}/ranker.safetensors", b"no weights")
    with pytest.raises(ShelfcodeError, match=r"ranker.safetensors cannot be loaded"):
        open_retriever(workspace, card, CPU)


def test_what_is_known_of_first_sales_is_published_too(workspace: Workspace, manifest: Manifest) -> None:
    plain = a_retriever(workspace, manifest, "generator")
    network = loud(Ranker(feature_count(len(plain.assortment.sizes))))
    knowing = replace(plain, never_sold=NeverSoldModel(network, log_share=3.0))
    card = published(workspace, knowing, "generator")
    contexts = contexts_by_name(plain.assortment)
    opened = open_retriever(workspace, card, CPU)
    answers = [one.answer(contexts, 12).products_RK.tolist() for one in (plain, knowing, opened)]
    assert answers[0] != answers[1] == answers[2]
    assert opened.never_sold is not None
    assert opened.never_sold.log_share == 3.0
    workspace.write_bytes(f"{card.folder}/never_sold.safetensors", b"no weights")
    with pytest.raises(ShelfcodeError, match=r"never_sold.safetensors cannot be loaded"):
        open_retriever(workspace, card, CPU)


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_release_of_the_same_quantizer_is_answered_with(
    workspace: Workspace, manifest: Manifest, publish_small: Callable[..., Manifest], kind: Kind
) -> None:
    card = published(workspace, a_retriever(workspace, manifest, kind), kind)
    later = a_later_release(workspace, manifest, publish_small, same_quantizer=True)
    scores = []
    for release in (None, later.name):
        opened = open_retriever(workspace, card, CPU, release)
        scores.append(scores_by_name(opened.answer(contexts_by_name(opened.assortment), 60, 60), opened.assortment))
        assert opened.assortment.release == (release or manifest.name)
    for before, after in zip(*scores, strict=True):
        assert "item 0" not in after
        assert ("brand new" in after) == (kind == "generator")
        if kind == "cr":
            assert after == pytest.approx({name: before[name] for name in after}, abs=1e-4)
            assert set(before) - set(after) <= {"item 0"}
        else:  # what shares an ID with a new product, or with the one that went, has another share of it
            alone = {f"item {number}" for number in range(40) if number % 16 not in (0, 4)} & set(before)
            assert len(alone) > 10
            assert {name: after[name] for name in alone} == pytest.approx({name: before[name] for name in alone}, abs=1e-4)


def test_another_quantizer_is_refused_with_what_to_do_and_products_that_are_scored_need_none(
    workspace: Workspace, manifest: Manifest, publish_small: Callable[..., Manifest]
) -> None:
    later = a_later_release(workspace, manifest, publish_small, same_quantizer=False)
    generator, scoring = (published(workspace, a_retriever(workspace, manifest, kind), kind) for kind in KINDS)
    with pytest.raises(ShelfcodeError, match=r"--release small@v0002: generator@v0001 .* small@v0001.* Train a retriever .*--translate"):
        open_retriever(workspace, generator, CPU, later.name)
    opened = open_retriever(workspace, scoring, CPU, later.name)
    assert (opened.answer(contexts_by_name(opened.assortment), 5).products_RK >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_availability_says_what_each_retailer_has(workspace: Workspace, manifest: Manifest, kind: Kind, tmp_path: Path) -> None:
    card = published(workspace, a_retriever(workspace, manifest, kind), kind)
    stocked = {"north": ["item 1", "item 7", "item 30", "item 38"], "west": ["item 3", "gone"]}
    rows = [{"item_id": item_id, "retailer_id": name} for name, item_ids in stocked.items() for item_id in item_ids]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "availability.parquet")
    opened = open_retriever(workspace, card, CPU, availability=str(tmp_path / "availability.parquet"))
    north, south, nowhere = scores_by_name(opened.answer(contexts_by_name(opened.assortment), 10, 40), opened.assortment)
    assert opened.retailers == ("north", "south", "west")  # which training never saw
    assert set(scores_by_name(opened.answer(contexts_of([[]], None, [2]), 10, 40), opened.assortment)[0]) == {"item 3"}
    assert set(north) == {"item 7", "item 30"} | ({"item 38"} if kind == "generator" else set())  # nobody bought `item 38`
    assert south == {}
    assert len(nowhere) == 10


def test_a_log_without_retailers_and_surfaces_can_be_published(workspace: Workspace, manifest: Manifest) -> None:
    whole = a_retriever(workspace, manifest, "cr")
    log = log_of_sessions([[0, 1, 2], [2, 3]], ordered=False)
    sharing = fit_sharing(log, np.ones(2, bool), whole.shelves.trie.leaf_N, seed=0)
    model = new_retriever_model("cr", RECIPE, marks_in(log), whole.assortment, codebooks(workspace, manifest))
    shelves = open_shelves(whole.shelves.trie, sharing.sales, None, CPU)
    retriever = replace(whole, model=model, sharing=sharing, shelves=shelves, retailers=(), surfaces=())
    opened = open_retriever(workspace, published(workspace, retriever, "cr"), CPU)
    contexts = contexts_of([[0], []], [[3], []])
    assert opened.answer(contexts, 5).products_RK.tolist() == retriever.answer(contexts, 5).products_RK.tolist()
    assert (opened.answer(contexts, 5).products_RK >= 0).sum(1).tolist() == [3, 4]


def test_a_name_that_is_not_there_and_a_damaged_file_are_told(workspace: Workspace, manifest: Manifest) -> None:
    card = published(workspace, a_retriever(workspace, manifest, "cr"), "cr")
    with pytest.raises(ShelfcodeError, match=r"no such retriever .*retrievers/cr@v0001"):
        load_card(workspace, "cr@v0002")
    file = f"{card.folder}/model.safetensors"
    workspace.write_bytes(file, workspace.read_bytes(file)[:-40])
    with pytest.raises(ShelfcodeError, match=r"retrievers/cr/v0001/model.safetensors cannot be loaded"):
        open_retriever(workspace, card, CPU)
