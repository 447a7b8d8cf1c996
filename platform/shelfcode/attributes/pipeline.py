"""Snapshot -> attributes, by Ray Data: each product's text goes through the extractor once."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
import ray.data

from shelfcode.attributes.rules import RULES_EXTRACTOR, extract_batch
from shelfcode.attributes.schema import ATTRIBUTES_SCHEMA
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.keys import KeyIndex, owners, row_keys, stored_rows, text_hash
from shelfcode.workspace import Workspace

EXTRACTED_COLUMNS = ["item_id", "title", "description", "brand"]


@dataclass(frozen=True)
class ExtractedCatalog:
    """Where the attributes of a snapshot's products are.

    Attributes:
        parts: of the attributes table, those of other products among them.
        owner: row key of each of the snapshot's products -> number of the part that holds its attributes.
        extracted, reused: products that went through the extractor, and that had been through it before.
    """

    parts: tuple[str, ...]
    owner: KeyIndex
    extracted: int
    reused: int


def extract_attributes(snapshot: Snapshot, workspace: Workspace, progress: Callable[[int], None]) -> ExtractedCatalog:
    """Attributes of every product of a snapshot, by the rules extractor; unchanged texts are not extracted again."""
    folder = f"attributes/{RULES_EXTRACTOR}"
    known = ray.put(stored_rows(workspace, workspace.parts(folder)))
    dataset = ray.data.from_items([part.path for part in snapshot.parts], override_num_blocks=len(snapshot.parts))
    arguments = {"workspace": workspace, "folder": folder, "known": known}
    keys, extracted = [], 0
    for done in dataset.map_batches(_extract_part, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments).iter_rows():
        keys.append(np.frombuffer(done["row_keys"], dtype=np.uint64))
        extracted += int(done["extracted"])
        progress(len(keys[-1]))
    parts = workspace.parts(folder)
    keys_N = np.concatenate(keys)
    return ExtractedCatalog(tuple(parts), owners(workspace, parts, keys_N), extracted, len(keys_N) - extracted)


def _extract_part(item: pa.Table, workspace: Workspace, folder: str, known: "ray.ObjectRef[KeyIndex]") -> Iterator[pa.Table]:
    products = workspace.read_table(item["item"][0].as_py(), columns=EXTRACTED_COLUMNS)
    texts = ("\x1f".join(value or "" for value in row.values()) for row in products.drop_columns("item_id").to_pylist())
    products = products.append_column("text_hash", pa.array([text_hash(text) for text in texts], pa.string()))
    keys_N = row_keys(products["item_id"], products["text_hash"])
    new = products.filter(pa.array(ray.get(known).get(keys_N) < 0))
    if len(new):
        name = hashlib.blake2b(row_keys(new["item_id"], new["text_hash"]).tobytes(), digest_size=8).hexdigest()
        found = extract_batch(new["title"].to_pylist(), new["description"].to_pylist(), new["brand"].to_pylist())
        rows = [attributes.model_dump() for attributes in found]
        columns = {name: pa.array([row[name] for row in rows], ATTRIBUTES_SCHEMA.field(name).type) for name in ATTRIBUTES_SCHEMA.names[2:]}
        table = pa.table({"item_id": new["item_id"], "text_hash": new["text_hash"], **columns}, schema=ATTRIBUTES_SCHEMA)
        workspace.write_table(f"{folder}/part-{name}.parquet", table)
    yield pa.table({"row_keys": pa.array([keys_N.tobytes()], pa.large_binary()), "extracted": [len(new)]})
