"""Who extracts from a catalog in another language is told that the lexicon is English, and what the switch does."""

from pathlib import Path

import pyarrow as pa
import pytest

from shelfcode.attributes.grounding import ground_product
from shelfcode.attributes.other_languages import english_share, language_warning
from shelfcode.attributes.schema import Attributes
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.workspace import Workspace

GERMAN = ["Bio-Haferdrink ohne Zuckerzusatz 1 l", "Vollkornbrot mit Sonnenblumenkernen", "Apfelsaft naturtrüb aus dem Streuobst",
          "Frische Vollmilch vom Bauernhof", "Gemahlener Kaffee, kräftig geröstet"]  # fmt: skip
ENGLISH = ["Organic oat drink without added sugar", "Whole grain bread with sunflower seeds", "Cloudy apple juice from the orchard",
           "Fresh whole milk from the farm", "Ground coffee, dark roast"]  # fmt: skip
LLM = ExtractorSettings(engine="vllm", model="some/model")


def warning(tmp_path: Path, titles: list[str], settings: ExtractorSettings) -> str | None:
    workspace = Workspace(str(tmp_path))
    workspace.write_table("catalog/a/part-0.parquet", pa.table({"title": titles * 20}))
    part = SnapshotPart(path="catalog/a/part-0.parquet", rows=len(titles) * 20)
    snapshot = Snapshot(
        folder="catalog/a", source="x", fingerprint="", read=part.rows, rejected=0, rejected_folder="", reasons={}, parts=(part,)
    )
    assert english_share(workspace, snapshot) == (titles is ENGLISH)
    return language_warning(workspace, snapshot, settings)


def test_a_catalog_in_another_language_is_told_with_the_switch_that_helps(tmp_path: Path) -> None:
    told = warning(tmp_path, GERMAN, LLM)
    assert told
    assert "of the titles are in English; grounding holds ingredients and tags against an English lexicon" in told
    assert "--set extractor.quotes=true" in told
    assert "--set extractor.grounding=off" in told
    by_rules = warning(tmp_path, GERMAN, ExtractorSettings())
    assert by_rules
    assert "the rules know English grocery text alone" in by_rules


@pytest.mark.parametrize(
    ("titles", "settings"),
    [(ENGLISH, LLM), *((GERMAN, LLM.model_copy(update=changed)) for changed in ({"grounding": "off"}, {"quotes": True}))],
)
def test_who_need_not_know_is_told_nothing(tmp_path: Path, titles: list[str], settings: ExtractorSettings) -> None:
    assert warning(tmp_path, titles, settings) is None


def test_the_switch_keeps_what_the_lexicon_would_drop() -> None:
    product = {"title": "Bio-Haferdrink, vegan, glutenfrei", "description": "Aus Hafer und Wasser.", "brand": None}
    answer = Attributes(product_type="oat drink", key_ingredients=("oats", "water"), dietary_tags=("gluten free", "organic"))
    assert ground_product(answer, product, "lexicon").attributes == Attributes(product_type="oat drink")
    kept = ground_product(answer, product, "off")
    assert (kept.attributes, kept.unsupported) == (answer, ())
