"""A small retriever that nothing was trained for, published: its weights are random, and everything else is as it should be."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse

from shelfcode.releases.release import Manifest
from shelfcode.retrieval.assortment import open_assortment
from shelfcode.retrieval.cooccurrence import nothing_counted
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.published_retriever import Kind, RetrieverCard, codebooks, publish_retriever, write_retriever
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever, new_retriever_model, trie_of
from shelfcode.retrieval.sharing import BY_SALES, Sales, SharingModel
from shelfcode.retrieval.shelves import open_shelves
from shelfcode.workspace import Workspace

RECIPE = RetrieverRecipe.model_validate({
    "interactions": {"ordered": False}, "model": {"width": 8, "layers": 1, "heads": 1, "hidden": 8}, "training": {"seed": 3},
})  # fmt: skip


def publish_untrained(
    workspace: Workspace, manifest: Manifest, sold: dict[str, Sequence[str]], kind: Kind = "generator", name: str = "generator"
) -> RetrieverCard:
    """Publish a retriever of baskets.

    Args:
        sold: what each retailer sold, once each; what nobody sold is new everywhere.
    """
    assortment = open_assortment(workspace, manifest)
    retailers, marks = tuple(sold), Marks(len(sold), 1)
    at_retailer = np.zeros((len(sold), len(assortment)), np.float32)
    for number, item_ids in enumerate(sold.values()):
        at_retailer[number, [assortment.item_ids.to_pylist().index(item_id) for item_id in item_ids]] = 1
    sharing = SharingModel(BY_SALES, Sales(at_retailer.sum(axis=0), at_retailer.sum(axis=0), sparse.csr_array(at_retailer)))
    trie, device = trie_of(assortment), torch.device("cpu")
    shelves = open_shelves(trie, sharing.sales, None, device)
    model = new_retriever_model(kind, RECIPE, marks, assortment, codebooks(workspace, manifest))
    draft = f"runs/{name}/draft"
    nothing = nothing_counted(len(assortment))
    write_retriever(workspace, draft, Retriever(RECIPE, model, sharing, assortment, retailers, ("home",), shelves, nothing))
    card = RetrieverCard(
        name=name, retriever=kind, release=manifest.name, recipe=RECIPE.model_dump(mode="json"),
        interactions={}, training={}, parameters={}, figures={},
    )  # fmt: skip
    return publish_retriever(workspace, draft, card)
