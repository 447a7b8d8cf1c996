"""Enter decisions that were made elsewhere: a spreadsheet of corrections, an export of Label Studio, records of Argilla.

python jobs/import_decisions.py --store URL --audit AUDIT --from FILE --format parquet|csv|label_studio|argilla --by NAME [--new-paths]
"""

from typing import Annotated, Any, Literal

import typer

from shelfcode.audit.decisions.exchange.argilla import read_records
from shelfcode.audit.decisions.exchange.label_studio import read_tasks
from shelfcode.audit.decisions.exchange.taking_back import label_answers, rejected_csv, take_back
from shelfcode.errors import ShelfcodeError
from shelfcode.job.command import run_job
from shelfcode.job.flags import AuditFlag, StoreFlag
from shelfcode.job.review_store import open_review_store
from shelfcode.job.screen import say
from shelfcode.workspace import Workspace

Format = Literal["parquet", "csv", "label_studio", "argilla"]


def main(
    store: StoreFlag,
    audit: AuditFlag,
    from_: Annotated[str, typer.Option("--from", help="The file, or for parquet and csv a folder; local or s3://.")],
    format_: Annotated[Format, typer.Option("--format", help="What wrote it; csv and parquet: as export_corrections does.")],
    by: Annotated[str, typer.Option("--by", help="Whose decisions these are.")],
    new_paths: Annotated[bool, typer.Option("--new-paths", help="Take paths that no product of the catalog has yet.")] = False,
) -> dict[str, Any]:
    """Enter the decisions of a file, each once however often it is sent; refused ones go to a file beside it."""
    desk = open_review_store(store)
    folder, _, name = from_.rstrip("/").rpartition("/")
    beside = Workspace(folder or ("." if not from_.startswith("/") else "/"))
    if format_ in ("label_studio", "argilla"):
        read = read_tasks if format_ == "label_studio" else read_records
        answers = read(read_text(beside, name, from_), from_)
    else:
        answers = label_answers(from_)
    taken = take_back(desk, audit, answers, by, from_, new_paths)
    say(f"{taken.read:,} answers: {taken.decided:,} entered, {taken.known:,} there already, {len(taken.refused):,} refused")
    for reason, count in taken.reasons.items():
        say(f"refused {count:,} x {reason}")
    rejected = f"{name}.rejected.csv"
    beside.remove(rejected)  # of an earlier try
    if taken.refused:
        beside.write_bytes(rejected, rejected_csv(taken.refused))
        say(f"refused answers: {beside.address(rejected)}")
    rows = {"read": taken.read, "decided": taken.decided, "known": taken.known, "rejected": len(taken.refused)}
    return {"audit": audit, "rows": rows, "verdicts": dict(taken.verdicts), "rejected": beside.address(rejected) if taken.refused else None}


def read_text(beside: Workspace, name: str, url: str) -> str:
    if not beside.exists(name):
        raise ShelfcodeError(f"--from {url}: there is no such file")
    try:
        return beside.read_bytes(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ShelfcodeError(f"--from {url} is not UTF-8: {error}") from error


if __name__ == "__main__":
    run_job(main)
