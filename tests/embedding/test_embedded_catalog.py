"""The embeddings table is plain Parquet that other teams read without our library."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shelfcode.embedding.embedded_catalog import embeddings_table
from shelfcode.workspace import Workspace


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
