"""Decided labels laid over a catalog: a snapshot of its own, in which the labels are what people said they should be.

The snapshot of the catalog as it was read stays what it is. Everything that reads the new one (training, evaluation, the audit, the
endpoint) sees clean labels without knowing of it; what was decided of a product stands in its column DECIDED.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.decided_labels import (
    CONFIRMS,
    EXCLUDES,
    LEAVES_OPEN,
    PATH_SEPARATOR,
    SETS,
    STAGE,
    CategoryPath,
    DecidedLabel,
    DecidedLabels,
    path_key,
)
from shelfcode.catalog.rejected import RejectedRow, count_reasons, rejected_table
from shelfcode.catalog.snapshot import (
    DECIDED,
    AppliedLabels,
    DepartmentChanges,
    LabelMove,
    Snapshot,
    SnapshotPart,
    content_of,
    load_snapshot,
    snapshot_item_keys,
)
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import KeyIndex, index_keys, item_keys
from shelfcode.parallel import TABLES_AT_ONCE, in_order
from shelfcode.parts import part_name, part_path
from shelfcode.workspace import Workspace

PASSED_OVER_FILE = "passed_over.parquet"
"""Beside the parts of the snapshot: the rows of the labels that changed nothing, each with its reason."""

UNKNOWN_SHARE_MAX = 0.5
"""Where a larger share of the rows names products that the catalog lacks, they were decided on another catalog."""

MOVES_SHOWN = 10

_UNKNOWN, _STALE = "no such product in the catalog", "the catalog has another label by now"
_LATER, _OPEN = "a later decision on the same product counts", "unsure decides nothing"


@dataclass(frozen=True)
class Outcome:
    """What becomes of one product.

    Attributes:
        path: its label from now on.
        decided: the decision that counts; None where none does.
        passed_over: the others, each with the reason.
    """

    path: CategoryPath | None
    decided: DecidedLabel | None
    passed_over: tuple[tuple[DecidedLabel, str], ...]


def overlay_labels(workspace: Workspace, snapshot: Snapshot, decided: DecidedLabels, flag: str = "--labels") -> Snapshot:
    """The snapshot with the decided labels; one that was made before is taken up.

    Args:
        snapshot: of the catalog as it was read, or one that has an overlay already.
        flag: for messages: by which the labels were given.

    Raises:
        ShelfcodeError: most of the products are not in the catalog.
    """
    if snapshot.labels and snapshot.labels.digest == decided.digest:
        return snapshot
    folder = f"{snapshot.folder}-labels-{decided.digest}"
    if known := load_snapshot(workspace, folder):
        return known
    ids = list(dict.fromkeys(label.item_id for label in decided.labels))
    of_item = index_keys(item_keys(pa.array(ids, pa.string())))
    there = of_item.get(snapshot_item_keys(workspace, snapshot))
    unknown = set(ids) - {ids[number] for number in there[there >= 0].tolist()}
    _check_catalog(decided, unknown, f"{flag} {decided.url}", snapshot)
    by_item: dict[str, list[DecidedLabel]] = defaultdict(list)
    for label in decided.labels:
        by_item[label.item_id].append(label)
    overlay = partial(
        _overlay_part, workspace=workspace, folder=folder, of_item=of_item, by_item=[by_item[each] for each in ids],
        decided_before=snapshot.labels is not None,
    )  # fmt: skip
    done = list(in_order(overlay, snapshot.parts, TABLES_AT_ONCE))
    passed_over = [_rejected(label, _UNKNOWN) for label in decided.labels if label.item_id in unknown]
    passed_over += [_rejected(label, why) for part in done for outcome in part.outcomes for label, why in outcome.after.passed_over]
    changed = _changed(snapshot, folder, done, _account(decided, done, [*decided.rejected, *passed_over]))
    workspace.write_table(f"{folder}/{PASSED_OVER_FILE}", rejected_table([*decided.rejected, *passed_over]))
    workspace.write_json(f"{folder}/manifest.json", changed.model_dump(mode="json"))
    return changed


def decide_label(now: Sequence[str] | None, labels: Sequence[DecidedLabel]) -> Outcome:
    """What the decisions on a product, in their order, make of its label.

    A decision counts where it judged the label that the product has: in the catalog, or by an earlier decision.

    Args:
        now: the label in the catalog.
    """
    catalog = path = tuple(now) if now else None
    last: DecidedLabel | None = None
    passed_over: list[tuple[DecidedLabel, str]] = []
    for label in labels:
        judged, sets = path_key(label.from_path), label.verdict in SETS
        if label.verdict == LEAVES_OPEN:
            passed_over.append((label, _OPEN))
            continue
        if judged == path_key(path) or (sets and path_key(label.to_path) == path_key(path)):
            after = label.to_path if sets else path
        elif judged == path_key(catalog):
            after = label.to_path if sets else catalog
        else:
            passed_over.append((label, f"{_STALE}: {PATH_SEPARATOR.join(path or ('none',))}"))
            continue
        passed_over += [(last, _LATER)] if last else []
        path, last = after, label
    return Outcome(path, last, tuple(passed_over))


@dataclass(frozen=True)
class _Decided:
    """A product of whose label something was decided: what it was before, and what becomes of it."""

    before: CategoryPath | None
    after: Outcome

    @property
    def kind(self) -> str:
        """changed, already, kept or excluded; none where no decision counts."""
        if self.after.decided is None:
            return "none"
        verdict = self.after.decided.verdict
        if verdict == EXCLUDES:
            return "excluded"
        if verdict in CONFIRMS and self.after.path == self.before:
            return "kept"
        return "already" if self.after.path == self.before else "changed"


@dataclass(frozen=True)
class _Part:
    part: SnapshotPart
    outcomes: tuple[_Decided, ...]
    content: int
    """By how much the sum of the products' hashes differs from what it was."""


def _overlay_part(
    part: SnapshotPart, workspace: Workspace, folder: str, of_item: KeyIndex, by_item: Sequence[Sequence[DecidedLabel]],
    decided_before: bool,
) -> _Part:  # fmt: skip
    """Write a part with the labels that were decided."""
    table = workspace.read_table(part.path)
    number_N = of_item.get(item_keys(table["item_id"]))
    rows: NDArray[np.int64] = np.flatnonzero(number_N >= 0)
    before = [tuple(path) if path else None for path in table["category_path"].take(pa.array(rows)).to_pylist()]
    outcomes = [_Decided(path, decide_label(path, by_item[number])) for path, number in zip(before, number_N[rows].tolist(), strict=True)]
    moved = [(row, each.after.path) for row, each in zip(rows.tolist(), outcomes, strict=True) if each.after.path != each.before]
    said = table[DECIDED].to_pylist() if decided_before else [None] * len(table)
    for row, each in zip(rows.tolist(), outcomes, strict=True):
        said[row] = each.after.decided.verdict if each.after.decided else said[row]
    changed = _with_column(table, DECIDED, pa.array(said, pa.string()))
    content = 0
    if moved:
        paths: list[Any] = table["category_path"].to_pylist()
        for row, path in moved:
            paths[row] = path
        changed = _with_column(changed, "category_path", pa.array(paths, pa.list_(pa.string())))
        at = pa.array([row for row, _ in moved])
        content = content_of(changed.take(at)) - content_of(table.take(at))
    target = part_path(folder, part_name(part.path))
    workspace.write_table(target, changed)
    return _Part(SnapshotPart(path=target, rows=part.rows), tuple(outcomes), content)


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.append_column(name, values) if place < 0 else table.set_column(place, name, values)


def _changed(snapshot: Snapshot, folder: str, done: Sequence[_Part], labels: AppliedLabels) -> Snapshot:
    content = (int(snapshot.fingerprint, 16) + sum(part.content for part in done)) % 2**128
    parts = tuple(part.part for part in done)
    return snapshot.model_copy(update={"folder": folder, "parts": parts, "fingerprint": f"{content:032x}", "labels": labels})


def _check_catalog(decided: DecidedLabels, unknown: set[str], given: str, snapshot: Snapshot) -> None:
    strangers = [label.item_id for label in decided.labels if label.item_id in unknown]
    if len(strangers) > UNKNOWN_SHARE_MAX * len(decided.labels):
        raise ShelfcodeError(
            f"{given}: {len(strangers):,} of its {len(decided.labels):,} rows name products that {snapshot.source} lacks, such as "
            f"{strangers[0]!r}. These labels were decided on another catalog; give those of this one"
        )


def _rejected(label: DecidedLabel, reason: str) -> RejectedRow:
    return RejectedRow(label.item_id, STAGE, f"{reason}{', ' if ':' in reason else ': '}{label.place}", label.row())


def _account(decided: DecidedLabels, done: Sequence[_Part], passed_over: Sequence[RejectedRow]) -> AppliedLabels:
    outcomes = [outcome for part in done for outcome in part.outcomes]
    kinds = Counter(outcome.kind for outcome in outcomes)
    moves = Counter((outcome.before, outcome.after.path) for outcome in outcomes if outcome.kind == "changed")
    most = sorted(moves.items(), key=lambda move: (-move[1], str(move[0])))[:MOVES_SHOWN]
    return AppliedLabels(
        source=decided.url, digest=decided.digest, rows=decided.rows, changed=kinds["changed"], already=kinds["already"],
        kept=kinds["kept"], excluded=kinds["excluded"], passed_over=dict(count_reasons(passed_over)), departments=_departments(moves),
        moves=tuple(LabelMove(before=before, after=after, products=products) for (before, after), products in most),
    )  # fmt: skip


def _departments(moves: Counter[tuple[CategoryPath | None, CategoryPath | None]]) -> tuple[DepartmentChanges, ...]:
    counts: dict[str | None, Counter[str]] = defaultdict(Counter)
    for (before, after), products in moves.items():
        left, entered = (path[0] if path else None for path in (before, after))
        if left == entered:
            counts[left]["within"] += products
        else:
            counts[left]["out"] += products
            counts[entered]["into"] += products
    made = [DepartmentChanges(name=name, within=of["within"], out=of["out"], into=of["into"]) for name, of in counts.items()]
    return tuple(sorted(made, key=lambda of: (-of.within - of.out - of.into, of.name or "")))
