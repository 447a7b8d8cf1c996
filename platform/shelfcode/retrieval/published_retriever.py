"""Retrievers that a workspace keeps: retrievers/<name>/<version>, pinned to the release whose codes they speak.

manifest.json                    the card; last
model.safetensors
ranker.safetensors               of the last stage, where there is one
never_sold.safetensors           of a generator: which products that nobody bought yet are bought first, where there is one
vocabulary/products.parquet      item_id, sales, late_sales: what was sold in training, and of late
vocabulary/retailers.parquet     retailer_id, item_id, sales
vocabulary/cooccurrence.safetensors  what is bought with what; with the last stage
vocabulary/vocabulary.json       retailers and surfaces in the order of their numbers, codewords a level, weights of the sharing model
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products.

from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from scipy import sparse
from torch import Tensor, nn

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import read_availability
from shelfcode.keys import index_keys, item_keys
from shelfcode.model_source import WORKSPACE
from shelfcode.published_model import ModelCard, ModelKind, publish_model, published_folder
from shelfcode.quantization.model_file import load_model
from shelfcode.recipe_file import validate_recipe, validate_settings
from shelfcode.releases.release import Manifest, load_manifest
from shelfcode.retrieval.assortment import Assortment, open_assortment
from shelfcode.retrieval.cooccurrence import Cooccurrence, nothing_counted
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.never_sold import NeverSoldModel, feature_count
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever, new_retriever_model, trie_of
from shelfcode.retrieval.sharing import Sales, SharingModel
from shelfcode.retrieval.shelves import open_shelves
from shelfcode.retrieval.translated import translated_assortment
from shelfcode.workspace import Workspace

MODEL_FILE, RANKER_FILE, VOCABULARY = "model.safetensors", "ranker.safetensors", "vocabulary"
NEVER_SOLD_FILE, TOGETHER_FILE = "never_sold.safetensors", "cooccurrence.safetensors"
LOG_SHARE = "log_share"
Kind = Literal["generator", "cr"]

RETRIEVERS = ModelKind("retrievers", "--retriever", "retriever", "jobs/train_retriever.py")


class RetrieverCard(ModelCard):
    """What a published retriever says of itself: its manifest.json.

    Attributes:
        retriever: which kind of model it is.
        release: whose codes, or whose products, it was trained on.
        recipe: of the training.
        interactions: where they were read from, and their counts.
        training: seconds, steps, the step that was kept, and the validation figure at each evaluation.
        parameters: number of weights, in all and in tables of products or codewords.
        figures: of the kept weights on the validation cases.
    """

    kind: ClassVar[ModelKind] = RETRIEVERS

    retriever: Kind
    release: str
    recipe: dict[str, Any]
    interactions: dict[str, Any]
    training: dict[str, Any]
    parameters: dict[str, int]
    figures: dict[str, float]

    @property
    def label(self) -> str:
        """As flags name it."""
        return f"{self.name}@{self.version}"


def load_card(workspace: Workspace, name: str) -> RetrieverCard:
    """The card of `generator@v0001`, `generator@current` or `generator`.

    Raises:
        ShelfcodeError: there is no such retriever; lists those there are.
    """
    folder = published_folder(RETRIEVERS, f"{WORKSPACE}{RETRIEVERS.folder}/{name}", workspace)
    return RetrieverCard.model_validate(workspace.read_json(f"{folder}/manifest.json"))


def write_retriever(workspace: Workspace, draft: str, retriever: Retriever) -> None:
    """The files of a retriever, but for its card."""
    sales, item_ids = retriever.sharing.sales, retriever.assortment.item_ids
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in retriever.model.state_dict().items()}
    workspace.write_bytes(f"{draft}/{MODEL_FILE}", save(weights))
    if retriever.ranker:
        workspace.write_bytes(f"{draft}/{RANKER_FILE}", save(dict(retriever.ranker.state_dict())))
        neighbours, cosines = torch.from_numpy(retriever.together.neighbour_NK), torch.from_numpy(retriever.together.cosine_NK).half()
        workspace.write_bytes(f"{draft}/{VOCABULARY}/{TOGETHER_FILE}", save({"neighbour": neighbours, "cosine": cosines}))
    if retriever.never_sold:
        log_share = torch.tensor(retriever.never_sold.log_share, dtype=torch.float64)
        workspace.write_bytes(f"{draft}/{NEVER_SOLD_FILE}", save({**retriever.never_sold.network.state_dict(), LOG_SHARE: log_share}))
    products = pa.table({"item_id": item_ids, "sales": sales.all_N, "late_sales": sales.late_N})
    workspace.write_table(f"{draft}/{VOCABULARY}/products.parquet", products)
    sold = sparse.coo_array(sales.at_retailer)
    names = pa.array(retriever.retailers, pa.string()) if retriever.retailers else pa.array([""], pa.string())
    retailers = pa.table({
        "retailer_id": names.take(pa.array(sold.coords[0])), "item_id": item_ids.take(pa.array(sold.coords[1])), "sales": sold.data,
    })  # fmt: skip
    workspace.write_table(f"{draft}/{VOCABULARY}/retailers.parquet", retailers)
    vocabulary = {
        "retailers": retriever.retailers, "surfaces": retriever.surfaces, "codebook_sizes": retriever.assortment.sizes,
        "sharing": [float(weight) for weight in retriever.sharing.weight_F],
    }  # fmt: skip
    workspace.write_json(f"{draft}/{VOCABULARY}/vocabulary.json", vocabulary)


def publish_retriever(workspace: Workspace, draft: str, card: RetrieverCard) -> RetrieverCard:
    """Move a draft that `write_retriever` wrote to the next free version and make it current."""
    return publish_model(workspace, draft, card)


def open_retriever(
    workspace: Workspace, card: RetrieverCard, device: torch.device, release: str | None = None, availability: str | None = None,
    translate: bool = False,
) -> Retriever:  # fmt: skip
    """A published retriever, ready to answer.

    Args:
        release: whose products are answered with, instead of those it was trained on; of the same quantizer.
        availability: table of item_id and retailer_id, of what each retailer has; without one, what it sold in training, and products that
            nobody ever sold.
        translate: whether the products of a release with other codes go by those that the retriever speaks (translated.py).

    Raises:
        ShelfcodeError: the release has other codes than the retriever speaks, a table cannot be read, or a file is damaged.
    """
    recipe = validate_settings(RetrieverRecipe, card.recipe, f"recipe of {card.label}")
    manifest, trained_on = load_manifest(workspace, release or card.release), load_manifest(workspace, card.release)
    vocabulary = workspace.read_json(f"{card.folder}/{VOCABULARY}/vocabulary.json")
    trained = open_assortment(workspace, trained_on)
    if translate and not speaks(card, trained_on, manifest):
        assortment, _ = translated_assortment(workspace, trained_on, manifest)
    else:
        check_release(workspace, card, manifest)
        assortment = trained if manifest.name == card.release else open_assortment(workspace, manifest)
    retailers = tuple(vocabulary["retailers"])
    model = new_retriever_model(
        card.retriever, recipe, Marks(len(retailers), len(vocabulary["surfaces"])), trained, codebooks(workspace, trained_on)
    )
    _load(workspace, f"{card.folder}/{MODEL_FILE}", model)
    model = model.to(device).eval()
    model.take_up(assortment, trained)
    if isinstance(model, Generator):
        model.fix_tables()
    sharing = SharingModel(np.array(vocabulary["sharing"], np.float32), _sales(workspace, card, assortment, retailers))
    trie = trie_of(assortment)
    available = None
    if availability is not None:
        retailers, available = _available(assortment, retailers, availability)
    shelves = open_shelves(trie, sharing.sales, available, device)
    surfaces = tuple(vocabulary["surfaces"])
    together = _together(workspace, card, trained, assortment)
    stages = _ranker(workspace, card), _never_sold(workspace, card, len(assortment.sizes))
    return Retriever(recipe, model, sharing, assortment, retailers, surfaces, shelves, together, *stages)


def _together(workspace: Workspace, card: RetrieverCard, trained: Assortment, assortment: Assortment) -> Cooccurrence:
    """What is bought with what, by the places of an assortment."""
    path = f"{card.folder}/{VOCABULARY}/{TOGETHER_FILE}"
    if not workspace.exists(path):
        return nothing_counted(len(assortment))
    try:
        kept = load(workspace.read_bytes(path))
        counted = Cooccurrence(kept["neighbour"].numpy(), kept["cosine"].numpy())
    except Exception as error:  # as in _load
        raise ShelfcodeError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from error
    return counted if assortment is trained else counted.of(assortment.place_of.get(trained.keys_N), len(assortment))


def _ranker(workspace: Workspace, card: RetrieverCard) -> Ranker | None:
    path = f"{card.folder}/{RANKER_FILE}"
    if not workspace.exists(path):
        return None
    ranker = Ranker()
    _load(workspace, path, ranker)
    return ranker.eval()


def _never_sold(workspace: Workspace, card: RetrieverCard, levels: int) -> NeverSoldModel | None:
    path = f"{card.folder}/{NEVER_SOLD_FILE}"
    if not workspace.exists(path):
        return None
    network = Ranker(feature_count(levels))
    network.register_buffer(LOG_SHARE, torch.zeros((), dtype=torch.float64))
    _load(workspace, path, network)
    log_share = float(network.get_buffer(LOG_SHARE))
    delattr(network, LOG_SHARE)  # it was there for the sake of the file
    return NeverSoldModel(network.eval(), log_share)


def _load(workspace: Workspace, path: str, module: nn.Module) -> None:
    """Weights from a file.

    Raises:
        ShelfcodeError: it is damaged.
    """
    try:
        module.load_state_dict(load(workspace.read_bytes(path)))
    except Exception as error:  # safetensors and torch raise kinds of their own for each way a file can be damaged
        raise ShelfcodeError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from error


def check_release(workspace: Workspace, card: RetrieverCard, manifest: Manifest) -> None:
    """Refuse a release whose codewords are others than those that a retriever was trained on.

    Raises:
        ShelfcodeError: they are; says what to do.
    """
    if speaks(card, load_manifest(workspace, card.release), manifest):
        return
    raise ShelfcodeError(
        f"--release {manifest.name}: {card.label} was trained on the codes of {card.release}, and {manifest.name} has a quantizer of its "
        f"own. Train a retriever on it, or have its codes translated: --translate, where {manifest.name} has a translation.parquet"
    )


def speaks(card: RetrieverCard, trained_on: Manifest, manifest: Manifest) -> bool:
    """Whether a retriever can answer with a release's products as they are coded; one that scores products cares for no codes."""
    return card.retriever == "cr" or quantizer_of(manifest) == quantizer_of(trained_on)


def quantizer_of(manifest: Manifest) -> str:
    """The release that a release's quantizer was trained for: products that are coded later are coded with the same one."""
    return manifest.model_from or manifest.name


def codebooks(workspace: Workspace, manifest: Manifest) -> list[Tensor]:
    """The quantizer's codewords of each level."""
    recipe = validate_recipe(manifest.recipe, f"of {manifest.name}")
    model = load_model(workspace, manifest.folder, recipe)
    return [model.codebooks.codewords(level).detach() for level in range(len(recipe.quantizer.codebook_sizes))]


def _sales(workspace: Workspace, card: RetrieverCard, assortment: Assortment, retailers: tuple[str, ...]) -> Sales:
    """Sales in training, by the places of an assortment; of products that it has no more, none."""
    products = workspace.read_table(f"{card.folder}/{VOCABULARY}/products.parquet")
    place_P = assortment.places(products["item_id"])
    known = place_P >= 0
    sold_N, late_N = (np.zeros(len(assortment), np.float32) for _ in range(2))
    for target_N, name in ((sold_N, "sales"), (late_N, "late_sales")):
        target_N[place_P[known]] = products[name].to_numpy()[known]
    return Sales(sold_N, late_N, _sales_at_retailers(workspace, card, assortment, retailers))


def _sales_at_retailers(
    workspace: Workspace, card: RetrieverCard, assortment: Assortment, retailers: tuple[str, ...]
) -> sparse.csr_array:  # fmt: skip
    """Sales of each retailer. Names are read a column at a time: a large shop has tens of millions, which together take gigabytes."""
    path = f"{card.folder}/{VOCABULARY}/retailers.parquet"
    numbers = index_keys(item_keys(pa.array(retailers or ("",), pa.string())))
    row_E = numbers.get(item_keys(workspace.read_table(path, ["retailer_id"])["retailer_id"])).astype(np.int32)
    column_E = assortment.places(workspace.read_table(path, ["item_id"])["item_id"])
    sales_E = workspace.read_table(path, ["sales"])["sales"].to_numpy().astype(np.float32)
    known_E = (row_E >= 0) & (column_E >= 0)
    if not known_E.all():
        row_E, column_E, sales_E = row_E[known_E], column_E[known_E], sales_E[known_E]
    shape = (max(1, len(retailers)), len(assortment))
    at_retailer = sparse.csr_array(sparse.coo_array((sales_E, (row_E, column_E)), shape=shape))
    at_retailer.sort_indices()
    return at_retailer


def _available(assortment: Assortment, trained: tuple[str, ...], url: str) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """The retailers that were trained on, the others that a table names, and what each has: nothing where the table does not name it."""
    availability, place_of = read_availability(url), assortment.place_of
    retailers = (*trained, *sorted(set(availability.retailers) - set(trained)))
    nothing = np.empty(0, np.int64)
    return retailers, [
        np.asarray(availability.places(name, place_of).to_array(), np.int64) if name in availability.retailers else nothing
        for name in retailers
    ]
