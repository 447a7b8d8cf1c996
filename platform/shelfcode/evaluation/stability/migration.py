"""From the codes of one release to those of another: each product's old and new codes, churn, and the translation of prefixes."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import load_snapshot, snapshot_item_keys, snapshot_taxonomy
from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy
from shelfcode.evaluation.stability.churn import Churn, measure_churn
from shelfcode.evaluation.stability.translation import code_texts, prefix_translation
from shelfcode.index.translation_table import TRANSLATION_FILE
from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.quantization.semantic_ids import read_ids, table_codes
from shelfcode.releases.release import Manifest
from shelfcode.semantic_id import shared_depth
from shelfcode.workspace import Workspace

MIGRATION_FILE = "migration.parquet"


@dataclass(frozen=True)
class Migration:
    """The products that two releases both coded.

    Attributes:
        item_ids_N, item_keys_N: of the products, in the order of the new release's semantic IDs.
        old_NL, new_NL: their codes.
        added, removed: products that only the new release coded, and only the old one.
    """

    item_ids_N: pa.ChunkedArray
    item_keys_N: Keys
    old_NL: NDArray[np.uint16]
    new_NL: NDArray[np.uint16]
    added: int
    removed: int


def read_migration(workspace: Workspace, old_folder: str, new_folder: str) -> Migration:
    """Match the products of two releases or drafts, each given by its folder.

    Raises:
        ShelfcodeError: one of them has no semantic IDs.
    """
    old, new = (read_ids(workspace, f"{folder}/semantic_ids") for folder in (old_folder, new_folder))
    old_keys, new_keys = item_keys(old["item_id"]), item_keys(new["item_id"])
    place_N = index_keys(old_keys).get(new_keys)
    both_N = place_N >= 0
    return Migration(
        new["item_id"].filter(pa.array(both_N)), new_keys[both_N], table_codes(old)[place_N[both_N]], table_codes(new)[both_N],
        added=int((~both_N).sum()), removed=len(old_keys) - int(both_N.sum()),
    )  # fmt: skip


def churn_of(migration: Migration, against: str, taxonomy: Taxonomy | None = None, taxonomy_keys: Keys | None = None) -> Churn:
    """Churn of a migration.

    Args:
        against: name of the old release.
        taxonomy, taxonomy_keys: of products in any order, and their item keys; without them there is no churn by department.
            Products of the migration that they lack count as without a path.
    """
    if taxonomy is not None and taxonomy_keys is not None:
        place_N = index_keys(taxonomy_keys).get(migration.item_keys_N)
        taxonomy = replace(taxonomy, leaf_of_N=np.where(place_N >= 0, taxonomy.leaf_of_N[place_N], NO_LEAF).astype(np.int32))
    return measure_churn(migration.old_NL, migration.new_NL, against, migration.added, migration.removed, taxonomy)


def release_churn(workspace: Workspace, migration: Migration, old: Manifest, new: Manifest) -> Churn:
    """Churn of a migration between two published releases; without departments where the newer release's snapshot is gone."""
    snapshot = load_snapshot(workspace, new.catalog.snapshot)
    if snapshot is None:
        return churn_of(migration, old.name)
    return churn_of(migration, old.name, snapshot_taxonomy(workspace, snapshot), snapshot_item_keys(workspace, snapshot))


def write_migration(workspace: Workspace, folder: str, migration: Migration) -> None:
    """Write migration.parquet (item_id, old, new, kept_levels) and translation.parquet into a folder of the workspace."""
    old_NL, new_NL = migration.old_NL, migration.new_NL
    levels = min(old_NL.shape[1], new_NL.shape[1])
    kept_N = shared_depth(old_NL[:, :levels], new_NL[:, :levels]).astype(np.uint8)
    old, new = (code_texts(codes_NL) for codes_NL in (old_NL, new_NL))
    columns = {"item_id": migration.item_ids_N, "old": old, "new": new, "kept_levels": kept_N}
    workspace.write_table(f"{folder}/{MIGRATION_FILE}", pa.table(columns))
    workspace.write_table(f"{folder}/{TRANSLATION_FILE}", prefix_translation(old_NL, new_NL))
