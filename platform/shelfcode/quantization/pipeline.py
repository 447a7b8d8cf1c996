"""Embeddings -> semantic IDs, in Ray Data: the frozen model codes every product, part by part."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from numpy.typing import NDArray

from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.flavor import Recipe
from shelfcode.hardware import reserved_device, torch_device
from shelfcode.keys import KeyIndex, Keys, first_copies, index_keys, item_keys, owners, row_keys
from shelfcode.parts import part_path
from shelfcode.progress import Progress
from shelfcode.quantization.encoding import encode_rows
from shelfcode.quantization.model_file import load_model
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.workspace import Workspace

PARTS_TOGETHER = 32
"""Parts of a release that become one part of the next, so that many small runs do not leave many small files."""


def encode_embeddings(
    embedded: EmbeddedCatalog, recipe: Recipe, workspace: Workspace, model_folder: str, target: str,
    progress: Progress, group_N: NDArray[np.int64] | None = None,
) -> int:  # fmt: skip
    """Code the products of a catalog with the model in `model_folder` and write `target`/part-*.parquet.

    Args:
        group_N: the group of each product in `embedded`, under a constraint.

    Returns:
        How many products were coded.
    """
    parts = workspace.parts(embedded.folder)
    owner = owners(workspace, parts, embedded.keys_N)
    used = np.unique(owner.values_K).tolist()
    dataset = ray.data.from_items([{"number": number, "path": parts[number]} for number in used], override_num_blocks=len(used))
    done = dataset.map_batches(
        QuantizerActor,
        fn_constructor_args=(recipe, workspace, model_folder, target),
        fn_kwargs={"owner": ray.put(owner), "groups": None if group_N is None else ray.put(index_keys(embedded.keys_N, group_N))},
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=recipe.encoder.actors_max),
        num_cpus=1,
        num_gpus=recipe.encoder.gpus_per_actor or None,
        max_restarts=recipe.encoder.restarts_per_actor,
    )
    coded = 0
    for row in done.iter_rows():
        coded += int(row["coded"])
        progress(int(row["coded"]))
    return coded


def recode(
    embedded: EmbeddedCatalog, item_keys_N: Keys, new_N: NDArray[np.bool_], recipe: Recipe, workspace: Workspace, release: str, target: str,
    progress: Progress, group_N: NDArray[np.int64] | None = None,
) -> None:  # fmt: skip
    """Code the new products of a catalog with the model of a release, keep the codes of all others, and write `target`/part-*.parquet.

    Args:
        item_keys_N, new_N: of the products in `embedded`: item key, and whether it has to be coded.
        release: folder of the release.
        group_N: of the products in `embedded`: the group, under a constraint.
    """
    if new_N.any():
        new = replace(embedded, positions_N=embedded.positions_N[new_N], keys_N=embedded.keys_N[new_N])
        encode_embeddings(new, recipe, workspace, release, target, progress, None if group_N is None else group_N[new_N])
    parts = workspace.parts(f"{release}/semantic_ids")
    groups = [{"number": first, "paths": parts[first : first + PARTS_TOGETHER]} for first in range(0, len(parts), PARTS_TOGETHER)]
    arguments = {"workspace": workspace, "kept": ray.put(index_keys(item_keys_N[~new_N])), "target": target}
    dataset = ray.data.from_items(groups, override_num_blocks=len(groups))
    for row in dataset.map_batches(_keep_codes, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments).iter_rows():
        progress(int(row["kept"]))


def _keep_codes(item: pa.Table, workspace: Workspace, kept: "ray.ObjectRef[KeyIndex]", target: str) -> Iterator[pa.Table]:
    """Write the codes kept from some parts as one part, named after its place: a task may run twice."""
    group = item.to_pylist()[0]
    table = pa.concat_tables(workspace.read_tables(group["paths"]))
    table = table.filter(pa.array(ray.get(kept).get(item_keys(table["item_id"])) >= 0))
    if len(table):
        workspace.write_table(part_path(target, f"kept-{group['number']:06d}"), table)
    yield pa.table({"kept": [len(table)]})


class QuantizerActor:
    """A frozen quantizer in an actor: reads a part of the embeddings, writes the same part of the semantic IDs."""

    def __init__(self, recipe: Recipe, workspace: Workspace, model_folder: str, target: str) -> None:
        torch.set_num_threads(1)
        self.recipe, self.workspace, self.model_folder, self.target = recipe, workspace, model_folder, target

    @cached_property
    def device(self) -> torch.device:
        """Where the encoder's actors compute, too: both reserve the same."""
        return torch_device(reserved_device(self.recipe.encoder.gpus_per_actor), "encoder.gpus_per_actor")

    @cached_property
    def model(self) -> RQVAE:
        """Loaded by the first call: an error in the constructor would reach the driver as the text of an actor's death."""
        return load_model(self.workspace, self.model_folder, self.recipe, self.device)

    def __call__(self, item: pa.Table, owner: "ray.ObjectRef[KeyIndex]", groups: "ray.ObjectRef[KeyIndex] | None") -> pa.Table:
        number, path = item["number"][0].as_py(), item["path"][0].as_py()
        table = self.workspace.read_table(path)
        keys_N = row_keys(table["item_id"], table["text_hash"])
        mine_N = first_copies(keys_N, ray.get(owner), number)
        table = table.filter(pa.array(mine_N))
        x_NE = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
        codes_NL = encode_rows(self.model, x_NE, ray.get(groups).get(keys_N[mine_N]) if groups else None)
        self.workspace.write_table(f"{self.target}/{path.rsplit('/', 1)[-1]}", semantic_ids_table(table["item_id"], codes_NL))
        return pa.table({"coded": [len(table)]})
