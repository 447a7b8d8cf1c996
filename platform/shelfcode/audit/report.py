"""The report of an audit: one self-contained HTML page for whoever decides whether a review is worth it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import escape
from numpy.typing import NDArray

from shelfcode.audit.findings.patterns import RELABELS
from shelfcode.audit.published_audit import AuditManifest, WrongLabels
from shelfcode.reporting.page import render_page
from shelfcode.reporting.plots import ACCENT, LINES, as_html, shorten, shorten_front, style
from shelfcode.reporting.tables import rare_share_text

ISSUE_SENTENCES = {
    "wrong_branch": "It belongs under another department.",
    "wrong_leaf": "It belongs under another leaf of the same department.",
    "too_shallow": "It belongs further down the path that it has.",
    "placeholder": "Its path says nothing; there is a suggestion.",
    "conflict": "The same product is filed elsewhere, too.",
    "outlier": "It fits nowhere: its text or its code is wrong.",
    "sparse_text": "Its text says too little; more of it would help.",
    "spelling": "Its label is another one in other letters.",
}
CATEGORIES_SHOWN, PATTERNS_SHOWN, FINDINGS_SHOWN, POINTS = 20, 20, 15, 200


def report_html(manifest: AuditManifest, findings: pa.Table, patterns: pa.Table, categories: pa.Table) -> str:
    """The whole page as text; the caller writes it. Titles and paths are the user's data and are shown as text, whatever they hold.

    Args:
        findings, patterns, categories: of the audit, as FINDINGS, PATTERNS and CATEGORIES.
    """
    best = findings.sort_by([("priority", "descending")])
    plots = {"departments": department_plot(manifest), "curve": curve_plot(*expected_curve(best["p_wrong"]), manifest.wrong)}
    about_categories = categories.filter(pc.is_valid(categories["issue"])).to_pylist()
    worst = categories.filter(pc.is_null(categories["issue"])).slice(0, CATEGORIES_SHOWN).to_pylist()
    return render_page(
        "audit/report.html.j2",
        f"Audit of {manifest.release}",
        with_plots=True,
        plots={name: as_html(figure, f"plot-{name}") for name, figure in plots.items()},
        manifest=manifest,
        wrong_share=rare_share_text(manifest.wrong.estimate / max(1, manifest.labelled)),
        issues=[(issue, count, ISSUE_SENTENCES[issue]) for issue, count in manifest.issues.items()],
        worst=[_category(row) for row in worst if row["expected_wrong"] >= 0.5],
        suspicions={
            kind: [row["sentence"] for row in about_categories if row["issue"] == kind][:CATEGORIES_SHOWN]
            for kind in ("overlap", "incoherent", "spelling")
        },
        patterns=patterns.slice(0, PATTERNS_SHOWN).to_pylist(),
        pattern_count=len(patterns),
        best=[_finding(row) for row in _with_label_issue(best).slice(0, FINDINGS_SHOWN).to_pylist()],
    )


def _with_label_issue(findings: pa.Table) -> pa.Table:
    return findings.filter(pc.is_in(findings["issue"], pa.array(sorted(RELABELS))))


def expected_curve(p_wrong: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Errors expected among the first findings: ranks from 0 on and their errors, POINTS at the most.

    Args:
        p_wrong: of the findings in the order of the queue.
    """
    expected_N = np.concatenate([[0.0], np.cumsum(p_wrong.to_numpy())])
    rank_M = np.unique(np.linspace(0, len(expected_N) - 1, min(POINTS, len(expected_N))).astype(np.int64))
    return rank_M, expected_N[rank_M]


def curve_plot(rank_M: NDArray[np.int64], expected_M: NDArray[np.float64], wrong: WrongLabels) -> go.Figure:
    """Expected errors against findings looked at, with the number of wrong labels in the whole catalog as a line."""
    figure = go.Figure(go.Scatter(x=rank_M, y=expected_M, mode="lines", line={"color": ACCENT, "width": 2.5}, name="expected errors"))
    figure.add_hline(y=wrong.estimate, line={"color": LINES[1], "dash": "dot"}, annotation_text="wrong labels in all")
    figure.update_xaxes(title_text="findings looked at, by priority", rangemode="tozero")
    figure.update_yaxes(title_text="errors among them", rangemode="tozero")
    return style(figure, 380)


def department_plot(manifest: AuditManifest) -> go.Figure:
    """Wrong labels by department, with intervals: the thirty with the most."""
    records = manifest.departments[:30][::-1]
    names = [str(escape(shorten(record.name, 40))) for record in records]
    estimates = [record.wrong.estimate for record in records]
    errors = {
        "type": "data", "symmetric": False, "array": [record.wrong.high - record.wrong.estimate for record in records],
        "arrayminus": [record.wrong.estimate - record.wrong.low for record in records], "color": LINES[5], "thickness": 1,
    }  # fmt: skip
    shares = [f"{rare_share_text(record.wrong.estimate / max(1, record.products))} of {record.products:,}" for record in records]
    figure = go.Figure(go.Bar(x=estimates, y=names, orientation="h", error_x=errors, marker_color=ACCENT, customdata=shares))
    figure.update_traces(hovertemplate="%{y}: %{x:,.0f} wrong, %{customdata}<extra></extra>")
    figure.update_xaxes(title_text="labels expected to be wrong")
    figure.update_yaxes(automargin=True)
    return style(figure, max(260, 90 + 24 * len(records)))


def path_text(path: Sequence[str] | None) -> str:
    return " > ".join(path or ())


def _category(row: dict[str, Any]) -> dict[str, Any]:
    share = rare_share_text(row["expected_wrong"] / max(1, row["products"]))
    return {**row, "path": path_text(row["path"]), "share": share}


def _finding(row: dict[str, Any]) -> dict[str, Any]:
    evidence = row["evidence"]
    nearest = [(shorten(near["title"], 80), shorten_front(path_text(near["path"]), 60)) for near in evidence["nearest"]]
    suggestions = [(path_text(path), f"{p:.0%}") for path, p in zip(row["suggested_paths"][:3], row["suggested_p"][:3], strict=True)]
    return {
        "title": shorten(row["title"], 140), "item_id": row["item_id"], "issue": row["issue"].replace("_", " "),
        "p": f"{row['p_wrong']:.0%}", "given": path_text(row["given_path"]), "suggestions": suggestions, "reason": evidence["reason"],
        "nearest": nearest, "fault": evidence["fault"],
    }  # fmt: skip
