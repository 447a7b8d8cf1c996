"""Small retrievers that a workspace keeps, with weights that were not trained, and releases for them to answer with."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, R requests, K products of a list.

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from small_contexts import contexts_of
from small_log import small_recipe
from small_retriever import CPU, marks_in

from shelfcode.evaluation.stability.translation import prefix_translation
from shelfcode.index.translation_table import TRANSLATION_FILE
from shelfcode.interactions.session_log import log_of_sessions
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.releases.release import Manifest
from shelfcode.retrieval.assortment import Assortment, open_assortment
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.cooccurrence import nothing_counted
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.published_retriever import Kind, RetrieverCard, codebooks, publish_retriever, write_retriever
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.retriever import Retriever, new_retriever_model, trie_of
from shelfcode.retrieval.sharing import fit_sharing
from shelfcode.retrieval.shelves import open_shelves
from shelfcode.workspace import Workspace

KINDS: list[Kind] = ["generator", "cr"]
RECIPE = small_recipe()
SOLD = 36
"""Of 40 products; north sells the first half and south the second."""


def a_retriever(workspace: Workspace, manifest: Manifest, kind: Kind) -> Retriever:
    """With weights that were not trained, and sales and sharing that were learnt."""
    random, assortment, half = np.random.default_rng(0), open_assortment(workspace, manifest), SOLD // 2
    place_N = assortment.places(pa.array([f"item {number}" for number in range(40)]))
    products = [place_N[half * (number % 2) + random.choice(half, 5, replace=False)].tolist() for number in range(80)]
    retailers, surfaces = ["north", "south"] * 40, ["home", "search"] * 40
    log = log_of_sessions(products, [str(number // 4) for number in range(80)], retailers, surfaces=surfaces, ordered=False)
    model = new_retriever_model(kind, RECIPE, marks_in(log), assortment, codebooks(workspace, manifest)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    trie = trie_of(assortment)
    sharing = fit_sharing(log, np.ones(log.sessions, bool), trie.leaf_N, seed=0)
    shelves = open_shelves(trie, sharing.sales, None, CPU)
    return Retriever(RECIPE, model, sharing, assortment, log.retailers, log.surfaces, shelves, nothing_counted(len(assortment)))


def published(workspace: Workspace, retriever: Retriever, kind: Kind) -> RetrieverCard:
    write_retriever(workspace, f"runs/{kind}/draft", retriever)
    card = RetrieverCard(
        name=kind, retriever=kind, release=retriever.assortment.release, recipe=RECIPE.model_dump(mode="json"), interactions={},
        training={}, parameters={}, figures={"recall@20": 0.5},
    )  # fmt: skip
    return publish_retriever(workspace, f"runs/{kind}/draft", card)


def contexts_by_name(assortment: Assortment) -> Contexts:
    """The same requests in the places of any assortment."""

    def places(*names: str) -> list[int]:
        return assortment.places(pa.array(names, pa.string())).tolist()

    histories = [places("item 3", "item 3", "item 5"), [], places("item 30")]
    return contexts_of([places("item 1", "item 2"), [], places("item 20")], histories, [0, 1, -1], [0, -1, 1], [1_700_000_000, 0, 0])


def scores_by_name(lists: Lists, assortment: Assortment) -> list[dict[str, float]]:
    names = assortment.item_ids.to_pylist()
    rows = zip(lists.products_RK.tolist(), lists.scores_RK.tolist(), strict=True)
    return [{names[product]: score for product, score in zip(*row, strict=True) if product >= 0} for row in rows]


def a_later_release(workspace: Workspace, before: Manifest, publish_small: Callable[..., Manifest], same_quantizer: bool) -> Manifest:
    """It lacks `item 0`, and has a product more, with the code that `item 4` has; the others stand in another order."""
    later = publish_small(workspace)
    number_N = np.arange(39, 0, -1)
    item_ids = pa.chunked_array([["brand new", *(f"item {number}" for number in number_N)]], pa.string())
    codes_NL = np.concatenate([[[4, 4]], np.stack([number_N % 8, number_N % 16], axis=1)])
    workspace.remove(f"{later.folder}/semantic_ids")
    workspace.write_table(f"{later.folder}/semantic_ids/part-000000.parquet", semantic_ids_table(item_ids, codes_NL))
    if same_quantizer:
        later = later.model_copy(update={"model_from": before.name})
    workspace.write_json(f"{later.folder}/manifest.json", later.model_dump(mode="json"))
    return later


def loud(ranker: Ranker) -> Ranker:
    """With weights that change every order."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in ranker.parameters():
            weight.copy_(torch.randn_like(weight))
    return ranker.eval()


def two_releases(workspace: Workspace, publish_small: Callable[..., Manifest]) -> tuple[Manifest, Manifest]:
    """In the second, codes are turned by one codeword each; it lacks `item 0`, and has three products that the first does not have."""
    old, new = publish_small(workspace), publish_small(workspace)
    number_N = np.arange(1, 40)
    before_NL = np.stack([number_N % 8, number_N % 16], axis=1)
    now_NL = (before_NL + 1) % np.array([8, 16])
    item_ids = pa.chunked_array([[*(f"item {number}" for number in number_N), "whole", "in part", "lost"]], pa.string())
    codes_NL = np.concatenate([now_NL, [[6, 14], [6, 0], [7, 15]]])
    kept_N = codes_NL[:, 0] != 7  # so that no common product has it
    kept_N[-1] = True
    workspace.remove(f"{new.folder}/semantic_ids")
    table = semantic_ids_table(item_ids.filter(pa.array(kept_N)), codes_NL[kept_N])
    workspace.write_table(f"{new.folder}/semantic_ids/part-000000.parquet", table)
    new = new.model_copy(update={"churn": {"against": old.name}})
    workspace.write_json(f"{new.folder}/manifest.json", new.model_dump(mode="json"))
    kept_B = kept_N[: len(number_N)]
    workspace.write_table(f"{new.folder}/{TRANSLATION_FILE}", prefix_translation(before_NL[kept_B], now_NL[kept_B]))
    return old, new
