"""By Ray Data a catalog becomes the same snapshot as in one process."""

from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import read_catalog
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.workspace import Workspace

pytestmark = pytest.mark.usefixtures("local_ray")

SETTINGS = CatalogSettings(category_separator=" > ")
CSV = (
    b"item_id,title,category_path,price\nc1,Oats,Food > Grains,2.50\nc2,Caf\xe9,Food,1\np7,Again,Food,1\n"
    b"c6,Spelt,Food,cheap\nc1,Oats again,Food,1\n"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files: a good one, and one with bad rows and with item_ids that came before."""
    folder = tmp_path_factory.mktemp("source") / "shop"
    folder.mkdir()
    rows = [
        {"item_id": f"p{number}", "title": f"Product {number}", "category_path": ["Food", f"Aisle {number % 3}"]} for number in range(20)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    (folder / "c.csv").write_bytes(CSV)
    return folder


def stored(workspace: Workspace, snapshot: Snapshot) -> list[list[dict[str, object]]]:
    """Products and rejected rows, part by part."""
    paths = [*(part.path for part in snapshot.parts), *workspace.parts(snapshot.rejected_folder)]
    return [workspace.read_table(path).to_pylist() for path in paths]


def test_many_tasks_store_what_one_process_stores(shop: Path, tmp_path: Path) -> None:
    alone, together = Workspace(str(tmp_path / "alone")), Workspace(str(tmp_path / "together"))
    told: list[int] = []
    expected = read_catalog(str(shop), SETTINGS, alone, "run", lambda _: None)
    snapshot = take_snapshot(str(shop), SETTINGS, together, "run", told.append)
    assert snapshot == expected
    assert sum(told) == snapshot.read == 25
    assert stored(together, snapshot) == stored(alone, expected)
    assert take_snapshot(str(shop), SETTINGS, together, "later", told.append) == snapshot


def test_source_and_workspace_may_both_lie_in_a_bucket(shop: Path, tmp_path: Path, s3: str) -> None:
    fsspec.filesystem("s3").put(f"{shop}/", f"{s3}/pipeline/shop/", recursive=True)
    workspace, local = Workspace(f"{s3}/pipeline/workspace"), Workspace(str(tmp_path))
    snapshot = take_snapshot(f"{s3}/pipeline/shop", SETTINGS, workspace, "run", lambda _: None)
    expected = read_catalog(str(shop), SETTINGS, local, "run", lambda _: None)
    assert (snapshot.read, snapshot.reasons, snapshot.fingerprint) == (expected.read, expected.reasons, expected.fingerprint)
    products = [[row for part in taken.parts for row in place.read_table(part.path).to_pylist()]
                for place, taken in ((workspace, snapshot), (local, expected))]  # fmt: skip
    assert products[0] == products[1]
    assert sum(len(workspace.read_table(part)) for part in workspace.parts(snapshot.rejected_folder)) == expected.rejected
    assert take_snapshot(f"{s3}/pipeline/shop", SETTINGS, workspace, "later", lambda _: None) == snapshot
