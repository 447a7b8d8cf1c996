"""Whether the files of a release are whole and are what its manifest says: asked before anybody is pointed to it.

`check_release` reads all rows, which takes minutes where there are many. `check_files` compares a listing with the sizes that the
manifest records. That is enough for a release that was current before, whose rows were read then, and makes a rollback quick.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, item_keys
from shelfcode.parallel import in_order
from shelfcode.parts import is_part
from shelfcode.quantization.semantic_ids import table_codes
from shelfcode.releases.release import Manifest, release_recipe
from shelfcode.workspace import Workspace


def check_release(workspace: Workspace, manifest: Manifest) -> None:
    """Read the model and the semantic IDs of a release, many parts at once.

    Raises:
        ShelfcodeError: a file cannot be read whole, or is not what recipe and row count of the manifest say; names the file.
    """
    from shelfcode.quantization.model_file import load_model  # torch: whoever checks semantic IDs alone does without it

    recipe = release_recipe(manifest)
    load_model(workspace, manifest.folder, recipe)
    check_semantic_ids(workspace, f"{manifest.folder}/semantic_ids", manifest.rows.coded, recipe.quantizer.codebook_sizes)


def check_files(workspace: Workspace, manifest: Manifest) -> None:
    """Compare the files of a release with those that its manifest lists; reads none of them. A manifest without a list: `check_release`.

    Raises:
        ShelfcodeError: a file is gone, of another size, or a part more than there should be; names it.
    """
    if not manifest.files:
        check_release(workspace, manifest)
        return
    there = {file.path.removeprefix(f"{manifest.folder}/"): file.bytes for file in workspace.files(manifest.folder)}
    for name, size in manifest.files.items():
        address = workspace.address(f"{manifest.folder}/{name}")
        if name not in there:
            raise ShelfcodeError(f"{address} is gone")
        if there[name] != size:
            verb = "read" if is_part(name, "semantic_ids") else "loaded"
            raise ShelfcodeError(f"{address} cannot be {verb}: it has {there[name]:,} bytes, and manifest.json says {size:,}")
    if strangers := sorted(name for name in there.keys() - manifest.files.keys() if is_part(name, "semantic_ids")):
        address = workspace.address(f"{manifest.folder}/{strangers[0]}")
        raise ShelfcodeError(f"{address} is no part of the release: manifest.json does not list it")


def check_semantic_ids(workspace: Workspace, folder: str, coded: int, codebook_sizes: Sequence[int]) -> None:
    """Read semantic IDs alone, for whoever needs no model; raises as `check_release` does.

    Args:
        coded: how many products they should be of.
    """
    parts = workspace.parts(folder)
    keys = list(in_order(lambda part: _checked_keys(workspace, part, codebook_sizes), parts))
    rows_P = np.array([len(keys_B) for keys_B in keys], dtype=np.int64)
    if rows_P.sum() != coded:
        raise ShelfcodeError(
            f"{workspace.address(folder)} holds {rows_P.sum():,} products in {len(parts)} parts, and manifest.json says {coded:,}"
        )
    first_N = np.unique(np.concatenate([np.empty(0, np.uint64), *keys]), return_index=True)[1]
    if again := coded - len(first_N):
        place = np.setdiff1d(np.arange(coded), first_N)[0]
        part = parts[int(np.searchsorted(rows_P.cumsum(), place, side="right"))]
        raise ShelfcodeError(f"{workspace.address(part)} has an item_id that occurred before; there are {again:,} such rows in all")


def _checked_keys(workspace: Workspace, part: str, codebook_sizes: Sequence[int]) -> Keys:
    """Item keys of a part whose rows are as they should be."""
    path = workspace.address(part)
    try:
        table = workspace.read_table(part)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ShelfcodeError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not _has_columns(table, len(codebook_sizes)):
        raise ShelfcodeError(f"{path} has other columns than item_id, semantic_id and codes of {len(codebook_sizes)} levels")
    if table["item_id"].null_count or table["codes"].null_count or pc.list_flatten(table["codes"]).null_count:
        raise ShelfcodeError(f"{path} has rows without item_id or codes")
    for level, (code_B, size) in enumerate(zip(table_codes(table).T, codebook_sizes, strict=True), start=1):
        if len(code_B) and code_B.max() >= size:
            raise ShelfcodeError(f"{path}: code {code_B.max()} of level {level} lies outside its codebook of {size} codewords")
    return item_keys(table["item_id"])


def _has_columns(table: pa.Table, levels: int) -> bool:
    """Whether a part has the columns of the contract, with their types."""
    types = {field.name: field.type for field in table.schema}
    if not {"item_id", "semantic_id", "codes"} <= types.keys() or not pa.types.is_fixed_size_list(types["codes"]):
        return False
    codes = types["codes"]
    return (types["item_id"], types["semantic_id"], codes.value_type, codes.list_size) == (pa.string(), pa.string(), pa.uint16(), levels)
