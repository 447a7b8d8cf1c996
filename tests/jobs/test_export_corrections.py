"""jobs/export_corrections.py: files, and the mark that they were written."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from reviewed import Reviewed, best, reviewed

import export_corrections
from shelfcode.catalog.decided_labels import read_decided_labels
from shelfcode.errors import ShelfcodeError


@pytest.fixture
def of(tmp_path: Path) -> Reviewed:
    made = reviewed(tmp_path)
    first, second = [card for card in made.cards() if card.finding["suggested_paths"]][:2]
    made.decide(first, "ann", "accept", best(first))
    made.decide(second, "bob", "keep")
    return made


def test_corrections_are_written_and_marked_and_a_second_time_none_is_new(of: Reviewed, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    done = export_corrections.main(of.store, of.audit, of.workspace.url, out, by="lead")
    assert done["rows"] == {"standing": 2, "exported": 2, "new": 2}
    assert done["verdicts"] == {"accept": 1, "keep": 1}
    table = pq.read_table(done["files"][0])
    assert table.column_names[:8] == ["item_id", "from_path", "to_path", "verdict", "reviewers", "decision_ids", "text_hash", "at"]
    assert {card.state for card in of.cards()} == {"open", "exported"}
    again = export_corrections.main(of.store, of.audit, of.workspace.url, out, "csv", only_new=True)
    assert again["rows"] == {"standing": 2, "exported": 0, "new": 0}
    assert [event.by for event in of.desk.history(of.audit) if event.kind == "exported"] == ["lead", "lead"]
    export_corrections.main(of.store, of.audit, of.workspace.url, f"{out}/all", "csv")
    assert len(read_decided_labels(f"{out}/all").labels) == 2


@pytest.mark.parametrize(("format_", "file"), [("label_studio", "tasks.json"), ("argilla", "records.json")])
def test_findings_that_nobody_decided_go_elsewhere(of: Reviewed, tmp_path: Path, format_: str, file: str) -> None:
    done = export_corrections.main(of.store, of.audit, of.workspace.url, str(tmp_path / "out"), format_, limit=7)  # type: ignore[arg-type]
    assert done["rows"]["findings"] == len(json.loads((tmp_path / "out" / file).read_text())) == 7
    assert done["rows"]["categories"] > 7
    whole = export_corrections.main(of.store, of.audit, of.workspace.url, str(tmp_path / "all"), format_)  # type: ignore[arg-type]
    assert whole["rows"]["findings"] == len(of.cards()) - 2
    assert all(Path(path).exists() for path in whole["files"])


def test_a_store_that_is_not_there_is_named_and_not_made(of: Reviewed, tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match="there is no review store at"):
        export_corrections.main(str(tmp_path / "typo.sqlite"), of.audit, of.workspace.url, str(tmp_path))
    assert not (tmp_path / "typo.sqlite").exists()


def test_an_audit_that_is_not_there_is_named(of: Reviewed, tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match="no audit 'precision-v0009-001'"):
        export_corrections.main(of.store, "precision-v0009-001", of.workspace.url, str(tmp_path))
