"""Make a key for a caller of the endpoint. The key is shown once; surfaces.yaml gets only its hash.

python jobs/make_key.py --name search-team [--surface search] [--surface reordering] [--column title] [--review reviewer]
    [--retailer R] [--availability]
"""

from typing import Annotated, Any, Literal

import typer
import yaml

from shelfcode.job.command import run_job
from shelfcode.job.screen import say
from shelfcode.serving.api.access import key_hash, new_key
from shelfcode.serving.surface_settings import KeySettings

NameFlag = Annotated[str, typer.Option("--name", help="Of the caller; stands in logs.")]
SurfaceFlag = Annotated[list[str] | None, typer.Option("--surface", help="What the key is good for, several times; all when left out.")]
ColumnFlag = Annotated[
    list[str] | None, typer.Option("--column", help="What it may read and filter by, several times; the endpoint's own when left out.")
]
ReviewFlag = Annotated[
    Literal["none", "reviewer", "lead"], typer.Option("--review", help="Whether it may review audits; a lead settles conflicts.")
]
RetailerFlag = Annotated[
    list[str] | None, typer.Option("--retailer", help="Retailers that it may ask about, several times; any when left out.")
]
AvailabilityFlag = Annotated[bool, typer.Option("--availability", help="It may say what its retailers have.")]


def main(
    name: NameFlag, surface: SurfaceFlag = None, column: ColumnFlag = None, review: ReviewFlag = "none", retailer: RetailerFlag = None,
    availability: AvailabilityFlag = False,
) -> dict[str, Any]:  # fmt: skip
    """Print a new key, and the lines for surfaces.yaml."""
    key = new_key()
    entry = KeySettings(
        name=name, sha256=key_hash(key), surfaces=surface or None, columns=column or None, review=review, retailers=retailer or None,
        availability=availability,
    )  # fmt: skip
    say("add to surfaces.yaml, beside auth: keys:\n")
    say(yaml.safe_dump({"keys": [entry.model_dump(mode="json", exclude_defaults=True)]}, sort_keys=False))
    say("and give the caller the key below, which is kept nowhere; they send it as: Authorization: Bearer KEY")
    return {"name": name, "key": key, "sha256": entry.sha256}


if __name__ == "__main__":
    run_job(main)
