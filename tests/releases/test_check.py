"""A release whose files are not what its manifest says is told from one that is whole, and the file is named."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.releases.check import check_files, check_release
from shelfcode.releases.release import Manifest, RowCounts
from shelfcode.workspace import Workspace

FIRST, LAST = "semantic_ids/part-000000.parquet", "semantic_ids/part-000001.parquet"
ROWS = 20
"""Rows of each part of the release that is damaged here; its codebooks are 8 and 16 codewords."""

Damage = Callable[[Workspace, str], None]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def manifest(workspace: Workspace, publish_small: Callable[..., Manifest]) -> Manifest:
    return publish_small(workspace)


def cut(name: str, kept: slice) -> Damage:
    """A file of which only some bytes are left."""
    return lambda workspace, folder: workspace.write_bytes(f"{folder}/{name}", workspace.read_bytes(f"{folder}/{name}")[kept])


def gone(name: str) -> Damage:
    return lambda workspace, folder: workspace.remove(f"{folder}/{name}")


def zeroed(name: str) -> Damage:
    """A file that lost its first rows and kept its footer, where the number of rows stands."""

    def damage(workspace: Workspace, folder: str) -> None:
        data = workspace.read_bytes(f"{folder}/{name}")
        workspace.write_bytes(f"{folder}/{name}", data[:4] + bytes(56) + data[60:])

    return damage


def last_part(change: Callable[[pa.Table], pa.Table]) -> Damage:
    """The last part, written again with other rows or columns."""
    return lambda workspace, folder: workspace.write_table(f"{folder}/{LAST}", change(workspace.read_table(f"{folder}/{LAST}")))


def column(name: str, values: pa.Array) -> Damage:
    return last_part(lambda table: table.set_column(table.column_names.index(name), name, values))


def codes(values: list[int | None], number: pa.DataType | None = None, levels: int = 2) -> Damage:
    return column("codes", pa.FixedSizeListArray.from_arrays(pa.array(values, number or pa.uint16()), levels))


def names(*numbers: int) -> pa.Array:
    return pa.array([f"item {number}" for number in numbers], pa.string())


GOOD = [0] * (2 * ROWS)
DAMAGES: dict[str, tuple[Damage, str]] = {
    "half a model": (cut("model.safetensors", slice(1000)), "model.safetensors cannot be loaded"),
    "a model without its last byte": (cut("model.safetensors", slice(-1)), "model.safetensors cannot be loaded"),
    "no model": (gone("model.safetensors"), "model.safetensors cannot be loaded"),
    "half a part": (cut(FIRST, slice(300)), f"{FIRST} cannot be read"),
    "a part without its last byte": (cut(LAST, slice(-1)), f"{LAST} cannot be read"),
    "an empty part": (cut(FIRST, slice(0)), f"{FIRST} cannot be read"),
    "a part of zeros": (zeroed(FIRST), f"{FIRST} cannot be read"),
    "a part gone": (gone(FIRST), "semantic_ids holds 20 products in 1 parts, and manifest.json says 40"),
    "all parts gone": (gone("semantic_ids"), "semantic_ids holds 0 products in 0 parts, and manifest.json says 40"),
    "a row lost": (last_part(lambda table: table.slice(1)), "semantic_ids holds 39 products in 2 parts"),
    "an item_id twice": (column("item_id", names(20, 20, *range(22, 40))), f"{LAST} has an item_id that occurred before; there are 1 "),
    "another part again": (column("item_id", names(*range(20))), f"{LAST} has an item_id that occurred before; there are 20 "),
    "no item_id": (column("item_id", pa.array([None] * ROWS, pa.string())), f"{LAST} has rows without item_id or codes"),
    "no code": (codes([None, *GOOD[1:]]), f"{LAST} has rows without item_id or codes"),
    "a code too large": (codes([*GOOD[:-1], 16]), f"{LAST}: code 16 of level 2 lies outside its codebook of 16 codewords"),
    "a code too large above": (codes([8, *GOOD[1:]]), f"{LAST}: code 8 of level 1 lies outside its codebook of 8 codewords"),
    "a level less": (codes(GOOD[:ROWS], levels=1), f"{LAST} has other columns than item_id, semantic_id and codes of 2 levels"),
    "other numbers": (codes(GOOD, pa.int32()), f"{LAST} has other columns"),
    "lists of any length": (column("codes", pa.array([[0, 0]] * ROWS, pa.list_(pa.uint16()))), f"{LAST} has other columns"),
    "numbers for item_id": (column("item_id", pa.array(range(ROWS))), f"{LAST} has other columns"),
    "no codes": (last_part(lambda table: table.drop_columns("codes")), f"{LAST} has other columns"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_what_is_damaged_is_named(case: str, workspace: Workspace, manifest: Manifest) -> None:
    check_release(workspace, manifest)
    damage, told = DAMAGES[case]
    damage(workspace, manifest.folder)
    with pytest.raises(ShelfcodeError) as raised:
        check_release(workspace, manifest)
    assert f"{workspace.address(manifest.folder)}/{told}" in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        codes([7, 15] * ROWS),
        column("item_id", names(*range(39, 19, -1))),
        last_part(lambda table: table.append_column("note", names(*range(ROWS)))),
        lambda workspace, folder: workspace.write_table(
            f"{folder}/{LAST[:-9]}2.parquet", workspace.read_table(f"{folder}/{LAST}").slice(ROWS)
        ),
    ],
    ids=["the last codeword of each level", "another order", "a column more", "a part without rows"],
)
def test_what_the_contract_allows_passes(change: Damage, workspace: Workspace, manifest: Manifest) -> None:
    before = workspace.parts(f"{manifest.folder}/semantic_ids")
    change(workspace, manifest.folder)
    assert workspace.parts(f"{manifest.folder}/semantic_ids")[:2] == before
    check_release(workspace, manifest)


def test_a_manifest_that_counts_otherwise_is_refused(workspace: Workspace, manifest: Manifest) -> None:
    more = manifest.model_copy(update={"rows": RowCounts(read=41, coded=41, rejected=0)})
    with pytest.raises(ShelfcodeError, match=r"holds 40 products in 2 parts, and manifest\.json says 41"):
        check_release(workspace, more)


@pytest.mark.parametrize(
    "changed", [{"codebook_sizes": [8, 17]}, {"codebook_sizes": [8, 16, 16]}, {"hidden_sizes": [9]}, {"latent_size": 5}]
)
def test_a_model_of_another_recipe_is_refused(changed: dict[str, object], workspace: Workspace, manifest: Manifest) -> None:
    recipe = {**manifest.recipe, "quantizer": {"hidden_sizes": [8], "latent_size": 4, "codebook_sizes": [8, 16], **changed}}
    with pytest.raises(ShelfcodeError, match=r"model\.safetensors cannot be loaded"):
        check_release(workspace, manifest.model_copy(update={"recipe": recipe}))


SIZES = {
    "half a part": (cut(FIRST, slice(300)), f"{FIRST} cannot be read: it has 300 bytes"),
    "a model without its last byte": (cut("model.safetensors", slice(-1)), "model.safetensors cannot be loaded: it has"),
    "no model": (gone("model.safetensors"), "model.safetensors is gone"),
    "a part gone": (gone(FIRST), f"{FIRST} is gone"),
    "a part more": (
        lambda workspace, folder: workspace.write_table(f"{folder}/semantic_ids/part-7.parquet", workspace.read_table(f"{folder}/{LAST}")),
        "semantic_ids/part-7.parquet is no part of the release",
    ),
}


@pytest.mark.parametrize("case", SIZES)
def test_files_are_held_against_their_sizes_without_reading_them(
    case: str, workspace: Workspace, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(manifest.files) == {"model.safetensors", FIRST, LAST}
    damage, told = SIZES[case]
    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "read_bytes", None)
        patched.setattr(Workspace, "read_table", None)
        check_files(workspace, manifest)
    damage(workspace, manifest.folder)
    with pytest.raises(ShelfcodeError) as raised:
        check_files(workspace, manifest)
    assert f"{workspace.address(manifest.folder)}/{told}" in str(raised.value)


def test_a_release_that_lists_no_files_is_read(workspace: Workspace, manifest: Manifest) -> None:
    before = manifest.model_copy(update={"files": {}})
    check_files(workspace, before)
    cut(LAST, slice(-1))(workspace, manifest.folder)
    with pytest.raises(ShelfcodeError, match="cannot be read"):
        check_files(workspace, before)
