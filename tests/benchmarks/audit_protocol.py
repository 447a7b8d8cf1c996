"""Wrong labels planted in a catalog, and figures of a ranking against them; or against human labels of the same products.

Planting: of the products whose category says something, a share gets the whole path of another leaf: every second one a sibling's (same
parent), the others any leaf's, in proportion to its size half of the time and uniformly else.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SAYS_NOTHING = {"missing", "other", "unknown", "uncategorized", "miscellaneous"}
BINS = 15

Path = tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """Which of the judged products have a wrong label.

    Attributes:
        item_ids: of the judged products.
        wrong_N: their labels.
        true_path_of: the right path of each planted error; empty where it is not known.
        kind_of: sibling or any, of each planted error.
    """

    item_ids: list[str]
    wrong_N: NDArray[np.bool_]
    true_path_of: Mapping[str, Path] = field(default_factory=dict)
    kind_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Suspicions:
    """What a method thinks of products: score, p and first suggestion, by item_id. Products that it does not name rank last."""

    score_of: Mapping[str, float]
    p_of: Mapping[str, float] = field(default_factory=dict)
    suggested_of: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """How well suspicions fit the truth; None where that cannot be told.

    Attributes:
        calibration_error: of the products that have a p (`calibration_error`).
        expected_wrong: sum of p.
        first_right: share of the errors found, with p of at least one half, whose first suggestion is the right path.
    """

    average_precision: float
    average_precision_of: dict[str, float]
    recall_at_5_percent: float
    precision_at_100: float
    calibration_error: float | None
    expected_wrong: float | None
    first_right: float | None


def paths_of(table: pa.Table) -> list[Path]:
    """Category paths; () where there is none."""
    return [tuple(path) if path else () for path in table["category_path"].to_pylist()]


def says_something(path: Path) -> bool:
    return bool(path) and path[0].lower() not in SAYS_NOTHING and path[-1].lower() not in SAYS_NOTHING


def flip(catalog: pa.Table, share: float, seed: int) -> tuple[pa.Table, pa.Table]:
    """The catalog with wrong labels; and item_id, true_path, flipped_path and kind of each."""
    paths, rng = paths_of(catalog), np.random.default_rng(seed)
    eligible = [row for row, path in enumerate(paths) if says_something(path)]
    size_of = Counter(paths[row] for row in eligible)
    leaves = sorted(size_of)
    weight_P = np.array([size_of[leaf] for leaf in leaves], dtype=np.float64)
    weight_P /= weight_P.sum()
    children: dict[Path, list[Path]] = defaultdict(list)
    for leaf in leaves:
        children[leaf[:-1]].append(leaf)
    flipped, ids, rows = list(paths), catalog["item_id"].to_pylist(), []
    for number, row in enumerate(rng.choice(eligible, int(share * len(eligible)), replace=False).tolist()):
        siblings = [leaf for leaf in children[paths[row][:-1]] if leaf != paths[row]]
        to = paths[row]
        if number % 2 == 0 and siblings:
            to, kind = siblings[rng.integers(len(siblings))], "sibling"
        else:
            kind = "any"
            while to == paths[row]:
                to = leaves[rng.choice(len(leaves), p=weight_P) if number % 4 == 1 else rng.integers(len(leaves))]
        flipped[row] = to
        rows.append({"item_id": ids[row], "true_path": list(paths[row]), "flipped_path": list(to), "kind": kind})
    column = pa.array([list(path) or None for path in flipped], type=pa.list_(pa.string()))
    return catalog.set_column(catalog.schema.get_field_index("category_path"), "category_path", column), pa.Table.from_pylist(rows)


def planted(catalog: pa.Table, truth: pa.Table) -> Truth:
    """The truth about all products of a flipped catalog whose category says something."""
    rows = {row["item_id"]: row for row in truth.to_pylist()}
    ids = [name for name, path in zip(catalog["item_id"].to_pylist(), paths_of(catalog), strict=True) if says_something(path)]
    kind_of = {name: row["kind"] for name, row in rows.items()} if "kind" in truth.column_names else {}
    return Truth(ids, np.array([name in rows for name in ids]), {name: tuple(row["true_path"]) for name, row in rows.items()}, kind_of)


def against_gold(catalog: pa.Table, labels: pa.Table, at_least: int = 5) -> Truth:
    """A category means what most of its products are by people's labels; a label is wrong where its product is something else.

    Only categories with so many labelled products are judged, and no product on which people disagreed.
    """
    path_of = {name: path for name, path in zip(catalog["item_id"].to_pylist(), paths_of(catalog), strict=True) if path}
    gold_of = {row["item_id"]: tuple(row["gold_path"]) for row in labels.to_pylist() if not row["label_conflict"]}
    meanings: dict[Path, Counter[Path]] = defaultdict(Counter)
    for name, path in path_of.items():
        if name in gold_of:
            meanings[path][gold_of[name]] += 1
    ids = [name for name, path in path_of.items() if name in gold_of and meanings[path].total() >= at_least]
    return Truth(ids, np.array([gold_of[name] != meanings[path_of[name]].most_common(1)[0][0] for name in ids]))


def figures(truth: Truth, suspicions: Suspicions) -> Figures:
    """All figures. Products of equal score come in random order."""
    shuffled_N = np.random.default_rng(0).permutation(len(truth.item_ids))
    ids, wrong_N = [truth.item_ids[row] for row in shuffled_N], truth.wrong_N[shuffled_N]
    score_N = np.array([suspicions.score_of.get(name, -np.inf) for name in ids])
    p_N = np.array([suspicions.p_of.get(name, np.nan) for name in ids])
    order_N = np.argsort(-score_N, kind="stable")
    of_kind = {}
    for kind in sorted(set(truth.kind_of.values())):
        counted_N = np.array([not wrong or truth.kind_of[name] == kind for name, wrong in zip(ids, wrong_N, strict=True)])
        of_kind[kind] = average_precision(score_N[counted_N], wrong_N[counted_N])
    has_p_N = ~np.isnan(p_N)
    right = [
        suspicions.suggested_of.get(name) == truth.true_path_of[name]
        for name, wrong in zip(ids, wrong_N, strict=True)
        if wrong and name in truth.true_path_of and suspicions.p_of.get(name, 0.0) >= 0.5
    ]
    return Figures(
        average_precision=average_precision(score_N, wrong_N),
        average_precision_of=of_kind,
        recall_at_5_percent=float(wrong_N[order_N[: max(1, len(ids) // 20)]].sum() / wrong_N.sum()),
        precision_at_100=float(wrong_N[order_N[:100]].mean()),
        calibration_error=calibration_error(p_N[has_p_N], wrong_N[has_p_N]) if has_p_N.any() else None,
        expected_wrong=float(p_N[has_p_N].sum()) if has_p_N.any() else None,
        first_right=float(np.mean(right)) if right else None,
    )


def average_precision(score_N: NDArray[np.float64], wrong_N: NDArray[np.bool_]) -> float:
    """Mean over the wrong labels of the precision at their rank."""
    wrong_N = wrong_N[np.argsort(-score_N, kind="stable")].astype(np.float64)
    precision_N = np.cumsum(wrong_N) / np.arange(1, len(wrong_N) + 1)
    return float((precision_N * wrong_N).sum() / max(1.0, wrong_N.sum()))


def calibration_error(p_N: NDArray[np.float64], wrong_N: NDArray[np.bool_]) -> float:
    """Mean absolute difference of p and share of wrong labels, over bins of equally many products."""
    bins = np.array_split(np.argsort(p_N), BINS)
    return float(sum(len(bin_) * abs(p_N[bin_].mean() - wrong_N[bin_].mean()) for bin_ in bins if len(bin_)) / len(p_N))


def paired(item_ids: Sequence[str], flipped: Suspicions, true: Suspicions) -> float:
    """How often the same product is more suspicious with the flipped label than with the true one; equal counts half."""
    wins = []
    for name in item_ids:
        wrong, right = flipped.score_of.get(name, -np.inf), true.score_of.get(name, -np.inf)
        wins.append(0.5 if wrong == right else float(wrong > right))
    return float(np.mean(wins))
