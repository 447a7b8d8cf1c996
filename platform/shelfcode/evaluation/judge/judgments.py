"""What a judge said, as the workspace keeps it.

judgments/<release>/<judge>/ is a table of every reading; evaluations/<release>/<judge>/ holds evaluation.json and report.html.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from shelfcode.evaluation.judge.judge_evaluation import JudgeEvaluation, calibrated
from shelfcode.evaluation.judge.judging import Judged
from shelfcode.evaluation.judge.sets import CLUSTER, JudgedCatalog, ProductSet
from shelfcode.parts import part_path
from shelfcode.workspace import Workspace

EVALUATION_FILE, REPORT_FILE = "evaluation.json", "report.html"

_SCHEMA = pa.schema(
    [
        ("prefix", pa.string()), ("draw", pa.int64()), ("instrument", pa.string()), ("item_ids", pa.list_(pa.string())),
        ("raw", pa.float64()), ("calibrated", pa.float64()), ("control", pa.string()),
    ]
)  # fmt: skip
"""`instrument` holds the dimension, too: pmi.functional. `control` is null for a cluster; a control's `prefix` is the leaf behind it."""


def judgments_folder(release: str, judge: str) -> str:
    """Where what a judge said of a release is kept within the workspace."""
    return f"judgments/{release}/{judge}"


def evaluation_folder(release: str, judge: str) -> str:
    """Where the evaluation and the report stand."""
    return f"evaluations/{release}/{judge}"


def judgments_table(catalog: JudgedCatalog, sets: Sequence[ProductSet], judged: Sequence[Judged], release: str) -> pa.Table:
    """Every reading of a release's clusters and of the controls."""
    ours = [place for place, each in enumerate(sets) if each.release in ("", release)]
    ids = [catalog.item_ids.take(pa.array(sets[place].members, pa.int64())).to_pylist() for place in ours]
    rows = []
    for of in judged:
        values, raw = calibrated(of), of.raw()
        for place, item_ids in zip(ours, ids, strict=True):
            each = sets[place]
            rows.append(
                {
                    "prefix": each.name, "draw": each.draw, "instrument": of.reader.name, "item_ids": item_ids,
                    "raw": _known(raw[place]), "calibrated": None if of.gate.verdict == "cannot_tell" else _known(values[place]),
                    "control": None if each.kind == CLUSTER else each.kind,
                }
            )  # fmt: skip
    return pa.Table.from_pylist(rows, _SCHEMA)


def write_judgments(
    workspace: Workspace,
    catalog: JudgedCatalog,
    sets: Sequence[ProductSet],
    judged: Sequence[Judged],
    evaluation: JudgeEvaluation,
    page: str,
) -> list[str]:
    """Write what was judged under every release; evaluation.json goes last. Returns the folders of the evaluations."""
    folders = []
    for release in evaluation.releases:
        table = judgments_table(catalog, sets, judged, release)
        workspace.write_table(part_path(judgments_folder(release, evaluation.judge), "000000"), table)
        folder = evaluation_folder(release, evaluation.judge)
        workspace.write_bytes(f"{folder}/{REPORT_FILE}", page.encode())
        workspace.write_json(f"{folder}/{EVALUATION_FILE}", evaluation.model_dump(mode="json"))
        folders.append(folder)
    return folders


def _known(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
