"""translation.parquet: the prefixes of one release in terms of another's, for a model that was trained on the codes of either.

evaluation/stability/ makes the table, when a release is published and when two are compared; whoever reads codes may look things up in it.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.errors import ShelfcodeError
from shelfcode.releases.release import Manifest
from shelfcode.semantic_id import SEPARATOR, prefix
from shelfcode.workspace import Workspace

TRANSLATION_FILE = "translation.parquet"

Direction = Literal["old_to_new", "new_to_old"]

TRANSLATION_SCHEMA = pa.schema([
    ("level", pa.uint8()), ("old", pa.string()), ("new", pa.string()), ("products", pa.int64()),
    ("old_to_new", pa.float64()), ("new_to_old", pa.float64()),
])  # fmt: skip


def comparison_folder(new: Manifest, old: Manifest) -> str:
    """Where the comparison of two releases is kept, within the workspace."""
    return f"evaluations/{new.name}-against-{old.name}"


def read_translation(workspace: Workspace, new: Manifest, old: Manifest) -> pa.Table:
    """The translation between two releases: the newer one's own, where it was published after the older, else that of their comparison.

    Raises:
        ShelfcodeError: there is neither; says how to come by one.
    """
    own = [new.folder] if new.churn and new.churn["against"] == old.name else []
    for folder in (*own, comparison_folder(new, old)):
        if workspace.exists(f"{folder}/{TRANSLATION_FILE}"):
            return workspace.read_table(f"{folder}/{TRANSLATION_FILE}")
    if new.flavor != old.flavor:
        raise ShelfcodeError(f"{new.name} and {old.name} are of two flavors: nothing translates the codes of one into those of the other")
    raise ShelfcodeError(
        f"there is no {TRANSLATION_FILE} between {old.name} and {new.name}; make it with "
        f"python jobs/compare_releases.py --release {new.name} --against {old.name} --workspace {workspace.url}"
    )


def translate(table: pa.Table, prefixes: Iterable[str], direction: Direction = "old_to_new") -> dict[str, list[tuple[str, float]]]:
    """Prefixes of one release in the codes of the other: prefix -> (prefix of the same depth, weight), the heaviest first.

    A prefix that no product of both releases has is looked up one level shallower, and so on; the answer is then shallower too.
    It is empty where not even the first codeword is known.
    """
    asked = dict.fromkeys(prefixes)
    shortened = {prefix(each, depth) for each in asked for depth in range(1, each.count(SEPARATOR) + 2)}
    source, target = direction.split("_to_")
    rows = table.filter(pc.is_in(table[source], pa.array(sorted(shortened), pa.string())))
    parts_of: dict[str, list[tuple[str, float]]] = {}
    for row in rows.sort_by([(direction, "descending"), (target, "ascending")]).to_pylist():
        parts_of.setdefault(row[source], []).append((row[target], row[direction]))
    return {each: _deepest(parts_of, each) for each in asked}


def _deepest(parts_of: Mapping[str, list[tuple[str, float]]], whole: str) -> list[tuple[str, float]]:
    depths = range(whole.count(SEPARATOR) + 1, 0, -1)
    return next((parts_of[prefix(whole, depth)] for depth in depths if prefix(whole, depth) in parts_of), [])
