"""Catalogs that are not in English: what the rules and the grounding make of them, and what to say of it."""

from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.catalog.language import MOSTLY_ENGLISH, share_in_english
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.workspace import Workspace

PARTS_LOOKED_AT = 4


def english_share(workspace: Workspace, snapshot: Snapshot) -> float:
    """Share of a catalog's titles that are English, from 0 to 1; titles of a few parts are looked at, spread over the snapshot."""
    parts = snapshot.parts[:: max(1, len(snapshot.parts) // PARTS_LOOKED_AT)][:PARTS_LOOKED_AT]
    return share_in_english([title for part in parts for title in workspace.read_table(part.path, columns=["title"])["title"].to_pylist()])


def language_warning(workspace: Workspace, snapshot: Snapshot, settings: ExtractorSettings) -> str | None:
    """What to tell the user of an extraction whose catalog is mostly in other languages; None where there is nothing to tell."""
    if settings.engine == "vllm" and (settings.grounding == "off" or settings.asks_for_quotes):
        return None
    share = english_share(workspace, snapshot)
    if share >= MOSTLY_ENGLISH:
        return None
    what = (
        "the rules know English grocery text alone and find next to nothing in others: use a model (--set extractor.engine=vllm)"
        if settings.engine == "rules"
        else "grounding holds ingredients and tags against an English lexicon and drops most of those of other languages: "
        "--set extractor.quotes=true holds them against the words of the text that say them, for models that follow instructions, and "
        "--set extractor.grounding=off keeps a model's answers as they are"
    )
    return f"only about {share:.0%} of the titles are in English; {what} (docs/attributes.md, Other languages)"
