"""The table is plain Parquet that other teams read without our library; training reads the right vector for every product from it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.embedding.embeddings import embedding_matrix, embeddings_table
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import row_keys
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

FOLDER = "embeddings/m"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace, on a node whose scratch folder is empty."""
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    return Workspace(str(tmp_path / "workspace"))


def texts_of(rows: range, version: str = "a") -> pa.Table:
    return pa.table({"item_id": [f"i{row}" for row in rows], "text_hash": [f"{version}{row}" for row in rows]})


def vector_of(item_id: str, text_hash: str, dimensions: int = 8) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(f"{item_id} {text_hash}".encode(), digest_size=4).digest(), "big")
    return np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)


def store(workspace: Workspace, name: str, texts: pa.Table, dimensions: int = 8) -> None:
    x_ND = np.stack([vector_of(row["item_id"], row["text_hash"], dimensions) for row in texts.to_pylist()])
    workspace.write_table(f"{FOLDER}/part-{name}.parquet", embeddings_table(texts, x_ND))


def test_every_row_of_the_matrix_is_the_vector_of_its_key(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    store(workspace, "0", texts_of(range(0, 40)))
    store(workspace, "1", texts_of(range(30, 90)))  # some rows twice
    store(workspace, "2", texts_of(range(0, 20), version="b"))  # the same products with another text
    wanted = pa.concat_tables([texts_of(range(89, 50, -3)), texts_of(range(5, 9), version="b"), texts_of(range(0, 5))])
    x_ND = embedding_matrix(workspace, FOLDER, row_keys(wanted["item_id"], wanted["text_hash"]))
    assert x_ND.dtype == np.float32
    np.testing.assert_array_equal(x_ND, np.stack([vector_of(**row) for row in wanted.to_pylist()]))


def test_products_with_one_text_have_one_vector_whatever_batch_each_was_embedded_in(workspace: Workspace) -> None:
    texts = pa.table({"item_id": [f"i{row}" for row in range(6)], "text_hash": ["same", "own", "same", "other", "same", "own"]})
    x_ND = np.eye(6, 8, dtype=np.float32)
    for part in range(2):
        workspace.write_table(f"{FOLDER}/part-{part}.parquet", embeddings_table(texts.take(list(range(part, 6, 2))), x_ND[part::2]))
    keys_N = row_keys(texts["item_id"], texts["text_hash"])
    found_ND = embedding_matrix(workspace, FOLDER, keys_N)
    np.testing.assert_array_equal(found_ND, x_ND[[0, 1, 0, 3, 0, 1]])


def test_the_matrix_is_mapped_and_cannot_be_written_to(workspace: Workspace) -> None:
    store(workspace, "0", texts_of(range(10)))
    texts = texts_of(range(10))
    x_ND = embedding_matrix(workspace, FOLDER, row_keys(texts["item_id"], texts["text_hash"]))
    assert isinstance(x_ND, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        x_ND[0, 0] = 1


def test_it_is_built_once_and_built_anew_for_another_catalog_without_piling_up(workspace: Workspace) -> None:
    store(workspace, "0", texts_of(range(10)))
    before = set(scratch_folder().glob("*.npy"))
    first_keys = row_keys(texts_of(range(10))["item_id"], texts_of(range(10))["text_hash"])
    first_ND = embedding_matrix(workspace, FOLDER, first_keys)
    built = set(scratch_folder().glob("*.npy")) - before
    workspace.remove(f"{FOLDER}/part-0.parquet")
    np.testing.assert_array_equal(embedding_matrix(workspace, FOLDER, first_keys), first_ND)

    store(workspace, "1", texts_of(range(5, 15)))
    some = texts_of(range(5, 15))
    second_ND = embedding_matrix(workspace, FOLDER, row_keys(some["item_id"], some["text_hash"]))
    np.testing.assert_array_equal(second_ND[0], vector_of("i5", "a5"))
    np.testing.assert_array_equal(first_ND[0], vector_of("i0", "a0"))  # whoever has it open keeps it
    now = set(scratch_folder().glob("*.npy")) - before
    assert len(built) == len(now) == 1
    assert built != now


def test_workers_that_ask_at_the_same_time_get_the_same_matrix(workspace: Workspace) -> None:
    texts = texts_of(range(200))
    store(workspace, "0", texts)
    keys_N = row_keys(texts["item_id"], texts["text_hash"])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: np.array(embedding_matrix(workspace, FOLDER, keys_N)), range(4)))
    for x_ND in found:
        np.testing.assert_array_equal(x_ND, np.stack([vector_of(**row) for row in texts.to_pylist()]))


def test_a_product_without_an_embedding_is_not_trained_on_as_zeros(workspace: Workspace) -> None:
    store(workspace, "0", texts_of(range(10)))
    texts = texts_of(range(13))
    keys_N = row_keys(texts["item_id"], texts["text_hash"])
    for _ in range(2):  # what a failed build left must not pass for a matrix
        with pytest.raises(ShelfcodeError, match=f"{FOLDER} lacks the embeddings of 3 products; run the embedding again"):
            embedding_matrix(workspace, FOLDER, keys_N)
    with pytest.raises(ShelfcodeError, match="lacks the embeddings of 13 products"):
        embedding_matrix(workspace, "embeddings/none", keys_N)


def test_parts_of_different_dimensions_are_refused(workspace: Workspace) -> None:
    store(workspace, "0", texts_of(range(10)))
    store(workspace, "1", texts_of(range(10, 20)), dimensions=6)
    texts = texts_of(range(20))
    with pytest.raises(ShelfcodeError, match=r"part-1\.parquet has embeddings of 6 dimensions, other parts of 8"):
        embedding_matrix(workspace, FOLDER, row_keys(texts["item_id"], texts["text_hash"]))


def test_a_vector_that_is_not_finite_is_named_before_it_spoils_the_training(workspace: Workspace) -> None:
    texts = texts_of(range(4))
    x_ND = np.ones((4, 8), np.float32)
    x_ND[2, 3] = np.nan
    workspace.write_table(f"{FOLDER}/part-0.parquet", embeddings_table(texts, x_ND))
    with pytest.raises(ShelfcodeError, match="the embedding of item_id i2 is not finite"):
        embedding_matrix(workspace, FOLDER, row_keys(texts["item_id"], texts["text_hash"]))


def test_stored_embeddings_are_a_plain_fixed_size_list_of_float32(tmp_path: Path) -> None:
    x_ND = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    texts = pa.table({"item_id": [str(row) for row in range(5)], "text": ["t"] * 5, "text_hash": [f"h{row}" for row in range(5)]})
    Workspace(str(tmp_path)).write_table("embeddings/m/part-0.parquet", embeddings_table(texts, x_ND))
    table = pq.read_table(tmp_path / "embeddings/m/part-0.parquet")
    assert table.schema.names == ["item_id", "text_hash", "embedding"]
    assert table.schema.field("item_id").type == pa.string()
    kind = table.schema.field("embedding").type
    assert pa.types.is_fixed_size_list(kind)
    assert (kind.list_size, kind.value_type) == (12, pa.float32())
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), x_ND)
