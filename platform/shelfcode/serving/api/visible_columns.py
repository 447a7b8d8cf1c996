"""Which columns of a release's products a caller may see: of the catalog's own only those that are named, so that costs stay inside."""

from collections.abc import Collection, Sequence

from shelfcode.index.item_store import ItemStore
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.surface_settings import ATTRIBUTES


def visible_columns(items: ItemStore, allowed: Collection[str]) -> list[str]:
    """The columns that a list of allowed ones covers, in the order of the store.

    Args:
        allowed: names of columns; `attributes` stands for all attributes.
    """
    extracted = set(items.attributes.values()) if ATTRIBUTES in allowed else set()
    return [name for name in items.columns if name == "item_id" or name in allowed or name in extracted]


def check_columns(items: ItemStore, names: Sequence[str], allowed: Collection[str]) -> None:
    """Refuse columns that a caller may not see, or that are not there; which of the two is not told.

    Raises:
        Problem: names the columns that may be asked for.
    """
    visible = visible_columns(items, allowed)
    if strangers := [name for name in names if name not in visible]:
        raise Problem("invalid-request", f"this endpoint shows no column {', '.join(strangers)[:200]}; it has {', '.join(visible)}")
