"""The audit of a release, by Ray Data over the parts of its snapshot.

    release -> keys, codes and labels -> an auditor, fitted to a sample -> scores of every part -> tally -> findings of every part -> audit

What grows with the catalog on any one process are a few numbers per product; vectors and texts are read part by part.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
import torch
from numpy.typing import NDArray

from shelfcode.audit.audited_release import AuditedRelease, read_release
from shelfcode.audit.completion import complete_audit
from shelfcode.audit.findings.finding_rows import FittedProducts, ShownColumns, finding_table
from shelfcode.audit.findings.issues import find_suspicions
from shelfcode.audit.findings.label_counts import Census, take_census
from shelfcode.audit.findings.same_products import title_keys
from shelfcode.audit.findings.scored import ScoredProducts, scored_products, scored_table
from shelfcode.audit.findings.tally import Tally, take_tally
from shelfcode.audit.published_audit import AuditManifest, WrongLabels
from shelfcode.audit.scoring.auditor import Auditor, fit_auditor, products_to_fit
from shelfcode.audit.scoring.scores import AuditedProducts, FlavorCodes
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.embedding.embeddings import embedding_matrix
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.hardware import cpus_per_core, memory_to_reserve
from shelfcode.parallel import TABLES_AT_ONCE
from shelfcode.parts import part_path
from shelfcode.progress import Progress
from shelfcode.quantization.model_file import load_model
from shelfcode.releases.release import Manifest, release_recipe
from shelfcode.workspace import Workspace

BYTES_AT_ALL, BYTES_PER_PRODUCT, BYTES_PER_FITTED = 2**30, 400, 16_000
"""Memory of a task that holds a few numbers of every product, and of the one that fits the auditor."""


@dataclass(frozen=True)
class AuditInput:
    """What is audited, and how."""

    workspace: Workspace
    manifest: Manifest
    others: tuple[Manifest, ...]
    snapshot: Snapshot
    settings: AuditSettings
    columns: ShownColumns


@dataclass(frozen=True)
class OpenAudit:
    """An audit under way: what was read and fitted lies in Ray's store, scores and draft in the workspace below `folder`.

    Attributes:
        products, labelled: how many there are.
    """

    of: AuditInput
    folder: str
    release: "ray.ObjectRef[AuditedRelease]"
    products: int
    labelled: int

    @property
    def draft(self) -> str:
        return f"{self.folder}/draft"


def open_audit(of: AuditInput, folder: str) -> OpenAudit:
    """Read what is held of all products.

    Raises:
        ShelfcodeError: as audited_release.py: read_release.
    """
    task = _large_task(_read, of.snapshot.products * BYTES_PER_PRODUCT).options(num_returns=2)
    release, counts = task.remote(of)
    products, labelled = ray.get(counts)
    return OpenAudit(of, folder, release, products, labelled)


def fit(audit: OpenAudit) -> tuple["ray.ObjectRef[Auditor]", "ray.ObjectRef[FittedProducts]"]:
    """Fit an auditor to the labelled products, or to a sample of them."""
    fitted = min(audit.labelled, audit.of.settings.scoring.fit_products)
    task = _large_task(_fit, fitted * BYTES_PER_FITTED, audit.of.settings.fit_cpus).options(num_returns=3)
    auditor, products, done = task.remote(audit.of, audit.release)
    ray.get(done)
    return auditor, products


def score(audit: OpenAudit, auditor: "ray.ObjectRef[Auditor]", progress: Progress) -> None:
    """Score every product, part by part."""
    arguments = {"of": audit.of, "release": audit.release, "auditor": auditor, "target": f"{audit.folder}/scores"}
    for row in _each_part(audit, _score_part, arguments):
        progress(int(row["products"]))


def write_findings(audit: OpenAudit, fitted: "ray.ObjectRef[FittedProducts]", progress: Progress) -> "ray.ObjectRef[Tally]":
    """Take the tally of all scores, and write the findings of every part."""
    tally, census = (
        _large_task(_take_tally, audit.products * BYTES_PER_PRODUCT)
        .options(num_returns=2)
        .remote(audit.of, audit.release, f"{audit.folder}/scores")
    )
    arguments = {
        "of": audit.of, "release": audit.release, "fitted": fitted, "tally": tally, "census": census, "source": f"{audit.folder}/scores",
        "target": f"{audit.draft}/findings",
    }  # fmt: skip
    for row in _each_part(audit, _find_part, arguments):
        progress(int(row["products"]))
    return tally


def complete(audit: OpenAudit, auditor: "ray.ObjectRef[Auditor]", tally: "ray.ObjectRef[Tally]") -> AuditManifest:
    """Write patterns, categories and report into the draft; its manifest, which is not yet written."""
    task = _large_task(_complete, audit.products * BYTES_PER_PRODUCT)
    return ray.get(task.remote(audit.of, audit.release, auditor, tally, audit.draft))


def _large_task(function: Callable[..., Any], wanted: int, cpus: int = 1) -> Any:
    nodes = _nodes()
    cpus = int(min(cpus, max((node.get("CPU", 1) for node in nodes), default=1)))
    return ray.remote(num_cpus=cpus, memory=memory_to_reserve(BYTES_AT_ALL + wanted, nodes))(function)


def _each_part(audit: OpenAudit, function: Callable[..., Iterator[pa.Table]], arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    parts = len(audit.of.snapshot.parts)
    dataset = ray.data.from_items(list(range(parts)), override_num_blocks=parts)
    # More tasks than cores would only start and import more processes, which takes longer than scoring a part.
    cpus = cpus_per_core(_nodes(), os.cpu_count() or 1)
    return iter(dataset.map_batches(function, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments, num_cpus=cpus).iter_rows())


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _read(of: AuditInput) -> tuple[AuditedRelease, tuple[int, int]]:
    release = read_release(of.workspace, of.manifest, of.others, of.snapshot, of.settings)
    return release, (len(release), int((release.label_N != NO_LEAF).sum()))


def _fit(of: AuditInput, release: AuditedRelease) -> tuple[Auditor, FittedProducts, bool]:
    place_F = np.flatnonzero(release.label_N != NO_LEAF)
    place_F = place_F[products_to_fit(release.item_N[place_F], release.label_N[place_F], of.settings.scoring)]
    tables = []
    for part, (low, high) in enumerate(part_bounds(release)):
        place_B = place_F[(place_F >= low) & (place_F < high)]
        if len(place_B):
            tables.append(_products(of, release, part, place_B, ["item_id", "title", *_text_view(of).columns]))
    table = pa.concat_tables(tables)
    products = _audited(of, release, place_F, table)
    threads = min(of.settings.fit_cpus, os.cpu_count() or 1)
    auditor = fit_auditor(products, release.taxonomy, of.settings.scoring, threads=threads)
    if not np.array_equal(auditor.fitted_key_M, products.key_N):
        raise RuntimeError("the auditor counts other products than those that it was given")
    return auditor, FittedProducts(table.select(["item_id", "title"]).combine_chunks(), products.leaf_N, products.codes[0].codes_NL), True


def part_bounds(release: AuditedRelease) -> list[tuple[int, int]]:
    """Where the audited products of each part of the snapshot begin and end."""
    ends = np.cumsum([0, *(part.rows for part in release.snapshot.parts)])
    bounds = np.searchsorted(release.position_N, ends)
    return [(int(low), int(high)) for low, high in pairwise(bounds)]


def _products(of: AuditInput, release: AuditedRelease, part: int, place_B: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
    """Rows of the catalog of some products, all of one part."""
    first = sum(each.rows for each in of.snapshot.parts[:part])
    table = of.workspace.read_table(of.snapshot.parts[part].path, list(dict.fromkeys(columns)))
    return table.take(pa.array(release.position_N[place_B] - first))


def _audited(of: AuditInput, release: AuditedRelease, place_B: NDArray[np.int64], table: pa.Table) -> AuditedProducts:
    x_ND = embedding_matrix(of.workspace, of.manifest.embeddings, release.row_N)
    contiguous = len(place_B) and place_B[-1] - place_B[0] == len(place_B) - 1
    x_BD = x_ND[place_B[0] : place_B[-1] + 1] if contiguous else x_ND[place_B]
    codes = tuple(FlavorCodes(each.flavor, each.codes_NL[place_B], each.codebook_sizes) for each in release.codes)
    return AuditedProducts(
        release.item_N[place_B], raw_texts(table, _text_view(of)), np.ascontiguousarray(x_BD), codes, release.label_N[place_B]
    )


def _text_view(of: AuditInput) -> TextViewSettings:
    """The text as the shop has it: of a flavor that embeds attributes, too, words of the title say more of a label."""
    view = release_recipe(of.manifest).text_view
    return view if view.kind == "raw" else TextViewSettings(max_characters=view.max_characters)


def _score_part(
    item: pa.Table, of: AuditInput, release: "ray.ObjectRef[AuditedRelease]", auditor: "ray.ObjectRef[Auditor]", target: str
) -> Iterator[pa.Table]:
    part = item["item"][0].as_py()
    yield pa.table({"products": [_score(of, ray.get(release), ray.get(auditor), part, target)]})


def _score(of: AuditInput, read: AuditedRelease, auditor: Auditor, part: int, target: str) -> int:
    """Score the products of a part; their number."""
    torch.set_num_threads(1)
    low, high = part_bounds(read)[part]
    if high > low:
        place_B = np.arange(low, high)
        popularity = of.columns.popularity
        columns = ["title", *_text_view(of).columns, *([popularity] if popularity else [])]
        table = _products(of, read, part, place_B, columns)
        products = _audited(of, read, place_B, table)
        scored = ScoredProducts(
            place_B, auditor.score(products), _margins(of, products.x_ND), title_keys(table["title"].to_pylist()),
            np.array([len(text.split()) for text in products.text_N], np.int32), _numbers(table, popularity),
        )  # fmt: skip
        of.workspace.write_table(part_path(target, f"{part:06d}"), scored_table(scored))
    return high - low


def _margins(of: AuditInput, x_BD: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much nearer the chosen codewords are than the next ones, the least over levels."""
    model = load_model(of.workspace, of.manifest.folder, release_recipe(of.manifest))
    margins = [model.encode_with_margins(chunk)[1].min(dim=1).values for chunk in torch.from_numpy(x_BD.copy()).split(2048)]
    return torch.cat(margins).numpy().astype(np.float32)


def _numbers(table: pa.Table, column: str | None) -> NDArray[np.float64]:
    if column is None:
        return np.full(len(table), np.nan)
    return pc.fill_null(table[column].combine_chunks().cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)


def _scored_parts(workspace: Workspace, folder: str) -> Iterator[ScoredProducts]:
    return map(scored_products, workspace.read_tables(workspace.parts(folder), at_once=TABLES_AT_ONCE))


def _take_tally(of: AuditInput, release: AuditedRelease, source: str) -> tuple[Tally, Census]:
    label_N = release.label_N
    tally = take_tally(_scored_parts(of.workspace, source), label_N, len(release.taxonomy.paths), of.settings)
    codes = release.codes[0]
    return tally, take_census(codes.codes_NL, codes.codebook_sizes, label_N, of.settings.prefix_products)


def _find_part(
    item: pa.Table, of: AuditInput, release: "ray.ObjectRef[AuditedRelease]", fitted: "ray.ObjectRef[FittedProducts]",
    tally: "ray.ObjectRef[Tally]", census: "ray.ObjectRef[Census]", source: str, target: str,
) -> Iterator[pa.Table]:  # fmt: skip
    read, part = ray.get(release), item["item"][0].as_py()
    low, high = part_bounds(read)[part]
    if high > low:
        _find(of, read, part, (low, high), ray.get(fitted), ray.get(tally), ray.get(census), source, target)
    yield pa.table({"products": [high - low]})


def _find(
    of: AuditInput, read: AuditedRelease, part: int, bounds: tuple[int, int], fitted: FittedProducts, tally: Tally, census: Census,
    source: str, target: str,
) -> None:  # fmt: skip
    low, high = bounds
    scored = scored_products(of.workspace.read_table(part_path(source, f"{part:06d}")))
    given_B = read.taxonomy.leaf_of_N[low:high]
    label_B = read.label_N[low:high]
    suspicions = find_suspicions(scored, given_B, label_B, read.says_P, fitted.leaf_F, read.taxonomy, tally, of.settings)
    if not suspicions:
        return
    shown = [of.columns.image] if of.columns.image else []
    products = _products(of, read, part, np.arange(low, high), ["item_id", "title", "description", "brand", "category_path", *shown])
    table = finding_table(
        suspicions, scored, products, read.codes[0].codes_NL[low:high], label_B, read.text_hash_N[low:high].to_pylist(),
        read.taxonomy.paths, census, fitted, of.columns,
    )  # fmt: skip
    of.workspace.write_table(part_path(target, f"{part:06d}"), table)


def _complete(of: AuditInput, release: AuditedRelease, auditor: Auditor, tally: Tally, draft: str) -> AuditManifest:
    labelled = int(tally.products_P.sum())
    rates = auditor.noise_rate, auditor.noise_low, auditor.noise_high
    wrong = WrongLabels(**{name: rate * labelled for name, rate in zip(("estimate", "low", "high"), rates, strict=True)})
    return complete_audit(release, wrong, tally, of.settings, draft, datetime.now(UTC).isoformat(timespec="seconds"))
