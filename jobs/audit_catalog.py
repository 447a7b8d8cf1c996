"""Audit a release: where code and label disagree, how likely each label is wrong, and what would be right.

python jobs/audit_catalog.py --release precision@current [--with discovery@current] --workspace WS [--set p_min=0.1]
    [--labels CORRECTIONS]
"""

from typing import Annotated, Any

import typer

from shelfcode.job.auditing import audit_release, show_audit
from shelfcode.job.command import run_job
from shelfcode.job.flags import LabelsFlag, WorkspaceFlag

ReleaseFlag = Annotated[str, typer.Option("--release", help="precision@v0001, or precision@current.")]
WithFlag = Annotated[
    list[str] | None, typer.Option("--with", help="A release of another flavor whose codes are heard, too; may be given several times.")
]
SetFlag = Annotated[
    list[str] | None, typer.Option("--set", help="key=value: any setting of docs/audit-configuration.md; may be given several times.")
]


def main(
    release: ReleaseFlag, workspace: WorkspaceFlag, with_: WithFlag = None, set_: SetFlag = None, labels: LabelsFlag = None
) -> dict[str, Any]:
    """Audit the labels of a release's catalog and publish the findings under audits/; releases are not touched."""
    audit = audit_release(release, workspace, with_ or [], set_ or [], labels)
    show_audit(audit)
    return audit.result()


if __name__ == "__main__":
    run_job(main)
