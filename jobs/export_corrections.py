"""Write what reviewers decided as files for whoever sets labels in the catalog, or findings for those who review elsewhere.

python jobs/export_corrections.py --store URL --audit AUDIT --workspace WS --out FOLDER [--format parquet|csv] [--only-agreed] [--only-new]
python jobs/export_corrections.py ... --format label_studio|argilla [--department NAME] [--p-min P] [--limit N]
"""

import json
from collections import Counter
from itertools import islice
from typing import Annotated, Any, Literal

import typer

from shelfcode.audit.decisions.decision import Filters
from shelfcode.audit.decisions.desk import Desk
from shelfcode.audit.decisions.exchange import argilla, label_studio
from shelfcode.audit.decisions.exchange.corrections import chosen_corrections, csv_bytes, parquet_bytes
from shelfcode.audit.decisions.exchange.taking_back import all_cards
from shelfcode.job.command import run_job
from shelfcode.job.flags import AuditFlag, StoreFlag, WorkspaceFlag
from shelfcode.job.review_store import open_review_store
from shelfcode.job.screen import say
from shelfcode.workspace import Workspace

Format = Literal["parquet", "csv", "label_studio", "argilla"]


def main(
    store: StoreFlag,
    audit: AuditFlag,
    workspace: WorkspaceFlag,
    out: Annotated[str, typer.Option("--out", help="Folder for the files; local or s3://.")],
    format_: Annotated[Format, typer.Option("--format", help="label_studio and argilla: of findings that nobody has decided.")] = "parquet",
    only_agreed: Annotated[bool, typer.Option("--only-agreed", help="Decisions that two people stand behind.")] = False,
    only_new: Annotated[bool, typer.Option("--only-new", help="Decisions that were not exported before.")] = False,
    by: Annotated[str, typer.Option("--by", help="Whose name the history shows for the export.")] = "export",
    department: Annotated[str | None, typer.Option("--department", help="Findings of one department.")] = None,
    p_min: Annotated[float | None, typer.Option("--p-min", min=0, max=1, help="Findings at least so likely wrong.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first findings by priority.")] = None,
) -> dict[str, Any]:
    """Export corrections, and mark them as exported; or findings for Label Studio or Argilla."""
    elsewhere, target = format_ in ("label_studio", "argilla"), Workspace(out)
    desk = open_review_store(store, make=elsewhere)
    desk.take_in(Workspace(workspace), audit)
    if elsewhere:
        return export_findings(desk, audit, target, format_, Filters(department=department, p_min=p_min, state="open"), limit)
    table = desk.corrections(audit)
    rows = chosen_corrections(table, only_agreed, only_new)
    file = f"{audit}.{format_}"
    target.write_bytes(file, parquet_bytes(rows) if format_ == "parquet" else csv_bytes(rows))
    new = [row["finding_id"] for row in rows.select(["finding_id", "state"]).to_pylist() if row["state"] not in ("exported", "applied")]
    if new:
        desk.mark(audit, by, "exported", new)
    verdicts = Counter(rows["verdict"].to_pylist())
    said = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.most_common()) or "none"
    say(f"{len(rows):,} of {len(table):,} decisions that stand: {said}; {len(new):,} of them exported for the first time")
    say(f"written: {target.address(file)}")
    counts = {"standing": len(table), "exported": len(rows), "new": len(new)}
    return {"audit": audit, "files": [target.address(file)], "rows": counts, "verdicts": dict(verdicts)}


def export_findings(desk: Desk, audit: str, target: Workspace, format_: str, filters: Filters, limit: int | None) -> dict[str, Any]:
    cards = list(islice(all_cards(desk, audit, filters), limit))
    paths = [known.path for known in desk.paths(audit, limit=10**9)]
    if format_ == "label_studio":
        with_images = bool(cards) and all(card.finding.get("image") for card in cards)
        files = {label_studio.TASKS_FILE: json.dumps(label_studio.tasks(cards), ensure_ascii=False)}
        files[label_studio.CONFIG_FILE] = label_studio.labeling_config(paths, with_images)
    else:
        files = {argilla.RECORDS_FILE: json.dumps(argilla.records(cards), ensure_ascii=False)}
        files[argilla.SETTINGS_FILE] = json.dumps(argilla.settings(paths, cards), ensure_ascii=False)
        files[argilla.DATASET_FILE] = json.dumps(argilla.dataset(audit), ensure_ascii=False)
    for name, text in files.items():
        target.write_bytes(name, text.encode())
    say(f"{len(cards):,} findings that nobody has decided, with {len(paths):,} categories to choose from")
    for name in files:
        say(f"written: {target.address(name)}")
    return {"audit": audit, "files": [target.address(name) for name in files], "rows": {"findings": len(cards), "categories": len(paths)}}


if __name__ == "__main__":
    run_job(main)
