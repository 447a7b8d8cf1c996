"""jobs/import_decisions.py: what was decided elsewhere, entered once, with the refused rows beside the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from reviewed import Reviewed, best, reviewed

import export_corrections
import import_decisions
from shelfcode.errors import ShelfcodeError


@pytest.fixture
def of(tmp_path: Path) -> Reviewed:
    return reviewed(tmp_path)


def export(of: Reviewed, folder: Path, format_: str) -> list[dict[str, Any]]:
    done = export_corrections.main(of.store, of.audit, of.workspace.url, str(folder), format_, limit=6)  # type: ignore[arg-type]
    return json.loads(Path(done["files"][0]).read_text())


def test_label_studio_and_back(of: Reviewed, tmp_path: Path) -> None:
    tasks = export(of, tmp_path / "out", "label_studio")
    for task in tasks[:4]:
        task["annotations"] = [{"result": task["predictions"][0]["result"], "completed_by": 1, "was_cancelled": False}]
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    done = import_decisions.main(of.store, of.audit, str(tmp_path / "back.json"), "label_studio", "agency")
    assert done["rows"] == {"read": 4, "decided": 4, "known": 0, "rejected": 0}
    assert done["rejected"] is None
    paths = {card.finding_id: card.decisions[0].path for card in of.cards() if card.decisions}
    assert paths == {card.finding_id: best(card) for card in of.cards() if card.finding_id in paths and card.finding["suggested_paths"]}


def test_argilla_and_back_and_refused_ones_beside_the_file_until_they_are_mended(of: Reviewed, tmp_path: Path) -> None:
    records = export(of, tmp_path / "out", "argilla")
    for record in records[:3]:
        record["status"] = "completed"
        record["responses"] = {"verdict": [{"value": "keep", "user_id": "u"}]}
    records[0]["responses"]["verdict"][0]["value"] = "relabel"
    file, rejected = tmp_path / "records.json", tmp_path / "records.json.rejected.csv"
    file.write_text(json.dumps(records))
    done = import_decisions.main(of.store, of.audit, str(file), "argilla", "agency")
    assert done["rows"] == {"read": 3, "decided": 2, "known": 0, "rejected": 1}
    assert done["rejected"] == str(rejected)
    assert "the right path is missing: record 1 of" in rejected.read_text()
    records[0]["responses"]["path"] = [{"value": records[0]["suggestions"]["path"]["value"], "user_id": "u"}]
    file.write_text(json.dumps(records))
    mended = import_decisions.main(of.store, of.audit, str(file), "argilla", "agency")
    assert mended["rows"] == {"read": 3, "decided": 1, "known": 2, "rejected": 0}
    assert not rejected.exists()


def test_a_file_that_is_not_there_or_no_text_is_named(of: Reviewed, tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"--from .*none\.json: there is no such file"):
        import_decisions.main(of.store, of.audit, str(tmp_path / "none.json"), "argilla", "agency")
    (tmp_path / "latin.json").write_bytes(b"[\xe9]")
    with pytest.raises(ShelfcodeError, match="not UTF-8"):
        import_decisions.main(of.store, of.audit, str(tmp_path / "latin.json"), "label_studio", "agency")
