"""A workspace that several nights ran in: 40 products, a release a night, and a part for every few rows that changed."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from shelfcode.attributes.extractor import extractor_name
from shelfcode.attributes.prompt import text_hashes
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.attributes.table import Outcome, attributes_rows, write_part
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.embedding.embeddings import embeddings_table
from shelfcode.keys import Keys, first_copies, owners, row_keys, text_hash
from shelfcode.quantization.semantic_ids import write_coded_texts
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

DAY = 86_400
PRODUCTS = 40
ITEM_IDS = [f"item {number}" for number in range(PRODUCTS)]
EMBEDDINGS = "embeddings/x"
ATTRIBUTES = f"attributes/{extractor_name(ExtractorSettings())}"
DIMENSIONS = 6


@dataclass
class Shelf:
    """What the nights left, and what each release refers to.

    Attributes:
        titles: of the products, as of now.
        referred: release -> row keys of its embeddings.
    """

    workspace: Workspace
    publish_small: Callable[..., Manifest]
    titles: list[str] = field(default_factory=lambda: list(ITEM_IDS))
    referred: dict[str, Keys] = field(default_factory=dict)
    nights: int = 0

    def night(self, changed: Iterable[int] = (), make_current: bool = True, view: str = "raw", rows_per_part: int = 20) -> Manifest:
        """Some products change; they are embedded, their attributes extracted, and all are published."""
        self.nights += 1
        changed = list(changed) if self.nights > 1 else range(PRODUCTS)
        for number in changed:
            self.titles[number] = f"{ITEM_IDS[number]}, oat milk of night {self.nights}"
        snapshot = self.snap()
        texts = pa.table({"item_id": ITEM_IDS, "text_hash": [text_hash(title) for title in self.titles]})
        for first in range(0, len(changed), rows_per_part):
            rows = changed[first : first + rows_per_part]
            self.write_embeddings(texts.take(list(rows)))
            self.write_attributes(list(rows))
        manifest = self.publish_small(self.workspace, make_current)
        recipe = manifest.recipe | {"text_view": {**manifest.recipe["text_view"], "kind": view}}
        manifest = manifest.model_copy(
            update={"recipe": recipe, "catalog": manifest.catalog.model_copy(update={"snapshot": snapshot.folder})}
        )
        self.workspace.write_json(f"{manifest.folder}/manifest.json", manifest.model_dump(mode="json"))
        self.referred[manifest.name] = row_keys(texts["item_id"], texts["text_hash"])
        write_coded_texts(self.workspace, manifest.folder, self.referred[manifest.name])
        return manifest

    def products(self) -> pa.Table:
        none = pa.nulls(PRODUCTS, pa.string())
        return pa.table({"item_id": ITEM_IDS, "title": self.titles, "description": none, "brand": none})

    def snap(self) -> Snapshot:
        """A snapshot whose raw part was replaced by one without duplicates."""
        folder, run = f"catalog/{self.nights}", f"rejected/night-{self.nights}"
        path = f"{folder}/part-000000-000000-distinct.parquet"
        snapshot = Snapshot(
            folder=folder, source="shop.parquet", fingerprint="f" * 32, read=PRODUCTS + 1, rejected=1, rejected_folder=run,
            reasons={"item_id occurs twice": 1}, parts=(SnapshotPart(path=path, rows=PRODUCTS),),
        )  # fmt: skip
        self.workspace.write_table(path, self.products())
        self.workspace.write_table(path.replace("-distinct", ""), self.products())
        self.workspace.write_bytes(f"{run}/part-duplicate.parquet", b"a row")
        self.workspace.write_json(f"{folder}/manifest.json", snapshot.model_dump(mode="json"))
        return snapshot

    def write_embeddings(self, texts: pa.Table, folder: str = EMBEDDINGS) -> None:
        write_part(self.workspace, folder, embeddings_table(texts, vectors(row_keys(texts["item_id"], texts["text_hash"]))))

    def write_attributes(self, numbers: list[int]) -> None:
        products = self.products().take(numbers)
        rows = products.append_column("text_hash", text_hashes(products)).to_pylist()
        write_part(self.workspace, ATTRIBUTES, attributes_rows(rows, [Outcome(None, None)] * len(rows), "rules-v1", {}))

    def rows(self, folder: str = EMBEDDINGS) -> int:
        return sum(len(self.workspace.read_table(part)) for part in self.workspace.parts(folder))

    def files(self) -> dict[str, bytes]:
        """Every file but the leases', which come and go with their runs."""
        paths = [file.path for file in self.workspace.files("")]
        return {path: self.workspace.read_bytes(path) for path in paths if not path.startswith("leases/")}

    def age(self, days: float, folder: str = "") -> None:
        """Make the files of a folder that old, in a local workspace."""
        for file in self.workspace.files(folder):
            path = Path(self.workspace.path(file.path))
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - days * DAY))


def vectors(keys: Keys) -> np.ndarray:
    """The embedding of a text follows from its key."""
    return np.stack([np.random.default_rng(int(key)).normal(size=DIMENSIONS) for key in keys]).astype(np.float32)


def found_once(workspace: Workspace, folder: str, keys: Keys) -> bool:
    """Whether a reader of a table of embeddings finds each of these rows exactly once, with its own vector."""
    parts = workspace.parts(folder)
    owner = owners(workspace, parts, keys)
    found: list[int] = []
    for number, part in enumerate(parts):
        table = workspace.read_table(part)
        table = table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), owner, number)))
        mine = row_keys(table["item_id"], table["text_hash"])
        x_ND = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, DIMENSIONS)
        if len(mine) and not np.array_equal(x_ND, vectors(mine)):
            return False
        found += mine.tolist()
    return sorted(found) == sorted(keys.tolist())
