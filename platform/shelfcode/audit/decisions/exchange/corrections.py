"""Corrections as Parquet and CSV: written for whoever sets the labels in the catalog, and read by --labels without loss."""

import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from shelfcode.catalog.decided_labels import PATHS, SETS, guarded, shown_path

FORMATS = ("parquet", "csv")

COLUMNS = ("item_id", "from_path", "to_path", "verdict", "reviewers", "decision_ids", "text_hash", "at", "note", "finding_id", "state")

NAMES_SEPARATOR = "; "


def chosen_corrections(corrections: pa.Table, only_agreed: bool = False, only_new: bool = False) -> pa.Table:
    """The rows of Desk.corrections that are asked for, in the columns of the files. `to_path` is null where no label is to be set.

    Args:
        only_agreed: those that two people stand behind: a second reviewer, or a lead.
        only_new: those that were not exported before.
    """
    keep = pa.array([True] * len(corrections), pa.bool_())
    if only_agreed:
        keep = pc.and_(keep, pc.greater(pc.list_value_length(corrections["reviewers"]), 1))
    if only_new:
        keep = pc.and_(keep, pc.invert(pc.is_in(corrections["state"], pa.array(["exported", "applied", "reverted"]))))
    rows = corrections.filter(keep).select(COLUMNS)
    sets = [verdict in SETS for verdict in rows["verdict"].to_pylist()]
    to_path = [path if set_ else None for path, set_ in zip(rows["to_path"].to_pylist(), sets, strict=True)]
    return rows.set_column(rows.schema.get_field_index("to_path"), "to_path", pa.array(to_path, pa.list_(pa.string())))


def parquet_bytes(corrections: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(corrections, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def csv_bytes(corrections: pa.Table) -> bytes:
    """Paths as one text for the eye, with the JSON list beside it that is read back. Texts that people wrote begin no formula in a
    spreadsheet; an item_id stays what it is, whatever it begins with."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"item_id": corrections["item_id"]}
    for name in PATHS:
        columns[name] = _texts(corrections[name], shown_path)
        columns[f"{name}_json"] = _texts(corrections[name], lambda path: json.dumps(path, ensure_ascii=False) if path else "")
    columns["verdict"] = corrections["verdict"]
    columns["reviewers"] = _texts(corrections["reviewers"], lambda names: guarded(NAMES_SEPARATOR.join(names or ())))
    columns["decision_ids"] = _texts(corrections["decision_ids"], lambda numbers: NAMES_SEPARATOR.join(map(str, numbers or ())))
    columns["text_hash"] = corrections["text_hash"]
    columns["at"] = _texts(corrections["at"], lambda at: at.isoformat() if at else "")
    columns["note"] = _texts(corrections["note"], lambda note: guarded(note or ""))
    columns |= {name: corrections[name] for name in ("finding_id", "state")}
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(pa.table(columns), sink, pa_csv.WriteOptions(quoting_style="needed"))
    return bytes(sink.getvalue().to_pybytes())


def _texts(values: pa.ChunkedArray, write: Callable[..., str]) -> pa.Array:
    return pa.array(list(map(write, values.to_pylist())), pa.string())
