"""Examples come from neighbouring versions that both have a code; rich products keep their places."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.evaluation.sparse.coded_texts import CodedTexts, read_rich, step_examples, words_in
from shelfcode.evaluation.sparse.cut_texts import Ladders
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.workspace import Workspace


def coded(positions: list[int], codes: list[list[int]]) -> CodedTexts:
    signals_NF = np.array(positions, np.float32)[:, None].repeat(10, axis=1)
    return CodedTexts(np.array(positions), np.ones(len(positions), np.int64), np.array(codes).reshape(-1, 2), signals_NF)


def test_a_step_is_an_example_of_the_shorter_text() -> None:
    ladders = Ladders(pa.table({"item_id": list("abcdef")}), np.array([0, 0, 0, 7, 7, 7]), np.array([0, 1, 2, 0, 1, 2]))
    versions = coded([0, 1, 2, 4, 5], [[1, 1], [1, 2], [2, 2], [3, 3], [3, 3]])  # version 3 has no code
    first, second = step_examples(ladders, versions)
    assert first.changed_X.tolist() == [False, True, False]
    assert second.changed_X.tolist() == [True, True, False]
    assert first.signals_XF[:, 0].tolist() == [0, 1, 4], "the signals are those before the sentence is added"
    assert first.product_X.tolist() == [0, 0, 7]
    assert first.sentences_X.tolist() == [0, 1, 1]


def test_some_places_of_a_snapshot_are_a_snapshot() -> None:
    part = coded([0, 2, 3, 5], [[0, 0], [2, 2], [3, 3], [5, 5]]).between(2, 5)
    assert part.positions_N.tolist() == [0, 1]
    assert part.codes_NL.tolist() == [[2, 2], [3, 3]]


def test_rich_products_are_found_among_the_coded_ones(tmp_path: Path) -> None:
    workspace, parts = Workspace(str(tmp_path)), []
    for number, texts in enumerate((["A. B. C.", "A.", "A. B. C."], ["A. B. C.", None])):
        rows = [{"item_id": f"{number}{at}", "title": "t", "description": text, "brand": None} for at, text in enumerate(texts)]
        table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in ("item_id", "title", "description", "brand")]))
        path = f"catalog/x/part-{number:06d}-000000.parquet"
        workspace.write_table(path, table)
        parts.append(SnapshotPart(path=path, rows=len(rows)))
    snapshot = Snapshot(
        folder="catalog/x", source="x", fingerprint="f", read=5, rejected=0, rejected_folder="rejected/1", reasons={}, parts=tuple(parts)
    )
    products = coded([1, 2, 3, 4], [[0, 0]] * 4)  # the first product has no code
    rich, place_R = read_rich(workspace, snapshot, products, SparseSettings())
    assert rich["item_id"].to_pylist() == ["02", "10"]
    assert place_R.tolist() == [1, 2]


def test_words_of_texts() -> None:
    assert words_in(["oat milk", ""]).tolist() == [2, 0]
