"""What rides along in a catalog is nobody's business unless it is named; attributes come under one word."""

from pathlib import Path

import pyarrow as pa
import pytest

from shelfcode.index.item_store import ATTRIBUTE, ItemStore
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.visible_columns import check_columns, visible_columns
from shelfcode.serving.surface_settings import COLUMNS


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> ItemStore:
    """Columns of a catalog with a cost and a format of its own, and two attributes."""
    names = {
        "item_id": None,
        "title": None,
        "price": None,
        "cost": None,
        "format": None,
        "attributes.format": "format",
        "occasion": "occasion",
    }
    fields = [pa.field(name, pa.string(), metadata={ATTRIBUTE: of.encode()} if of else None) for name, of in names.items()]
    path = tmp_path_factory.mktemp("items") / "items.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema(fields)) as writer:
        writer.write_table(pa.table([["x"]] * len(fields), schema=pa.schema(fields)))
    return ItemStore(Path(path))


@pytest.mark.parametrize(
    ("allowed", "visible"),
    [
        (COLUMNS, ["item_id", "title", "price", "attributes.format", "occasion"]), ((), ["item_id"]), (("cost",), ["item_id", "cost"]),
        (("attributes",), ["item_id", "attributes.format", "occasion"]), (("occasion", "nothing"), ["item_id", "occasion"]),
    ],
)  # fmt: skip
def test_only_what_is_named_can_be_seen(items: ItemStore, allowed: tuple[str, ...], visible: list[str]) -> None:
    assert visible_columns(items, allowed) == visible
    check_columns(items, visible, allowed)


def test_a_hidden_column_is_refused_in_the_words_of_one_that_is_not_there(items: ItemStore) -> None:
    told = []
    for name in ("cost", "none"):
        with pytest.raises(Problem) as raised:
            check_columns(items, ["title", name], COLUMNS)
        assert raised.value.kind == "invalid-request"
        told.append(raised.value.detail.replace(name, ""))
    assert told[0] == told[1]
