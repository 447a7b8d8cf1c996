"""A store means the same file or database wherever it is opened."""

from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.serving.review.store_address import check_review_store, store_url, with_review_store
from shelfcode.serving.surface_settings import SurfaceSettings

FOLDER = Path("/srv/shop")
POSTGRES = "postgresql+psycopg://db/review"


def settings(**review: str) -> SurfaceSettings:
    return SurfaceSettings.model_validate({"surfaces": {"search": "precision"}, "auth": "none", "review": review})


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("review.sqlite", "sqlite:////srv/shop/review.sqlite"),
        ("sqlite:///review.sqlite", "sqlite:////srv/shop/review.sqlite"),
        ("/data/review.sqlite", "sqlite:////data/review.sqlite"),
        ("sqlite:////data/review.sqlite", "sqlite:////data/review.sqlite"),
        ("~/review.sqlite", f"sqlite:///{Path.home()}/review.sqlite"),
        (POSTGRES, POSTGRES),
    ],
)
def test_a_path_is_whole_and_a_url_stays_as_it_is(store: str, url: str) -> None:
    assert store_url(store, FOLDER) == url


def test_a_store_that_is_named_when_serving_wins() -> None:
    assert with_review_store(settings(), None, FOLDER).review.store is None
    assert with_review_store(settings(store="a.sqlite"), None, FOLDER).review.store == "sqlite:////srv/shop/a.sqlite"
    assert with_review_store(settings(store="a.sqlite"), POSTGRES, FOLDER).review.store == POSTGRES


def test_a_file_is_for_one_node() -> None:
    check_review_store(settings(), 5)
    check_review_store(settings(store=POSTGRES), 5)
    check_review_store(settings(store="sqlite:////a"), 1)
    with pytest.raises(ShelfcodeError, match="PostgreSQL"):
        check_review_store(settings(store="sqlite:////a"), 2)


def test_a_password_does_not_show() -> None:
    assert "hidden" not in repr(settings(store="postgresql+psycopg://me:hidden@db/review"))
