"""Joining the parts of tables, by Ray Data: a task reads the parts of a group, one after another, and writes their live rows as one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
import ray.data

from shelfcode.attributes.pipeline import snapshot_texts
from shelfcode.attributes.stored_texts import BY_RULES, is_by_rules
from shelfcode.keys import KeyIndex, Keys, first_copies, row_keys
from shelfcode.parallel import TABLES_AT_ONCE
from shelfcode.parts import is_part, name_of_rows, part_path
from shelfcode.progress import Progress
from shelfcode.releases.release import Manifest
from shelfcode.retention.compaction import SIZES, PartSizes, TablePlan, plan_table
from shelfcode.retention.references import TableUses, coded_texts, snapshots_of
from shelfcode.retention.stored_files import Inventory, remove_files
from shelfcode.workspace import Workspace

PARTS_TOGETHER = 32
"""Parts whose keys one task reads, since there may be a great many of a few rows each."""


@dataclass(frozen=True)
class Compacted:
    """What became of the tables that had parts to rewrite."""

    tables: int
    parts_before: int
    parts_after: int
    rows_dropped: int


def plan_compaction(
    workspace: Workspace, inventory: Inventory, uses: TableUses, older_than: float, progress: Progress, sizes: PartSizes = SIZES
) -> list[TablePlan]:
    """What to do with the tables that are in use. Those of which no part is rewritten or removed are left out.

    Args:
        progress: called with the number of parts looked at.
    """
    plans = []
    for folder, users in uses.users.items():
        files = [file for file in inventory.below(folder) if is_part(file.path, folder)]
        old = [inventory.are_old([file], older_than) for file in files]
        paths = [file.path for age in (False, True) for file, is_old in zip(files, old, strict=True) if is_old == age]
        if not any(old):
            continue
        plan = plan_table(
            folder, paths, _part_keys(workspace, paths, progress), old.count(False), _referred(workspace, folder, users), sizes
        )
        plans += [plan] if plan.replaced else []
    return plans


def compact(workspace: Workspace, plans: Sequence[TablePlan], check: Callable[[], None], progress: Progress) -> None:
    """Write the new parts of each table, and once they are all there, delete those that they replace.

    A run that is killed in between leaves rows twice, which every reader of these tables copes with.

    Args:
        check: called before anything is deleted; raises where that is not allowed.
        progress: called with the number of rows written.
    """
    for plan in plans:
        written = _gather_groups(workspace, plan, progress)
        check()
        replaced = {part.path for part in plan.replaced} - written
        remove_files(workspace, plan.folder, sorted(replaced), check)


def compaction_summary(plans: Sequence[TablePlan]) -> Compacted:
    """The counts of all tables together."""
    return Compacted(
        tables=len(plans),
        parts_before=sum(plan.parts for plan in plans),
        parts_after=sum(plan.parts_after for plan in plans),
        rows_dropped=sum(plan.rows_dropped for plan in plans),
    )


def _referred(workspace: Workspace, folder: str, users: Sequence[Manifest]) -> Keys | None:
    """Row keys of a table that its users refer to. None where that is not known of all of them."""
    if folder.startswith("embeddings/"):
        return coded_texts(workspace, users)
    keys = []
    for snapshot in snapshots_of(workspace, users).values():
        if snapshot is None:
            return None
        keys.append(snapshot_texts(snapshot, workspace).rows_N)
    return np.unique(np.concatenate(keys))


def _part_keys(workspace: Workspace, paths: Sequence[str], progress: Progress) -> list[Keys]:
    """Row keys of each part."""
    groups = [{"first": first, "paths": paths[first : first + PARTS_TOGETHER]} for first in range(0, len(paths), PARTS_TOGETHER)]
    dataset = ray.data.from_items(groups, override_num_blocks=len(groups))
    keys_of_part: dict[int, Keys] = {}
    for row in dataset.map_batches(_read_keys, batch_size=1, batch_format="pyarrow", fn_kwargs={"workspace": workspace}).iter_rows():
        keys_of_part[int(row["number"])] = np.frombuffer(row["keys"], dtype=np.uint64)
        progress(1)
    return [keys_of_part[number] for number in range(len(paths))]


def _read_keys(item: pa.Table, workspace: Workspace) -> Iterator[pa.Table]:
    group = item.to_pylist()[0]
    for number, table in enumerate(workspace.read_tables(group["paths"], ["item_id", "text_hash"]), start=group["first"]):
        keys = row_keys(table["item_id"], table["text_hash"]).tobytes()
        yield pa.table({"number": [number], "keys": pa.array([keys], pa.large_binary())})


def _gather_groups(workspace: Workspace, plan: TablePlan, progress: Progress) -> set[str]:
    """Write the new parts of a table, and return their paths."""
    if not plan.groups:
        return set()
    groups = [
        {"folder": plan.folder, "numbers": [part.number for part in group], "paths": [part.path for part in group]} for group in plan.groups
    ]
    dataset = ray.data.from_items(groups, override_num_blocks=len(groups))
    arguments = {"workspace": workspace, "owner": ray.put(plan.owner)}
    written, rows = set(), 0
    for row in dataset.map_batches(_gather, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments).iter_rows():
        written.add(str(row["path"]))
        rows += int(row["rows"])
        progress(int(row["rows"]))
    if rows != len(plan.owner):
        raise RuntimeError(f"{rows} rows of {plan.folder} were gathered, and {len(plan.owner)} should have been; nothing of it was deleted")
    return written


def _gather(item: pa.Table, workspace: Workspace, owner: "ray.ObjectRef[KeyIndex]") -> pa.Table:
    """Write the live rows of some parts as one. If the task runs twice, it writes the same file."""
    group, known, kept = item.to_pylist()[0], ray.get(owner), []
    for number, table in zip(group["numbers"], workspace.read_tables(group["paths"], at_once=TABLES_AT_ONCE), strict=True):
        kept.append(table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), known, number))))
    rows = pa.concat_tables(kept)
    prefix = BY_RULES if is_by_rules(group["paths"][0]) else ""
    path = part_path(group["folder"], prefix + name_of_rows(row_keys(rows["item_id"], rows["text_hash"])))
    workspace.write_table(path, rows)
    return pa.table({"path": [path], "rows": [len(rows)]})
