"""The evaluation of a release: measured on the files in its folder, and written there as files.

They are evaluation.json, report.html and, where relations are given, behavioural_alignment.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot, snapshot_batches, snapshot_taxonomy
from shelfcode.embedding.embeddings import EmbeddedCatalog, embedding_matrix
from shelfcode.evaluation.behaviour.behavioural_alignment import BehaviouralAlignment, BehaviouralComparison, lift_ratio, relation_lifts
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs, relation_pairs
from shelfcode.evaluation.quality.evaluate import Evaluation, evaluate, headline, products_read
from shelfcode.evaluation.quality.taxonomy_alignment import label_purity
from shelfcode.evaluation.report import ReportExamples, positions_needed, report_html
from shelfcode.evaluation.stability.churn import Churn
from shelfcode.evaluation.stability.migration import churn_of, read_migration, write_migration
from shelfcode.flavor import Recipe
from shelfcode.interactions.relations import Relations
from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.quantization.semantic_ids import read_codes, write_coded_texts
from shelfcode.releases.check import check_semantic_ids
from shelfcode.releases.release import Manifest, draft_manifest
from shelfcode.reporting.intervals import RESAMPLES
from shelfcode.semantic_id import SEPARATOR, format_codes
from shelfcode.workspace import Workspace

EVALUATION_FILE, BEHAVIOURAL_ALIGNMENT_FILE, REPORT_FILE = "evaluation.json", "behavioural_alignment.json", "report.html"


@dataclass(frozen=True)
class CodedCatalog:
    """A catalog and its codes side by side: what is evaluated.

    Attributes:
        item_keys_N: item key of each coded product.
        codes_NL: its codes.
    """

    workspace: Workspace
    snapshot: Snapshot
    embedded: EmbeddedCatalog
    item_keys_N: Keys
    codes_NL: NDArray[np.uint16]


@dataclass(frozen=True)
class EvaluatedDraft:
    """A draft that was evaluated: the manifest that it will be published with, and some prefixes to show."""

    manifest: Manifest
    prefixes: list[tuple[str, list[str]]]


def read_coded_catalog(workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, folder: str) -> CodedCatalog:
    """Codes of a snapshot's products, from the semantic IDs in `folder`."""
    batches = snapshot_batches(workspace, snapshot, ["item_id"])
    item_keys_N = np.concatenate([item_keys(batch["item_id"]) for batch in batches])[embedded.positions_N]
    return CodedCatalog(workspace, snapshot, embedded, item_keys_N, read_codes(workspace, f"{folder}/semantic_ids", item_keys_N))


def evaluate_catalog(catalog: CodedCatalog, recipe: Recipe, seed: int = 0) -> Evaluation:
    """Evaluate the codes of a catalog against its own embeddings, of which a sample is read where it is large, and its taxonomy."""
    sizes, keys_N = recipe.quantizer.codebook_sizes, catalog.embedded.keys_N
    read = products_read(catalog.codes_NL, sizes, seed)
    x_MD = embedding_matrix(catalog.workspace, catalog.embedded.folder, keys_N if read is None else keys_N[read.positions_M])
    taxonomy = snapshot_taxonomy(catalog.workspace, catalog.snapshot).of(catalog.embedded.positions_N)
    return evaluate(x_MD, catalog.codes_NL, sizes, taxonomy, seed, read)


def measure_behavioural_alignment(catalog: CodedCatalog, relations: Relations, seed: int = 0) -> BehaviouralAlignment:
    """Behavioural alignment of the codes of a catalog."""
    return _measure(catalog.codes_NL, relation_pairs(relations, catalog.item_keys_N, seed), relations, seed)


def compare_behavioural_alignment(a: CodedCatalog, b: CodedCatalog, relations: Relations, seed: int = 0) -> BehaviouralComparison:
    """Behavioural alignment of two sets of codes and the ratio of their lifts, on the products that both have."""
    common_N = np.intersect1d(a.item_keys_N, b.item_keys_N)
    a_NL, b_NL = (each.codes_NL[index_keys(each.item_keys_N).get(common_N)] for each in (a, b))
    pairs = relation_pairs(relations, common_N, seed)
    return BehaviouralComparison(
        a=_measure(a_NL, pairs, relations, seed),
        b=_measure(b_NL, pairs, relations, seed),
        ratios=tuple(lift_ratio(a_NL, b_NL, each, seed) for each in pairs),
    )


def _measure(codes_NL: NDArray[np.uint16], pairs: Sequence[RelationPairs], relations: Relations, seed: int) -> BehaviouralAlignment:
    return BehaviouralAlignment(
        products=len(codes_NL),
        seed=seed,
        resamples=RESAMPLES,
        pairs_from=relations.url,
        passed_over=relations.passed_over,
        incomplete_rows=relations.incomplete_rows,
        relations=tuple(relation_lifts(codes_NL, each, seed) for each in pairs),
    )


def complete_draft(
    workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, recipe: Recipe, draft: str, parent: Manifest | None,
    model_from: str | None = None, group_N: NDArray[np.int64] | None = None,
) -> EvaluatedDraft:  # fmt: skip
    """Check a draft's semantic IDs, evaluate them, compare them with the parent's, and write the files that describe the release.

    Args:
        parent: the release that this one follows.
        model_from: the release whose model the draft has; None for a model that was just trained.
        group_N: the group of each product in `embedded`, under the recipe's constraint.

    Raises:
        ShelfcodeError: a file of the draft is damaged.
    """
    check_semantic_ids(workspace, f"{draft}/semantic_ids", len(embedded.keys_N), recipe.quantizer.codebook_sizes)
    write_coded_texts(workspace, draft, embedded.keys_N)
    catalog = read_coded_catalog(workspace, snapshot, embedded, draft)
    evaluation = evaluate_catalog(catalog, recipe)
    churn = _write_churn(catalog, draft, parent) if parent else None
    metrics = headline(evaluation)
    if group_N is not None:
        metrics |= {"constraint_purity": label_purity(catalog.codes_NL[:, 0], group_N)}
    manifest = draft_manifest(recipe, snapshot, embedded, metrics, parent.name if parent else None, model_from, churn)
    write_evaluation(catalog, evaluation, recipe, draft, recipe.name, manifest.facts(), churn=churn)
    return EvaluatedDraft(manifest, example_prefixes(catalog))


def _write_churn(catalog: CodedCatalog, draft: str, parent: Manifest) -> Churn:
    migration = read_migration(catalog.workspace, parent.folder, draft)
    write_migration(catalog.workspace, draft, migration)
    taxonomy = snapshot_taxonomy(catalog.workspace, catalog.snapshot).of(catalog.embedded.positions_N)
    return churn_of(migration, parent.name, taxonomy, catalog.item_keys_N)


def write_evaluation(
    catalog: CodedCatalog, evaluation: Evaluation, recipe: Recipe, folder: str, title: str, facts: Mapping[str, object],
    behavioural_alignment: BehaviouralAlignment | None = None, churn: Churn | None = None,
) -> None:  # fmt: skip
    """Write evaluation.json, report.html and, where it was measured, behavioural_alignment.json into a folder of the workspace.

    A churn is shown in the report only: the manifest keeps it.
    """
    examples = _examples(catalog, positions_needed(evaluation, catalog.codes_NL))
    recipe_yaml = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    labels = catalog.snapshot.labels
    page = report_html(evaluation, catalog.codes_NL, examples, title, recipe_yaml, facts, behavioural_alignment, churn, labels)
    catalog.workspace.write_json(f"{folder}/{EVALUATION_FILE}", evaluation.model_dump(mode="json"))
    if behavioural_alignment is not None:
        catalog.workspace.write_json(f"{folder}/{BEHAVIOURAL_ALIGNMENT_FILE}", behavioural_alignment.model_dump(mode="json"))
    catalog.workspace.write_bytes(f"{folder}/{REPORT_FILE}", page.encode())


def read_evaluation(workspace: Workspace, folder: str) -> Evaluation:
    """The evaluation that a release was published with."""
    return Evaluation.model_validate(workspace.read_json(f"{folder}/{EVALUATION_FILE}"))


def example_prefixes(catalog: CodedCatalog, prefixes: int = 4, products: int = 4) -> list[tuple[str, list[str]]]:
    """Some prefixes of two levels with titles of their products: of each of the largest first codewords, its largest prefix."""
    first_N = catalog.codes_NL[:, 0].astype(np.int64)
    count_K = np.bincount(first_N)
    chosen = []
    for first in np.argsort(count_K, kind="stable")[::-1][: min(prefixes, np.count_nonzero(count_K))]:
        members = np.flatnonzero(first_N == first)
        second_M = catalog.codes_NL[members, 1] if catalog.codes_NL.shape[1] > 1 else np.zeros(len(members), np.int64)
        largest = int(np.bincount(second_M).argmax())
        chosen.append((format_codes([first, largest][: catalog.codes_NL.shape[1]]), members[second_M == largest][:products]))
    examples = _examples(catalog, np.unique(np.concatenate([members for _, members in chosen])))
    return [(prefix + SEPARATOR + "..", [examples.titles[int(member)] for member in members]) for prefix, members in chosen]


def _examples(catalog: CodedCatalog, needed_M: NDArray[np.integer]) -> ReportExamples:
    """Titles and leaves of some products, given by their place among the coded ones."""
    wanted_M = catalog.embedded.positions_N[needed_M]
    titles, leaves, first = [], [], 0
    for batch in snapshot_batches(catalog.workspace, catalog.snapshot, ["title", "category_path"]):
        low, high = np.searchsorted(wanted_M, [first, first + len(batch)])
        rows = batch.take(wanted_M[low:high] - first)
        titles += rows["title"].to_pylist()
        leaves += [" > ".join(path) if path else None for path in rows["category_path"].to_pylist()]
        first += len(batch)
    return ReportExamples.from_columns(needed_M, titles, leaves)
