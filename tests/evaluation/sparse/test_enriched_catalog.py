"""The enriched copy has every row of the catalog, in order, with what was inferred beside the right ones."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.evaluation.sparse.agreement import Agreed
from shelfcode.evaluation.sparse.enriched_catalog import write_enriched
from shelfcode.workspace import Workspace


def test_each_product_keeps_what_it_has_and_gets_what_is_its_own(tmp_path: Path) -> None:
    workspace, out, parts = Workspace(str(tmp_path / "ws")), Workspace(str(tmp_path / "out")), []
    out.write_table("part-000007.parquet", pa.table({"stale": [1]}))
    for number, rows in enumerate((["a", "b", "c"], ["d", "e"])):
        path = f"catalog/x/part-{number:06d}-000000.parquet"
        columns = {
            "item_id": rows,
            "title": rows,
            "description": [None if row == "e" else f"{row}." for row in rows],
            "brand": [None] * len(rows),
        }
        schema = {"description": pa.string(), "brand": pa.string()}
        table = pa.table(
            {name: pa.array(values, schema.get(name)) for name, values in columns.items()} | {"_original": rows, "shelf": rows}
        )
        workspace.write_table(path, table)
        parts.append(SnapshotPart(path=path, rows=len(rows)))
    snapshot = Snapshot(
        folder="catalog/x", source="x", fingerprint="f", read=5, rejected=0, rejected_folder="rejected/1", reasons={}, parts=tuple(parts)
    )
    coded_N = np.array([0, 2, 3, 4])  # b has no code
    sparse = pa.table({"sparse": [False, True, False, True], "p_change_l1": pa.array([0.1, 0.5, 0.0, 0.9], pa.float32())})
    inferred = {"brand": [Agreed("for c", "1_2_3", 3, 1.0), None]}
    write_enriched(workspace, snapshot, coded_N, sparse, inferred, [None, "Leaf of e"], "precision@v0001", out)

    assert out.names("") == ["part-000000.parquet", "part-000001.parquet"]
    rows = pa.concat_tables(out.read_tables(out.names(""))).to_pylist()
    assert [row["item_id"] for row in rows] == list("abcde")
    assert [row["shelf"] for row in rows] == list("abcde")
    assert "_original" not in rows[0]
    assert [row["brand"] for row in rows] == [None] * 5, "what is given is not replaced"
    assert [row["inferred_brand"] for row in rows] == [None, None, "for c", None, None]
    assert [row["enriched_brand"] for row in rows] == [None, None, "for c", None, None]
    assert [row["enriched_description"] for row in rows] == ["a.", "b.", "c.", "d.", "Leaf of e."]
    assert [row["sparse"] for row in rows] == [False, False, True, False, True]
    assert [row["p_change_l1"] is None for row in rows] == [False, True, False, False, False]
    assert rows[2]["inferred_from"][0]["prefix"] == "1_2_3"
    assert rows[4]["inferred_from"] is None
