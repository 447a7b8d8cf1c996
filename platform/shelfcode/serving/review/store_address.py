"""Where the store of decisions is: the URL of a database, or the path of an SQLite file."""

from pathlib import Path

from shelfcode.errors import ShelfcodeError
from shelfcode.serving.surface_settings import SurfaceSettings

SQLITE = "sqlite:///"


def store_url(store: str, folder: Path) -> str:
    """The URL of a store, whole: a path is that of an SQLite file, and one that is relative begins at `folder`.

    Whoever opens the store may do so in another folder, where a relative path would lead to another file, without a word.
    """
    path = store.removeprefix(SQLITE)
    if "://" in path:
        return store
    return f"{SQLITE}{(folder / Path(path).expanduser()).absolute()}"


def with_review_store(settings: SurfaceSettings, store: str | None, folder: Path) -> SurfaceSettings:
    """The settings with the whole URL of their review store, or of another one instead.

    Args:
        store: another one; None for that of the settings.
        folder: that of surfaces.yaml, at which its relative paths begin.
    """
    chosen = store or settings.review.store
    if chosen is None:
        return settings
    return settings.model_copy(update={"review": settings.review.model_copy(update={"store": store_url(chosen, folder)})})


def check_review_store(settings: SurfaceSettings, nodes: int) -> None:
    """Refuse a file as the review store of a cluster.

    Raises:
        ShelfcodeError: there are several nodes: a replica of the ingress that starts on another one would begin a second file.
    """
    store = settings.review.store
    if store is not None and store.startswith("sqlite") and nodes > 1:
        raise ShelfcodeError(
            f"review.store is a file of one node, and the cluster has {nodes}: reviewers would write to a file on each. Use PostgreSQL: "
            "store: postgresql+psycopg://HOST/DATABASE"
        )
