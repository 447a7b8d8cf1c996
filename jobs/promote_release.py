"""List releases, show one, check one, and move a flavor's CURRENT to another one or back. compare_releases compares two.

python jobs/promote_release.py list --workspace WS [--flavor precision]
python jobs/promote_release.py show --release precision@v0002 --workspace WS
python jobs/promote_release.py check --release precision@v0002 --workspace WS
python jobs/promote_release.py promote --release precision@v0003 --workspace WS
python jobs/promote_release.py rollback --flavor precision --workspace WS
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from shelfcode.errors import ShelfcodeError
from shelfcode.job.command import run_job
from shelfcode.job.flags import WorkspaceFlag
from shelfcode.job.screen import say, show_figures
from shelfcode.releases.check import check_files, check_release
from shelfcode.releases.promotion import promote, roll_back
from shelfcode.releases.release import Manifest, current_name, load_manifest, previous_version, published_releases, release_history
from shelfcode.workspace import Workspace

NEEDED = {"list": (), "show": ("release",), "check": ("release",), "promote": ("release",), "rollback": ("flavor",)}
SHOWN = {"similarity": "similarity_depth_spearman", "purity": "purity_l2_leaf", "distinct": "distinct_share"}

ActionArgument = Annotated[Literal["list", "show", "check", "promote", "rollback"], typer.Argument(help="What to do.")]
ReleaseFlag = Annotated[str | None, typer.Option("--release", help="precision@v0001. For show, check and promote.")]
FlavorFlag = Annotated[
    str | None, typer.Option("--flavor", help="Name of a flavor with a release. For rollback, and for list if you like.")
]


def main(action: ActionArgument, workspace: WorkspaceFlag, release: ReleaseFlag = None, flavor: FlavorFlag = None) -> dict[str, Any]:
    """List, show and check releases; promote one, or roll a flavor back to the release that was current before.

    A check reads every row of a release. Promoting one that was current before compares only its files and their sizes.
    """
    opened, flags = Workspace(workspace), given_flags(action, release=release, flavor=flavor)
    match action:
        case "list":
            return list_releases(opened, published_releases(opened, flavor))
        case "show":
            return show_release(opened, load_manifest(opened, flags["release"]))
        case "check":
            return tell_checked(opened, load_manifest(opened, flags["release"]))
        case "promote":
            return tell_current(opened, promote(opened, flags["release"]))
        case "rollback":
            return tell_current(opened, roll_back(opened, flags["flavor"]))


def given_flags(action: str, **flags: str | None) -> dict[str, str]:
    """The flags that were given; refuses an action without one it needs, or with one that means nothing to it."""
    given = {name: value for name, value in flags.items() if value is not None}
    if missing := [f"--{name}" for name in NEEDED[action] if name not in given]:
        raise ShelfcodeError(f"{action} needs {' and '.join(missing)}")
    if odd := [f"--{name}" for name in given if name not in NEEDED[action] and (action, name) != ("list", "flavor")]:
        raise ShelfcodeError(f"{action} takes no {' and no '.join(odd)}")
    return given


def list_releases(workspace: Workspace, manifests: list[Manifest]) -> dict[str, Any]:
    current = {current_name(workspace, flavor) for flavor in {manifest.flavor for manifest in manifests}}
    columns: dict[str, dict[str, object]] = {
        "": {manifest.name: "current" if manifest.name in current else "" for manifest in manifests},
        "created": {manifest.name: manifest.created[:16].replace("T", " ") for manifest in manifests},
        "coded": {manifest.name: f"{manifest.rows.coded:,}" for manifest in manifests},
        **{label: {manifest.name: manifest.metrics.get(figure) for manifest in manifests} for label, figure in SHOWN.items()},
    }
    show_figures(f"releases in {workspace.url}", columns, row="release")
    return {"releases": [account(workspace, manifest) | {"current": manifest.name in current} for manifest in manifests]}


def show_release(workspace: Workspace, manifest: Manifest) -> dict[str, Any]:
    history = [asdict(move) for move in release_history(workspace, manifest.flavor)]
    rows = {f"rows {name}": f"{count:,}" for name, count in manifest.rows.model_dump().items()}
    labels = manifest.catalog.labels and manifest.catalog.labels.source
    catalog = {**manifest.catalog.model_dump(exclude={"labels"}), "labels": labels}
    facts = {"created": manifest.created, "parent": manifest.parent, **catalog, **rows}
    show_figures(manifest.name, {"": {**facts, **manifest.metrics}}, row="fact")
    show_figures(
        f"moves of {manifest.flavor}", {name: {move["at"]: move[name] for move in history} for name in ("why", "version")}, row="at"
    )
    current = manifest.name == current_name(workspace, manifest.flavor)
    whole = manifest.model_dump(mode="json", include={"catalog"})
    return account(workspace, manifest) | {"current": current, **manifest.facts(), **whole, "history": history}


def tell_current(workspace: Workspace, manifest: Manifest) -> dict[str, Any]:
    previous = previous_version(workspace, manifest.flavor)
    say(f"{manifest.name} is current; before it was {previous or 'none'}")
    return account(workspace, manifest) | {"previous": previous}


def tell_checked(workspace: Workspace, manifest: Manifest) -> dict[str, Any]:
    check_files(workspace, manifest)
    check_release(workspace, manifest)
    say(f"{manifest.name} is whole: its model and the codes of all {manifest.rows.coded:,} products were read")
    return account(workspace, manifest)


def account(workspace: Workspace, manifest: Manifest) -> dict[str, Any]:
    facts = manifest.model_dump(mode="json", include={"created", "rows", "metrics"})
    return {"release": manifest.name, "path": workspace.address(manifest.folder), **facts}


if __name__ == "__main__":
    run_job(main)
