"""A retriever as arrays that a node's processes map, and as the same retriever again, which answers from those arrays without copying them.

Everything that grows with the catalog or the log is among them, and so are the weights, so that opening what is laid out reads nothing
else of the workspace and counts nothing anew. What is small is told beside them.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, L levels, V nodes of a level, P their parents, K codewords.

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from shelfcode.retrieval.assortment import Assortment
from shelfcode.retrieval.cooccurrence import Cooccurrence
from shelfcode.retrieval.decoder.trie import CodeTrie, LevelTensors, TrieLevel, TrieTensors
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.existing import Followers
from shelfcode.retrieval.fitting import RetrieverModel
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.never_sold import Neighbourhoods, NeverSoldModel, feature_count
from shelfcode.retrieval.product_vectors import product_vectors
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever
from shelfcode.retrieval.scoring_model import ScoringModel
from shelfcode.retrieval.sharing import Sales, SharingModel
from shelfcode.retrieval.shelves import RetailerShelves

Arrays = dict[str, NDArray[Any]]
Told = Mapping[str, Any]

SALES = ("all_N", "late_N")
TRIE = ("codes_IL", "path_IL", "leaf_N", "first_I", "product_N")
FOLLOWERS = ("prefix_P", "first_P", "code_V")


def laid_out(retriever: Retriever) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a retriever on the CPU that answers with what each retailer sold, and what is to be known of them, as JSON has it."""
    sharing, trie = retriever.sharing, retriever.shelves.trie
    arrays, told = _laid_out_trie(trie, retriever.shelves.tensors)
    arrays |= _laid_out_assortment(retriever.assortment) | _laid_out_sales(sharing.sales) | {"sharing_F": sharing.weight_F}
    arrays |= {"neighbour_NK": retriever.together.neighbour_NK, "cosine_NK": retriever.together.cosine_NK}
    arrays |= _weights("model", retriever.model)
    told |= {
        "release": retriever.assortment.release, "retailers": retriever.retailers, "surfaces": retriever.surfaces,
        "ranker": retriever.ranker is not None, "log_share": None,
    }  # fmt: skip
    if isinstance(retriever.model, Generator):
        told["followers"] = [[each.most, each.size] for each in retriever.model.followers]
        for level, each in enumerate(retriever.model.followers):
            arrays |= {f"followers_{level}_{name}": getattr(each, name).numpy() for name in FOLLOWERS}
    if retriever.ranker:
        arrays |= _weights("ranker", retriever.ranker)
    if retriever.never_sold:
        around = retriever.neighbourhoods
        told["log_share"] = retriever.never_sold.log_share
        arrays |= _weights("never_sold", retriever.never_sold.network) | {"waiting_U": around.waiting_U, "waiting_first_V": around.first_V}
        arrays |= {f"prefixes_{level}": prefix_VF for level, prefix_VF in enumerate(around.prefix_LVF)}
    return arrays, told


def mapped(recipe: RetrieverRecipe, arrays: Arrays, told: Told, device: torch.device) -> Retriever:
    """The retriever that `laid_out` took apart.

    Args:
        arrays: mapped privately (`map_layout(..., "c")`), so that they count as writable: torch takes no others without a warning, and
            knows no tensors that cannot be written. Nothing writes them.
        device: where the model is to compute. What it needs is copied there, unless that is the CPU.

    Raises:
        KeyError: an array is missing.
    """
    retailers, surfaces = tuple(told["retailers"]), tuple(told["surfaces"])
    assortment, sales, trie = _assortment(arrays, told), _sales(arrays), _trie(arrays, told)
    model = _model(recipe, Marks(len(retailers), len(surfaces)), arrays, told, device)
    ranker = never_sold = around = None
    if told["ranker"]:
        ranker = _with_weights("ranker", Ranker(), arrays)
    if told["log_share"] is not None:
        network = Ranker(feature_count(len(trie.sizes)))
        never_sold = NeverSoldModel(_with_weights("never_sold", network, arrays), told["log_share"])
        prefix_LVF = tuple(arrays[f"prefixes_{level}"] for level in range(len(trie.sizes)))
        vectors = product_vectors(model, assortment.codes_NL)
        around = Neighbourhoods(trie, sales, prefix_LVF, arrays["waiting_U"], arrays["waiting_first_V"], vectors)
    return Retriever(
        recipe, model, SharingModel(arrays["sharing_F"], sales), assortment, retailers, surfaces,
        RetailerShelves(trie, _trie_tensors(trie, arrays, device), sales, None),
        Cooccurrence(arrays["neighbour_NK"], arrays["cosine_NK"]), ranker, never_sold, around,
    )  # fmt: skip


def _laid_out_assortment(assortment: Assortment) -> Arrays:
    """Texts as Arrow keeps them: all bytes after each other, and where each begins and ends."""
    item_ids = assortment.item_ids
    _, offsets, texts = item_ids.buffers()
    offset_N = np.frombuffer(offsets, np.int32)[item_ids.offset : item_ids.offset + len(item_ids) + 1]
    return {
        "keys_N": assortment.keys_N, "codes_NL": assortment.codes_NL,
        "item_offset_N": offset_N, "item_texts": np.frombuffer(texts, np.uint8),
    }  # fmt: skip


def _assortment(arrays: Arrays, told: Told) -> Assortment:
    texts = (pa.py_buffer(arrays[name]) for name in ("item_offset_N", "item_texts"))
    item_ids = pa.StringArray.from_buffers(len(arrays["keys_N"]), *texts)
    return Assortment(told["release"], item_ids, arrays["keys_N"], arrays["codes_NL"], tuple(told["sizes"]))


def _laid_out_sales(sales: Sales) -> Arrays:
    here = sales.at_retailer
    return {name: getattr(sales, name) for name in SALES} | {"sales": here.data, "sold": here.indices, "sold_first": here.indptr}


def _sales(arrays: Arrays) -> Sales:
    shape = (len(arrays["sold_first"]) - 1, len(arrays["all_N"]))
    at_retailer = sparse.csr_array((arrays["sales"], arrays["sold"], arrays["sold_first"]), shape=shape)
    at_retailer.has_sorted_indices = True  # as they were when they were written; looking would read all of them
    return Sales(arrays["all_N"], arrays["late_N"], at_retailer)


def _laid_out_trie(trie: CodeTrie, tensors: TrieTensors) -> tuple[Arrays, dict[str, Any]]:
    """The trie both as numpy has it and as a search has it; a dense level has neither."""
    arrays = {f"trie_{name}": getattr(trie, name) for name in TRIE}
    for depth, (level, searched) in enumerate(zip(trie.levels, tensors.levels, strict=True)):
        if level.first_P is not None and level.code_V is not None and searched.range_P2 is not None and searched.code_V is not None:
            arrays |= {f"level_{depth}_first_P": level.first_P, f"level_{depth}_code_V": level.code_V}
            arrays |= {f"searched_{depth}_range_P2": searched.range_P2.numpy(), f"searched_{depth}_code_V": searched.code_V.numpy()}
    return arrays, {"sizes": trie.sizes, "levels": [[level.size, level.nodes, level.branching] for level in trie.levels]}


def _trie(arrays: Arrays, told: Told) -> CodeTrie:
    levels = [
        TrieLevel(size, nodes, branching, arrays.get(f"level_{depth}_first_P"), arrays.get(f"level_{depth}_code_V"))
        for depth, (size, nodes, branching) in enumerate(told["levels"])
    ]
    return CodeTrie(tuple(told["sizes"]), tuple(levels), **{name: arrays[f"trie_{name}"] for name in TRIE})


def _trie_tensors(trie: CodeTrie, arrays: Arrays, device: torch.device) -> TrieTensors:
    levels, parents = [], 1
    for depth, level in enumerate(trie.levels):
        found = [arrays.get(f"searched_{depth}_{name}") for name in ("range_P2", "code_V")]
        range_P2, code_V = (None if each is None else torch.from_numpy(each).to(device) for each in found)
        levels.append(LevelTensors(parents, level.nodes, level.branching, range_P2, code_V, torch.arange(level.branching, device=device)))
        parents = level.nodes
    return TrieTensors(tuple(levels))


def _model(recipe: RetrieverRecipe, marks: Marks, arrays: Arrays, told: Told, device: torch.device) -> RetrieverModel:
    """A model around mapped weights. It is made without any first, as small as can be where the catalog decides how large it is."""
    weights = _weights_of("model", arrays)
    model: RetrieverModel
    if "followers" in told:
        codebooks = [torch.zeros_like(weights[f"codeword.{level}.codebook_KE"]) for level in range(len(told["sizes"]))]
        model = Generator(recipe, marks, codebooks)
    else:
        model = ScoringModel(recipe, marks, products=1).with_products(weights["product.weight"], weights["bias"])
    model.load_state_dict(weights, assign=True)
    model = model.to(device).eval()
    if isinstance(model, Generator):
        model.with_codes(arrays["codes_NL"], _followers(arrays, told)).fix_tables()
    return model


def _followers(arrays: Arrays, told: Told) -> list[Followers]:
    levels = []
    for level, (most, size) in enumerate(told["followers"]):
        prefix_P, first_P, code_V = (torch.from_numpy(arrays[f"followers_{level}_{name}"]) for name in FOLLOWERS)
        levels.append(Followers(prefix_P, first_P, code_V, most, size))
    return levels


def _weights(part: str, module: nn.Module) -> Arrays:
    return {f"{part}.{name}": weight.detach().numpy() for name, weight in module.state_dict().items()}


def _weights_of(part: str, arrays: Arrays) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): torch.from_numpy(array) for name, array in arrays.items() if name.startswith(f"{part}.")}


def _with_weights(part: str, network: Ranker, arrays: Arrays) -> Ranker:
    network.load_state_dict(_weights_of(part, arrays), assign=True)
    return network.eval()
