"""What jobs show of a catalog's attributes, of embeddings and of figures."""

import io
import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from shelfcode.attributes.settings import ExtraAttribute
from shelfcode.attributes.table import ExtractedCatalog, attributes_schema
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.job import screen
from shelfcode.job.screen import say, say_embedded, show_attributes, show_figures, show_judged, show_prefixes, stage
from shelfcode.keys import KeyIndex, owners, row_keys
from shelfcode.workspace import Workspace

EXTRA = {"occasion": ExtraAttribute(description="what for")}
NOTHING = ExtractedCatalog((), KeyIndex(np.empty(0, np.uint64), np.empty(0, np.int64)), 0, 0, 0, 0, {}, 0, 0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is shown on a wide screen."""
    told = io.StringIO()
    monkeypatch.setattr(screen, "console", Console(file=told, width=200))
    return told


def a_row(number: int, **columns: object) -> dict[str, object]:
    row = {"item_id": f"p{number}", "text_hash": f"h{number}", "product_type": f"tea {number}", "key_ingredients": ["mint", "sage"],
           "dietary_tags": [], "format": "", "occasion": ["movie night"], "extractor": "qwen", "failure": None, "truncated": False,
           "unsupported": ["tag: vegan"]}  # fmt: skip
    return row | columns


def extracted(workspace: Workspace, rows: list[dict[str, object]], ours: list[int]) -> ExtractedCatalog:
    """A table of rows, of which those at some places are of the catalog at hand."""
    table = pa.Table.from_pylist(rows, attributes_schema(EXTRA))
    workspace.write_table("attributes/x/part-0.parquet", table)
    parts = workspace.parts("attributes/x")
    keys_N = row_keys(table["item_id"], table["text_hash"])[ours]
    return replace(NOTHING, parts=tuple(parts), owner=owners(workspace, parts, keys_N))


def test_attributes_are_shown_as_words_and_what_was_dropped_beside_them(tmp_path: Path, told: io.StringIO) -> None:
    workspace = Workspace(str(tmp_path))
    show_attributes(workspace, extracted(workspace, [a_row(0, failure="engine error", format="[bag]"), a_row(1)], [0, 1]))
    head, first = (line for line in told.getvalue().splitlines() if "product type" in line or "tea 0" in line)
    assert [cell.strip() for cell in head.strip("┃").split("┃")] == [
        "product type", "key ingredients", "dietary tags", "format", "occasion", "dropped",
    ]  # fmt: skip
    assert [cell.strip() for cell in first.strip("│").split("│")] == ["tea 0", "mint, sage", "", "[bag]", "movie night", "tag: vegan"]
    for hidden in ("p0", "h0", "qwen", "engine error", "False", "None"):
        assert hidden not in told.getvalue()


def test_no_more_than_a_few_products_are_shown_and_none_of_an_earlier_catalog(tmp_path: Path, told: io.StringIO) -> None:
    workspace = Workspace(str(tmp_path))
    show_attributes(workspace, extracted(workspace, [a_row(number) for number in range(20)], list(range(3, 20))))
    assert [number for number in range(20) if f"tea {number} " in told.getvalue()] == [3, 4, 5]
    with screen.shown(verbose=True, streams=None):
        show_attributes(workspace, extracted(workspace, [a_row(number) for number in range(20)], list(range(3, 20))))
    assert [number for number in range(20) if f"tea {number} " in told.getvalue()] == list(range(3, 11))


def test_the_account_of_the_attributes_comes_before_that_of_the_embeddings(told: io.StringIO) -> None:
    embedded = EmbeddedCatalog("e", np.arange(5), np.arange(5, dtype=np.uint64), embedded=2, reused=3, rejected=1)
    say_embedded(embedded)
    assert told.getvalue() == "2 products embedded, 3 unchanged and not embedded again, 1 rejected\n"
    calls = replace(NOTHING, extracted=2000, reused=3, calls=2001, failures={"engine error": 4}, truncated=6, unsupported=70)
    say_embedded(replace(embedded, extracted=calls))
    lines = told.getvalue().splitlines()[1:]
    assert lines[0].startswith("2,000 texts extracted in 2,001 calls of the model")
    assert lines[1] == "left to the rules: 4 x engine error"
    assert [line.split()[0] for line in lines[2:]] == ["6", "70", "2"]


def cells_of(told: io.StringIO) -> list[list[str]]:
    lines = [line.replace("┃", "│").strip("│\n").split("│") for line in told.getvalue().splitlines() if line[:1] in "┃│"]
    return [[cell.strip() for cell in line] for line in lines]


def test_figures_stand_in_a_row_each(told: io.StringIO) -> None:
    show_figures(
        "two", {"a": {"share": 0.5, "rows": 1000, "source": "[a-z].csv"}, "better": {"share": "precision@v0001", "depth": None}}, row="name"
    )
    assert cells_of(told) == [
        ["name", "a", "better"],
        ["share", "0.5000", "precision@v0001"],
        ["rows", "1000", "-"],
        ["source", "[a-z].csv", "-"],
        ["depth", "-", "-"],
    ]


def test_on_a_narrow_screen_a_name_goes_on_below_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(screen, "console", Console(file=told, width=24))
    show_figures("two", {"better": {"share": "precision@v0001"}})
    rows = cells_of(told)[1:]
    assert len(rows) > 1
    assert ["".join(cells) for cells in zip(*rows, strict=True)] == ["share", "precision@v0001"]


def test_long_tables_come_with_verbose_alone(told: io.StringIO) -> None:
    show_figures("all of them", {"a": {"share": 0.5}}, long=True)
    assert told.getvalue() == ""
    with screen.shown(verbose=True, streams=None):
        show_figures("all of them", {"a": {"share": 0.5}}, long=True)
    assert "0.5000" in told.getvalue()


def test_a_hushed_job_shows_how_far_it_is_and_nothing_else(told: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "FIRST_REMARK_SECONDS", 0)
    with screen.hushed():
        say("not now")
        show_prefixes([("1_2_..", ["tea"])])
        with stage("embedding", 10) as progress:
            progress(4)
    assert told.getvalue() == "embedding: 4 of 10 products\n"
    with screen.shown(verbose=True, streams=None), screen.hushed():
        say("now")
    assert told.getvalue().endswith("now\n")


def test_progress_is_remarked_less_and_less_often(told: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    with stage("embedding") as progress:
        for _ in range(300):
            progress(1)
    remarks = told.getvalue().splitlines()[:-1]
    assert 3 <= len(remarks) <= 6


def test_a_stage_that_has_nothing_to_count_yet_says_so_in_a_log(told: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A language model starts for a minute, and answers hundreds of products before the first of them are stored."""
    monkeypatch.setattr(screen, "FIRST_REMARK_SECONDS", 0)
    monkeypatch.setattr(screen, "SILENT_SECONDS", 0.01)
    with stage("extracting", 10):
        deadline = time.monotonic() + 60
        while not told.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told.getvalue().startswith("extracting: 0 of 10 products\n")


def test_a_releases_first_figures_stand_beside_a_verdict(told: io.StringIO) -> None:
    release = SimpleNamespace(
        name="precision@v0001",
        metrics={"similarity_depth_spearman": 0.8, "share_at_l1_cosine_90": 0.1, "distinct_share": 0.9},
        recipe={"quantizer": {"codebook_sizes": [8, 16]}},
    )
    show_judged([release, release])  # type: ignore[list-item]
    lines = {line.strip().split("  ")[0]: " ".join(line.split()) for line in told.getvalue().splitlines()}
    assert lines["Similarity-depth"] == "Similarity-depth 0.800 good 0.800 good"
    assert lines["Near-twins together at L1"] == "Near-twins together at L1 10.0% poor 10.0% poor"
    assert lines["Codewords used"] == "Codewords used not defined not defined"


def test_prefixes_stand_in_a_line_each(told: io.StringIO) -> None:
    show_prefixes([(f"{number}_1_..", ["[black] tea", "x" * 200]) for number in range(5)])
    lines = told.getvalue().splitlines()[1:]
    assert len(lines) == 3
    assert lines[0].strip().startswith("0_1_..   [black] tea; xxx")
    assert all(line.rstrip().endswith("x...") for line in lines)
