"""An audit from end to end, by Ray, on small releases that nothing was trained for."""

from pathlib import Path as Folder

import pyarrow as pa
import pytest
from small_release import publish_release

from shelfcode.audit.audited_release import check_release
from shelfcode.audit.findings.finding_rows import ShownColumns
from shelfcode.audit.pipeline import AuditInput, complete, fit, open_audit, score, write_findings
from shelfcode.audit.published_audit import CATEGORIES_FILE, AuditManifest
from shelfcode.audit.scoring.settings import ScoringSettings
from shelfcode.audit.settings import AuditSettings
from shelfcode.workspace import Workspace

CANDY, SPORTS, MILK, OAT, OTHER = ("Snacks", "Candy"), ("Health", "Sports"), ("Dairy", "Milk"), ("Dairy", "Milk", "Oat"), ("Dairy", "Other")
QUICK = ScoringSettings(folds=2)


def audited(workspace: Workspace, beside: tuple[str, ...] = (), **settings: float) -> tuple[AuditManifest, pa.Table]:
    manifest, others, snapshot = check_release(workspace, "small@current", beside)
    of = AuditSettings(scoring=QUICK, fit_cpus=1, **settings)  # type: ignore[arg-type]
    audit = open_audit(AuditInput(workspace, manifest, tuple(others), snapshot, of, ShownColumns("image", "popularity")), "runs/x")
    auditor, fitted = fit(audit)
    counted: list[int] = []
    score(audit, auditor, counted.append)
    tally = write_findings(audit, fitted, counted.append)
    assert sum(counted) == 2 * audit.products
    made = complete(audit, auditor, tally)
    return made, pa.concat_tables(workspace.read_tables(workspace.parts(f"{audit.draft}/findings")))


@pytest.mark.timeout(300)
def test_wrong_labels_of_a_shop_with_every_kind_of_path(local_ray: None, tmp_path: Folder) -> None:
    workspace = Workspace(str(tmp_path))
    kinds = [CANDY] * 60 + [SPORTS] * 60 + [OAT] * 60 + [(f"Gifts {number}",) for number in range(40)]
    paths = list(kinds)
    paths[3], paths[70] = SPORTS, CANDY
    paths[121:124], paths[124], paths[125], paths[126] = [MILK] * 3, OTHER, None, ("dairy", "milk", "OAT ".strip())
    columns = {"image": [f"https://shop.example/{n}.jpg" for n in range(220)], "popularity": list(range(220))}
    publish_release(workspace, paths, kinds, columns=columns)
    publish_release(workspace, paths, kinds, flavor="other")
    made, findings = audited(workspace, ("other@current",))
    rows = {row["item_id"]: row for row in findings.sort_by([("priority", "descending")]).to_pylist()}
    assert (made.products, made.labelled, made.beside) == (220, 178, ("other@v0001",))
    assert made.findings == len(rows) < 120
    for item, issue, right in (("item 3", "wrong_branch", CANDY), ("item 70", "wrong_branch", SPORTS), ("item 124", "placeholder", OAT)):
        assert (rows[item]["issue"], tuple(rows[item]["suggested_paths"][0])) == (issue, right), rows[item]
    assert rows["item 121"]["issue"] == "too_shallow"
    assert "item 125" not in rows
    assert rows["item 3"]["image"] == "https://shop.example/3.jpg"
    assert rows["item 70"]["popularity"] == 70.0
    assert all(0 <= row["p_wrong"] <= 1 for row in rows.values())
    categories = workspace.read_table(f"runs/x/draft/{CATEGORIES_FILE}").to_pylist()
    assert {tuple(row["path"]) for row in categories if row["issue"] == "spelling"} == {
        ("dairy",),
        ("dairy", "milk"),
        ("dairy", "milk", "OAT"),
    }
