"""What a judge says of one release or two: the gate first, then scores by level, the contrast, the worst clusters, and what it cost."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.evaluation.judge import contrast
from shelfcode.evaluation.judge.gate import HALO, GateFigures, Verdict, halo
from shelfcode.evaluation.judge.instruments import DIMENSIONS, FUNCTIONAL, JOURNEY
from shelfcode.evaluation.judge.judging import Judged, largest_difference
from shelfcode.evaluation.judge.sets import CLUSTER, ClusterSample, JudgedCatalog, ProductSet
from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.reporting.figures import Figures

WORST = 20
ORDER: dict[Verdict, int] = {"usable": 2, "weak": 1, "cannot_tell": 0}
GPU_FLOPS = 2e14
"""Of a matrix product in bfloat16 on one GPU of today, at the share of its peak that a prefill reaches: 200 TFLOPS. An assumption."""
LARGE_MODEL = 4e9


class LevelScore(Figures):
    """A release's clusters of one level, in one dimension.

    Attributes:
        release, dimension, level: whose.
        clusters: judged, anchors that share a cluster counted each.
        value, low, high: mean calibrated value with its interval; 0 is shuffled, 1 a leaf of the catalog.
        purity: what that looks like: a leaf with so large a share of its own products.
    """

    release: str
    dimension: str
    level: int
    clusters: int
    value: float | None
    low: float | None
    high: float | None
    purity: float | None


class WorstCluster(Figures):
    """A cluster that holds together least, with the products that were shown."""

    release: str
    prefix: str
    level: int
    value: float
    purity: float
    titles: tuple[str, ...]
    item_ids: tuple[str, ...]


class Cost(Figures):
    """What the judging took.

    Attributes:
        questions, asked: all, and those that were not known from an earlier run.
        tokens: of the prompts of all questions.
        seconds: of asking.
        large_model_gpu_seconds: what the same tokens would take a model of 4 B parameters on one GPU, by arithmetic.
    """

    questions: int
    asked: int
    tokens: int
    seconds: float
    large_model_gpu_seconds: float


class JudgeEvaluation(Figures):
    """What a judge says, kept as evaluation.json.

    Attributes:
        releases: one, or two over the same anchors.
        judge: its name in the workspace; model, digest, prompts and engine say what it stands for.
        verdict, sentence: of the judge, by its best functional scale, and why.
        gates: of each scale.
        chosen: the scale that scores each dimension; None where none may.
        halo: least correlation between the dimensions' scales over the controls.
        separable: whether the dimensions are more than one impression.
        scores: by release, dimension and level; none where the gate allows none.
        differences: first release minus second, by dimension.
        headline: (functional - functional) - (journey - journey), by level, 0 for all.
        rest: estimates over all clusters of the functional dimension, by release.
        worst: the clusters that hold together least.
        largest_difference: between the two readings of a cluster in two orders, by scale.
        notes: what is fewer than was asked for.
    """

    releases: tuple[str, ...]
    judge: str
    model: str
    digest: str
    prompts: str
    engine: str
    verdict: Verdict
    sentence: str
    gates: tuple[GateFigures, ...]
    chosen: dict[str, str | None]
    halo: float | None
    separable: bool
    scores: tuple[LevelScore, ...]
    differences: dict[str, tuple[contrast.Contrast, ...]]
    headline: tuple[contrast.Contrast, ...]
    rest: dict[str, tuple[contrast.RestEstimate, ...]]
    worst: tuple[WorstCluster, ...]
    largest_difference: dict[str, float]
    cost: Cost
    notes: tuple[str, ...]


@dataclass(frozen=True)
class JudgeIdentity:
    """What a judge is, as far as its scores may depend on it."""

    judge: str
    model: str
    digest: str
    prompts: str
    engine: str


def evaluate_judged(
    catalog: JudgedCatalog, sample: ClusterSample, sets: Sequence[ProductSet], judged: Sequence[Judged], identity: JudgeIdentity,
    cost: Cost, products: int, seed: int,
) -> JudgeEvaluation:  # fmt: skip
    """All figures, from what was judged.

    Args:
        sets: clusters and controls, as the readings are ordered.
        products: of a set.
    """
    names = tuple(release.name for release in catalog.releases)
    chosen = {dimension: _chosen(judged, dimension) for dimension in DIMENSIONS}
    allowed = {dimension: of for dimension, of in chosen.items() if of is not None}
    worth = {dimension: _worth(of, sets) for dimension, of in allowed.items()}
    correlation = _halo(list(allowed.values()), sets)
    separable = correlation is not None and correlation <= HALO
    functional = [each for each in judged if each.reader.dimension == FUNCTIONAL]
    best = max(functional, key=_rank)
    headline: tuple[contrast.Contrast, ...] = ()
    if len(names) == 2 and FUNCTIONAL in worth and JOURNEY in worth and separable:
        headline = tuple(contrast.headline(sample.anchors, names, worth, seed))
    return JudgeEvaluation(
        releases=names, judge=identity.judge, model=identity.model, digest=identity.digest, prompts=identity.prompts,
        engine=identity.engine, verdict=best.gate.verdict, sentence=_sentence(best.gate, correlation),
        gates=tuple(each.gate for each in judged), chosen={name: of.reader.name if of else None for name, of in chosen.items()},
        halo=correlation, separable=separable,
        scores=tuple(_scores(sample, names, allowed, worth, seed)),
        differences={
            dimension: tuple(contrast.difference(sample.anchors, names, worth[dimension], seed)) for dimension in worth if len(names) == 2
        },
        headline=headline, rest=_rest(catalog, sample, worth.get(FUNCTIONAL), products, seed),
        worst=tuple(_worst(catalog, sets, allowed.get(FUNCTIONAL))),
        largest_difference={
            each.reader.name: gap for each in judged if (gap := largest_difference(each, sets)) is not None
        },
        cost=cost, notes=sample.notes,
    )  # fmt: skip


def calibrated(of: Judged) -> NDArray[np.float64]:
    """Calibrated value of each set; NaN where it has none."""
    return np.full(len(of.readings), np.nan) if of.scale is None else (of.raw() - of.scale.floor) / (of.scale.ceiling - of.scale.floor)


def _rank(of: Judged) -> tuple[int, float]:
    return ORDER[of.gate.verdict], of.gate.separation.low if of.gate.separation else 0.0


def _chosen(judged: Sequence[Judged], dimension: str) -> Judged | None:
    """The scale of a dimension that its controls speak for most; None where none may be shown."""
    of = max((each for each in judged if each.reader.dimension == dimension), key=_rank, default=None)
    return None if of is None or of.gate.verdict == "cannot_tell" or of.scale is None else of


def _worth(of: Judged, sets: Sequence[ProductSet]) -> dict[tuple[str, str], float]:
    """Calibrated value of each cluster, the mean over its draws."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each, value in zip(sets, calibrated(of).tolist(), strict=True):
        if each.kind == CLUSTER and not np.isnan(value):
            values[each.release, each.name].append(value)
    return {cluster: float(np.mean(drawn)) for cluster, drawn in values.items()}


def _halo(allowed: Sequence[Judged], sets: Sequence[ProductSet]) -> float | None:
    controls = np.array([each.kind != CLUSTER for each in sets])
    raw = {of.reader.dimension: of.raw()[controls] for of in allowed}
    known = ~np.isnan(np.stack(list(raw.values()))).any(axis=0) if raw else np.empty(0, bool)
    return halo({dimension: values[known] for dimension, values in raw.items()}, list(raw)) if known.sum() > 2 else None


def _sentence(best: GateFigures, correlation: float | None) -> str:
    if best.verdict == "usable":
        text = f"{best.name} tells leaves of the catalog from shuffled sets, and more planted intruders from fewer"
    elif best.verdict == "weak":
        text = f"{best.name} tells something, but: {'; '.join(best.reasons)}"
    else:
        reasons = "; ".join(best.reasons) or "it does not tell leaves from shuffled sets"
        text = f"this model cannot judge these products ({best.name}): {reasons}"
    if correlation is not None and correlation > HALO:
        text += (
            f". Halo, not separable: its dimensions correlate by {correlation:.2f} over the controls, one impression of a set and not three"
        )
    return text


def _scores(
    sample: ClusterSample, names: Sequence[str], allowed: Mapping[str, Judged], worth: Mapping[str, contrast.Worth], seed: int
) -> list[LevelScore]:
    scores = []
    for dimension, of in allowed.items():
        for place, name in enumerate(names):
            for mean in contrast.mean_of(sample.anchors, place, name, worth[dimension], seed):
                scale = of.scale
                purity = None
                if scale is not None and mean.value is not None:
                    purity = scale.purity_of(scale.floor + mean.value * (scale.ceiling - scale.floor))
                undefined = mean.undefined | ({"purity": "no cluster was judged"} if purity is None else {})
                scores.append(
                    LevelScore(
                        release=name, dimension=dimension, level=mean.level, clusters=mean.anchors, value=mean.value, low=mean.low,
                        high=mean.high, purity=purity, undefined=undefined,
                    )
                )  # fmt: skip
    return scores


def _rest(
    catalog: JudgedCatalog, sample: ClusterSample, worth: contrast.Worth | None, products: int, seed: int
) -> dict[str, tuple[contrast.RestEstimate, ...]]:
    if worth is None:
        return {}
    found = {}
    for place, release in enumerate(catalog.releases):
        numbers = prefix_numbers(release.codes_NL, release.codebook_sizes)
        estimates = []
        for each in sample.anchors:
            value_A = contrast.anchor_values(each, place, release.name, worth)
            if len(value_A):
                cheap = contrast.cheap_statistics(numbers[each.level - 1], catalog.taxonomy.leaf_of_N, products, each.rows, seed)
                estimates.append(contrast.rest_estimate(each.level, value_A, cheap))
        found[release.name] = tuple(estimates)
    return found


def _worst(catalog: JudgedCatalog, sets: Sequence[ProductSet], of: Judged | None) -> list[WorstCluster]:
    if of is None or of.scale is None:
        return []
    values, raw, scale = calibrated(of), of.raw(), of.scale
    places = [place for place, each in enumerate(sets) if each.kind == CLUSTER and not np.isnan(values[place])]
    worst = []
    for place in sorted(places, key=lambda place: float(values[place]))[:WORST]:
        each = sets[place]
        ids = catalog.item_ids.take(np.array(each.members)).to_pylist()
        worst.append(
            WorstCluster(
                release=each.release, prefix=each.name, level=each.level, value=float(values[place]),
                purity=scale.purity_of(float(raw[place])), titles=catalog.titles_of(each.members, 100), item_ids=tuple(ids),
            )
        )  # fmt: skip
    return worst


def gpu_seconds(tokens: int) -> float:
    """Seconds that the tokens of prompts take a model of 4 B parameters on one GPU: two operations per parameter and token."""
    return 2 * LARGE_MODEL * tokens / GPU_FLOPS
