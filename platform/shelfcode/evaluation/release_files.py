"""The evaluation of a release, read from its folder and written as evaluation.json and report.html."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot, snapshot_batches, snapshot_taxonomy
from shelfcode.embedding.embedded_catalog import EmbeddedCatalog
from shelfcode.embedding.matrix import embedding_matrix
from shelfcode.evaluation.evaluate import Evaluation, evaluate
from shelfcode.evaluation.report import ReportExamples, positions_needed, report_html
from shelfcode.flavor import Recipe
from shelfcode.keys import item_keys
from shelfcode.quantization.semantic_ids import read_codes
from shelfcode.semantic_id import SEPARATOR, format_codes
from shelfcode.workspace import Workspace

EVALUATION_FILE, REPORT_FILE = "evaluation.json", "report.html"


@dataclass(frozen=True)
class CodedCatalog:
    """A catalog and its codes, side by side: what an evaluation looks at.

    Attributes:
        positions_N: place of each coded product in the snapshot.
        codes_NL: its codes.
    """

    workspace: Workspace
    snapshot: Snapshot
    embedded: EmbeddedCatalog
    codes_NL: NDArray[np.uint16]


def read_coded_catalog(workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, folder: str) -> CodedCatalog:
    """Codes of a snapshot's products, from the semantic IDs in `folder`."""
    batches = snapshot_batches(workspace, snapshot, ["item_id"])
    item_keys_N = np.concatenate([item_keys(batch["item_id"]) for batch in batches])[embedded.positions_N]
    return CodedCatalog(workspace, snapshot, embedded, read_codes(workspace, f"{folder}/semantic_ids", item_keys_N))


def evaluate_catalog(catalog: CodedCatalog, recipe: Recipe, seed: int = 0) -> Evaluation:
    """Evaluate the codes of a catalog against its own embeddings and taxonomy."""
    x_ND = embedding_matrix(catalog.workspace, catalog.embedded.folder, catalog.embedded.keys_N)
    taxonomy = snapshot_taxonomy(catalog.workspace, catalog.snapshot).of(catalog.embedded.positions_N)
    return evaluate(x_ND, catalog.codes_NL, recipe.quantizer.codebook_sizes, taxonomy, seed)


def write_evaluation(
    catalog: CodedCatalog, evaluation: Evaluation, recipe: Recipe, folder: str, title: str, facts: Mapping[str, object]
) -> None:
    """Write evaluation.json and report.html into a folder of the workspace."""
    examples = _examples(catalog, positions_needed(evaluation, catalog.codes_NL))
    recipe_yaml = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    page = report_html(evaluation, catalog.codes_NL, examples, title, recipe_yaml, facts)
    catalog.workspace.write_json(f"{folder}/{EVALUATION_FILE}", evaluation.model_dump(mode="json"))
    catalog.workspace.write_bytes(f"{folder}/{REPORT_FILE}", page.encode())


def read_evaluation(workspace: Workspace, folder: str) -> Evaluation:
    """The evaluation that a release was published with."""
    return Evaluation.model_validate(workspace.read_json(f"{folder}/{EVALUATION_FILE}"))


def example_prefixes(catalog: CodedCatalog, prefixes: int = 4, products: int = 4) -> list[tuple[str, list[str]]]:
    """A few prefixes of two levels with the titles of some of their products: the largest one of each of the largest first codewords."""
    first_N = catalog.codes_NL[:, 0].astype(np.int64)
    chosen = []
    for first in np.argsort(np.bincount(first_N), kind="stable")[::-1][:prefixes]:
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
