"""Training the quantizer in Ray Train (shelfcode.train); its targets are found once a run and kept in the run's folder."""

import io
import json
from functools import partial
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.embedding.embeddings import EmbeddedCatalog, embedding_matrix
from shelfcode.flavor import Recipe
from shelfcode.hardware import reserved_device, torch_device
from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.optimisation import Worker
from shelfcode.quantization.codeword_naming import codeword_names
from shelfcode.quantization.constraint import Grouped
from shelfcode.quantization.encoding import encode_rows
from shelfcode.quantization.fitting import check_size, fit, start
from shelfcode.quantization.model_file import load_model, new_model
from shelfcode.quantization.sampler import sample_keys
from shelfcode.quantization.semantic_ids import read_ids, table_codes
from shelfcode.quantization.target_search.engagement import Engagement, unpack_engagement
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import unpack_targets
from shelfcode.settings import deciding
from shelfcode.train import fit_in_ray, report_state, resume, run_folder, say
from shelfcode.workspace import Workspace

REPORT_EVERY = 100
TRAINING_SET_FILE = "training_set.npz"
TARGETS_FILE = "targets.npz"
ENGAGEMENT_FILE = "engagement.npz"


def training_run(
    recipe: Recipe, embedded: EmbeddedCatalog, taxonomy: Taxonomy, parent: str | None = None, grouped: Grouped | None = None,
    engaged: Engagement | None = None,
) -> str:  # fmt: skip
    """Folder of a training run under the workspace, named after what decides its outcome.

    Settings of the catalog, the encoder and the extractor show in the rows that are trained on, and in the folder of their embeddings.

    Args:
        parent: folder of the release that training starts from.
        grouped: the products in `embedded` in groups, under a constraint.
        engaged: what customers take together of the embedded products.
    """
    settings = {"quantizer": deciding(recipe.quantizer), "training": deciding(recipe.training), "stability": recipe.stability}
    decides = json.dumps([settings, embedded.folder, parent]).encode()
    rows_M = trained_rows(recipe, embedded.keys_N)
    arrays: list[NDArray[Any]] = [embedded.keys_N[rows_M], taxonomy.leaf_of_N[rows_M], taxonomy.ancestors_PD]
    if grouped:
        arrays += [grouped.of_N[rows_M], np.array(grouped.groups)]
    if engaged:
        arrays += [engaged.group_R, engaged.product_R]
    return run_folder(recipe.name, decides, *(array.tobytes() for array in arrays))


def trained_rows(recipe: Recipe, keys_N: Keys) -> NDArray[np.int64]:
    """Places of the products that are trained on: all of a catalog, or a sample of training.products_max. In rising order, int64[M]."""
    return sample_keys(keys_N, recipe.training.products_max, recipe.training.seed)


def prepare_targets(
    recipe: Recipe, embedded: EmbeddedCatalog, taxonomy: Taxonomy, workspace: Workspace, folder: str, parent: str | None = None,
    grouped: Grouped | None = None, engaged: Engagement | None = None,
) -> None:  # fmt: skip
    """Find what the encoder is to learn and keep it in the run's folder; nothing to do where an earlier start did.

    Args:
        taxonomy: of the products that have an embedding, in their order.
        folder: of the run, from `training_run`.
        parent: folder of the release that training starts from.
        grouped: the products in `embedded` in groups, under a constraint.
        engaged: what customers take together of the embedded products.

    Raises:
        ShelfcodeError: a codebook is larger than the catalog, or a constraint makes more groups than there are first codewords.
    """
    training = recipe.training
    check_size(recipe, len(embedded.keys_N))
    if workspace.exists(f"{folder}/{TARGETS_FILE}"):
        return
    rows_M = trained_rows(recipe, embedded.keys_N)
    training_set = pack_training_set(embedded.keys_N[rows_M], taxonomy.of(rows_M), grouped.of(rows_M) if grouped else None)
    workspace.write_bytes(f"{folder}/{TRAINING_SET_FILE}", training_set)
    if engaged:
        workspace.write_bytes(f"{folder}/{ENGAGEMENT_FILE}", engaged.of(rows_M, len(embedded.keys_N)).pack())
    task = ray.remote(num_cpus=training.cpus_per_worker, num_gpus=int(training.use_gpu), max_retries=training.max_failures)(write_targets)
    ray.get(task.remote(recipe, workspace, folder, embedded.folder, parent))


def train_quantizer(
    recipe: Recipe, embedded: EmbeddedCatalog, workspace: Workspace, folder: str, parent: str | None = None
) -> dict[str, Tensor]:
    """Fit the quantizer to the embeddings of a catalog; the weights of the trained model.

    Args:
        folder: of the run, after `prepare_targets`; checkpoints in it are taken up.
        parent: folder of the release that training starts from, as for `prepare_targets`.

    Raises:
        ray.train.TrainingFailedError: workers failed more often than training.max_failures.
    """
    train = partial(_train_worker, recipe, workspace, folder, embedded.folder, parent)
    weights: dict[str, Tensor] = fit_in_ray(train, recipe.training, workspace, folder, recipe.training.backend)["model"]
    return weights


def name_codewords(
    recipe: Recipe, embedded: EmbeddedCatalog, item_keys_N: Keys, workspace: Workspace, weights: dict[str, Tensor], parent: str,
    group_N: NDArray[np.int64] | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """The weights of a trained model with its codewords renamed, so that as many products as possible keep the code they have.

    Args:
        item_keys_N: of the products in `embedded`.
        parent: folder of the release whose codes are to be kept, whatever model or encoder it has.
        group_N: the group of each product in `embedded`, under a constraint.
    """
    task = ray.remote(num_cpus=recipe.training.cpus_per_worker, max_retries=recipe.training.max_failures)(_name_codewords)
    return ray.get(task.remote(recipe, workspace, embedded.folder, embedded.keys_N, item_keys_N, weights, parent, group_N))


def _name_codewords(
    recipe: Recipe, workspace: Workspace, embeddings: str, keys_N: Keys, item_keys_N: Keys, weights: dict[str, Tensor], parent: str,
    group_N: NDArray[np.int64] | None,
) -> dict[str, Tensor]:  # fmt: skip
    torch.set_num_threads(recipe.training.cpus_per_worker)
    coded = read_ids(workspace, f"{parent}/semantic_ids")
    old_KL, place_N = table_codes(coded), index_keys(item_keys(coded["item_id"])).get(item_keys_N)
    both_N = np.flatnonzero(place_N >= 0)
    rows_M = both_N[trained_rows(recipe, keys_N[both_N])]
    model = new_model(recipe, weights["projection.weight"].shape[1]).eval()
    model.load_state_dict(weights)
    x_ME = embedding_matrix(workspace, embeddings, keys_N[rows_M])
    new_ML = encode_rows(model, x_ME, None if group_N is None else group_N[rows_M])
    model.codebooks.rename(codeword_names(old_KL[place_N[rows_M]], new_ML, model.codebooks.sizes))
    return dict(model.state_dict())


def write_targets(recipe: Recipe, workspace: Workspace, folder: str, embeddings: str, parent: str | None) -> None:
    """Find the targets of the training set in a run's folder and keep them beside it; only its embeddings are read onto this node."""
    torch.set_num_threads(recipe.training.cpus_per_worker)
    device = torch_device(reserved_device(int(recipe.training.use_gpu)), "training.use_gpu")
    keys_M, taxonomy, grouped = _unpack(workspace.read_bytes(f"{folder}/{TRAINING_SET_FILE}"))
    model = load_model(workspace, parent, recipe, device) if parent else None
    kept = f"{folder}/{ENGAGEMENT_FILE}"
    engaged = unpack_engagement(workspace.read_bytes(kept)) if workspace.exists(kept) else None
    x_ME = embedding_matrix(workspace, embeddings, keys_M)
    targets = find_targets(recipe, x_ME, taxonomy, device, model, grouped, engaged)
    workspace.write_bytes(f"{folder}/{TARGETS_FILE}", targets.pack())


def _train_worker(recipe: Recipe, workspace: Workspace, folder: str, embeddings: str, parent: str | None, worker: Worker) -> None:
    training = recipe.training
    keys_M, taxonomy, _ = _unpack(workspace.read_bytes(f"{folder}/{TRAINING_SET_FILE}"))
    targets = unpack_targets(workspace.read_bytes(f"{folder}/{TARGETS_FILE}"))
    x_ME = embedding_matrix(workspace, embeddings, keys_M)
    steps = training.steps_for(len(x_ME))
    state = start(recipe, targets, worker, load_model(workspace, parent, recipe, worker.device) if parent else None)
    resume(state, worker, steps)
    for report in fit(recipe, x_ME, taxonomy, targets, state, worker):
        last = report.step == steps
        if report.step % REPORT_EVERY == 0 or last:
            say(
                worker,
                f"step {report.step} of {steps}: reconstruction {report.reconstruction:.4f}, quantization "
                f"{report.quantization:.4f}, contrastive {report.contrastive:.3f}",
            )
        if report.step % training.checkpoint_every == 0 or last:
            report_state(state, worker, {"reconstruction": report.reconstruction, "quantization": report.quantization})


def pack_training_set(keys_M: Keys, taxonomy: Taxonomy, grouped: Grouped | None = None) -> bytes:
    """What workers need besides the embeddings; names of categories stay behind."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {
        "keys_N": keys_M, "leaf_of_N": taxonomy.leaf_of_N, "ancestors_PD": taxonomy.ancestors_PD, "parent_P": taxonomy.parent_P,
    }  # fmt: skip
    if grouped:
        arrays |= {"group_N": grouped.of_N, "groups": np.array(grouped.groups)}
    np.savez(file, **arrays)
    return file.getvalue()


def _unpack(data: bytes) -> tuple[Keys, Taxonomy, Grouped | None]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        taxonomy = Taxonomy(arrays["leaf_of_N"], (), arrays["ancestors_PD"], arrays["parent_P"])
        grouped = Grouped(arrays["group_N"], int(arrays["groups"])) if "groups" in arrays else None
        return arrays["keys_N"], taxonomy, grouped
