"""Train a flavor: catalog -> embeddings -> quantizer -> semantic IDs -> evaluation -> a published release.

python jobs/train_flavor.py --flavor precision --catalog CATALOG --workspace WS [--set key.sub=value ...] [--labels FILE]
    [--engagement PATH] [--hold] [--wait SECONDS]
"""

from pathlib import Path
from typing import Any

from shelfcode.job.command import run_job
from shelfcode.job.flags import CatalogFlag, EngagementFlag, FlavorFlag, HoldFlag, LabelsFlag, SetFlag, WaitFlag, WorkspaceFlag
from shelfcode.job.screen import say, show_rejected, show_release
from shelfcode.job.training import train_flavor
from shelfcode.releases.release import current_name

FLAVORS = Path(__file__).parent / "flavors"


def main(
    flavor: FlavorFlag, catalog: CatalogFlag, workspace: WorkspaceFlag, set_: SetFlag = None, hold: HoldFlag = False, wait: WaitFlag = 0,
    labels: LabelsFlag = None, engagement: EngagementFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a flavor on a catalog and publish the release."""
    trained = train_flavor(flavor, FLAVORS, catalog, workspace, set_ or [], hold, wait, labels, engagement)
    release = trained.release
    show_release(release, trained.prefixes)
    show_rejected(trained.workspace, trained.snapshot, trained.run)
    say(f"report: {trained.report}")
    if hold:
        say(f"{release.name} is held: {current_name(trained.workspace, release.flavor) or 'no release'} is current. To promote it:")
        say(f"  python jobs/promote_release.py promote --release {release.name} --workspace {trained.workspace.url}")
    return trained.result()


if __name__ == "__main__":
    run_job(main)
