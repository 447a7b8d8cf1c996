"""Tell what a workspace holds that nothing refers to, and with --apply delete it; small parts of tables are gathered into large ones.

python jobs/sweep_workspace.py --workspace WS [--apply] [--keep-releases 5] [--keep precision@v0002 ...] [--surfaces surfaces.yaml]
    [--older-than DAYS] [--wait SECONDS]
"""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from shelfcode.job.cluster import start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import WaitFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.lease import SWEEP, Lease
from shelfcode.retention.compaction import TablePlan
from shelfcode.retention.pipeline import compact, compaction_summary, plan_compaction
from shelfcode.retention.references import KeepRules, check_workspace, choose_kept, table_uses
from shelfcode.retention.stored_files import take_inventory
from shelfcode.retention.sweep import DAY, Removal, carry_out, plan_removals
from shelfcode.serving.routing import named_releases
from shelfcode.serving.surface_settings import load_surfaces
from shelfcode.workspace import Workspace, new_run

SHOWN = 40
"""Removals in the table on stderr; the last line on stdout has all."""

ApplyFlag = Annotated[bool, typer.Option("--apply", help="Do it; without this flag nothing is changed.")]
NewestFlag = Annotated[int, typer.Option("--keep-releases", min=1, help="How many of each flavor's newest releases stay.")]
KeepFlag = Annotated[list[str] | None, typer.Option("--keep", help="A release that stays, precision@v0002; may be given several times.")]
SurfacesFlag = Annotated[str | None, typer.Option("--surfaces", help="surfaces.yaml: the releases that it pins or splits to stay.")]
OlderFlag = Annotated[float, typer.Option("--older-than", min=0, help="Days; what was written since stays as it is.")]


def main(
    workspace: WorkspaceFlag, apply: ApplyFlag = False, keep_releases: NewestFlag = 5, keep: KeepFlag = None, surfaces: SurfacesFlag = None,
    older_than: OlderFlag = 7, wait: WaitFlag = 0,
) -> dict[str, Any]:  # fmt: skip
    """Delete what no release that stays refers to, and gather small parts of tables. A dry run unless --apply is given."""
    rules = KeepRules(keep_releases, older_than * DAY, tuple(keep or ()), pinned_releases(surfaces) if surfaces else ())
    check_workspace(Workspace(workspace))
    start_ray()
    if not apply:
        return sweep(Workspace(workspace), rules, None)
    with open_workspace(workspace, SWEEP, new_run("sweep"), wait) as (opened, lease):
        return sweep(opened, rules, lease)


def sweep(workspace: Workspace, rules: KeepRules, lease: Lease | None) -> dict[str, Any]:
    """Tell what goes; it goes where the lease is held."""
    with stage("looking at what is there"):
        inventory = take_inventory(workspace)
        kept = choose_kept(workspace, rules, inventory)
        uses = table_uses(kept.releases.values(), inventory)
        removals = plan_removals(workspace, inventory, kept, uses, rules.older_than)
    with stage("looking through tables", unit="parts") as progress:
        plans = plan_compaction(workspace, inventory, uses, rules.older_than, progress)
    if uses.unnamed:
        say(f"no table of attributes goes: that of {', '.join(uses.unnamed)} is not there under the name that its extractor has here")
    show_removals(removals)
    show_tables(plans)
    if lease:
        with stage("deleting", sum(removal.files for removal in removals), unit="files") as progress:
            carry_out(workspace, removals, lease.check, progress)
        with stage("gathering parts", unit="rows") as progress:
            compact(workspace, plans, lease.check, progress)
    show_figures("releases that stay", {"why": dict(kept.why)}, row="release")
    files, size = sum(removal.files for removal in removals), sum(removal.bytes for removal in removals)
    say(f"{files:,} files of {megabytes(size)} {'were deleted' if lease else 'would go: a dry run, nothing was changed; --apply does it'}")
    return {
        "applied": lease is not None, "files": files, "bytes": size, "removed": [removal.summary() for removal in removals],
        "compacted": asdict(compaction_summary(plans)), "kept": list(kept.releases),
    }  # fmt: skip


def show_removals(removals: list[Removal]) -> None:
    if not removals:
        say("nothing goes")
        return
    shown = sorted(removals, key=lambda removal: -removal.bytes)[:SHOWN]
    columns: dict[str, dict[str, object]] = {
        "why": {removal.path: removal.reason for removal in shown},
        "files": {removal.path: f"{removal.files:,}" for removal in shown},
        "size": {removal.path: megabytes(removal.bytes) for removal in shown},
    }
    show_figures(f"what goes: the largest {len(shown)} of {len(removals)}", columns, row="path")


def show_tables(plans: list[TablePlan]) -> None:
    if not plans:
        say("no table has parts to gather")
        return
    columns: dict[str, dict[str, object]] = {
        "parts": {plan.folder: f"{plan.parts:,}" for plan in plans},
        "afterwards": {plan.folder: f"{plan.parts_after:,}" for plan in plans},
        "rows dropped": {plan.folder: f"{plan.rows_dropped:,}" for plan in plans},
    }
    show_figures("tables with parts to gather", columns, row="table")


def megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def pinned_releases(path: str) -> tuple[str, ...]:
    """Releases that the surfaces of a surfaces.yaml are served from whatever is current."""
    settings = load_surfaces(path)
    return tuple(name for flavor in settings.flavor_names for name in named_releases(settings, flavor))


if __name__ == "__main__":
    run_job(main)
