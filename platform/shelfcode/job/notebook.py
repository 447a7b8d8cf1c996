"""The calls that a notebook needs. What is heavy is imported when it is called; only training and auditing start a Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from shelfcode.errors import ShelfcodeError

if TYPE_CHECKING:
    import pyarrow as pa

    from shelfcode.quantization.rqvae import RQVAE
    from shelfcode.serving.api.flavor_encoder import FlavorEncoder

FLAVORS = Path(__file__).parents[3] / "jobs" / "flavors"
"""The shipped flavors, where the library lies in its checkout."""


@dataclass(frozen=True)
class Release:
    """A published release as plain data.

    Attributes:
        name: such as precision@v0001.
        workspace, path: where it is kept, and the folder of its files there.
        rows: of the catalog: read, coded, rejected.
        figures: the headline figures of its evaluation.
        semantic_ids: a table of item_id and semantic_id.
        model: the quantizer: embedding -> codes.
    """

    name: str
    workspace: str
    path: str
    rows: dict[str, int]
    figures: dict[str, float]
    semantic_ids: "pa.Table"
    model: "RQVAE"


@dataclass(frozen=True)
class Audit:
    """A published audit as plain data.

    Attributes:
        name: such as precision-v0001-001.
        workspace, path: where it is kept, and the folder of its files there.
        release: that was audited.
        wrong: how many labels are wrong: estimate, low and high.
        findings: a table, the first of the queue first; its columns are described in docs/workspace.md.
    """

    name: str
    workspace: str
    path: str
    release: str
    wrong: dict[str, float]
    findings: "pa.Table"


def train_flavor(
    flavor: str, catalog: str, workspace: str, settings: Sequence[str] = (), hold: bool = False, wait: float = 0, labels: str | None = None,
    engagement: str | None = None,
) -> Release:  # fmt: skip
    """Train a flavor on a catalog and publish the release: what jobs/train_flavor.py does.

    Args:
        flavor: name of a file under jobs/flavors/, or the path of a YAML file.
        settings: `key.sub=value` of any recipe field, as after --set.
        hold: leave the release that is current where it is.
        wait: seconds to wait for another run that writes the same flavor.
        labels: decided labels to lay over the catalog, as jobs/export_corrections.py writes them.
        engagement: baskets, or pairs of products that customers take together.

    Raises:
        ShelfcodeError: whatever you can mend.
    """
    from shelfcode.job.training import train_flavor as train

    trained = train(flavor, FLAVORS, catalog, workspace, settings, hold, wait, labels, engagement)
    return load_release(workspace, trained.release.name)


def load_release(workspace: str, name: str) -> Release:
    """A release by its name: precision@v0001, or precision@current.

    Raises:
        ShelfcodeError: there is none of this name, or its files are damaged.
    """
    import pyarrow as pa

    from shelfcode.quantization.model_file import load_model
    from shelfcode.releases.release import load_manifest, release_recipe
    from shelfcode.workspace import Workspace

    opened = Workspace(workspace)
    manifest = load_manifest(opened, name)
    parts = opened.read_tables(opened.parts(f"{manifest.folder}/semantic_ids"), ["item_id", "semantic_id"])
    return Release(
        name=manifest.name, workspace=opened.url, path=opened.address(manifest.folder), rows=manifest.rows.model_dump(),
        figures=manifest.metrics, semantic_ids=pa.concat_tables(parts),
        model=load_model(opened, manifest.folder, release_recipe(manifest)),
    )  # fmt: skip


def audit_release(
    release: str, workspace: str, beside: Sequence[str] = (), settings: Sequence[str] = (), labels: str | None = None
) -> Audit:
    """Audit the labels of a release's catalog and publish what was found: what jobs/audit_catalog.py does.

    Args:
        release: precision@v0001, or precision@current.
        beside: releases of other flavors whose codes are heard, too.
        settings: `key=value` of any setting of the audit, as after --set.
        labels: decided labels to lay over the catalog, as jobs/export_corrections.py writes them.

    Raises:
        ShelfcodeError: whatever you can mend.
    """
    from shelfcode.job.auditing import audit_release as audit

    return load_audit(workspace, audit(release, workspace, beside, settings, labels).manifest.audit)


def load_audit(workspace: str, name: str) -> Audit:
    """An audit by its name.

    Raises:
        ShelfcodeError: there is none of this name.
    """
    from shelfcode.audit.published_audit import load_audit as load
    from shelfcode.audit.published_audit import read_findings
    from shelfcode.workspace import Workspace

    opened = Workspace(workspace)
    manifest = load(opened, name)
    return Audit(
        name=manifest.audit, workspace=opened.url, path=opened.address(manifest.folder), release=manifest.release,
        wrong=manifest.wrong.model_dump(), findings=read_findings(opened, manifest),
    )  # fmt: skip


def encode(products: Sequence[str | Mapping[str, str | None]], release: Release) -> list[str]:
    """Semantic IDs of new products from the frozen model of a release, in this process.

    A flavor that embeds attributes has them found by rules here, as the endpoint does without a language model.

    Args:
        products: titles, or mappings with `title`, `description` and `brand`.

    Raises:
        ShelfcodeError: a product has nothing to encode, or the encoder cannot be loaded.
    """
    from shelfcode.semantic_id import format_codes
    from shelfcode.serving.api.problems import Problem
    from shelfcode.serving.api.questions import ProductInput

    columns = [{"title": product} if isinstance(product, str) else product for product in products]
    inputs = [ProductInput(each.get("title"), each.get("description"), each.get("brand")) for each in columns]
    encoded = _encoder(release.workspace).encode(release.name, inputs)
    for number, answer in enumerate(encoded):
        if isinstance(answer, Problem):
            raise ShelfcodeError(f"product {number}: {answer.detail}")
    return [format_codes(answer.codes) for answer in encoded if not isinstance(answer, Problem)]


@lru_cache(maxsize=2)
def _encoder(workspace: str) -> "FlavorEncoder":
    """Keeps the models of the releases used last."""
    from shelfcode.serving.api.flavor_encoder import FlavorEncoder
    from shelfcode.workspace import Workspace

    return FlavorEncoder(Workspace(workspace), ["encoder.device=cpu"], releases_kept=2)
