"""One call that holds retrievers and controls against the same cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shelfcode.reporting.figures import Figures
from shelfcode.retrieval.evaluation.breadth import Faults, Shown, drift, faults, shown, variety
from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.evaluation.intervals import RESAMPLES, Figure, differences_of, figures_of
from shelfcode.retrieval.evaluation.measures import recall_and_ndcg
from shelfcode.retrieval.evaluation.parameters import ParameterRatio
from shelfcode.retrieval.evaluation.product_facts import ProductFacts, target_slices
from shelfcode.retrieval.evaluation.retailer_products import RetailerProducts
from shelfcode.retrieval.lists import Lists

Kind = Literal["generator", "cr", "union", "control"]


class DecodeTime(Figures):
    """How long answers took.

    Attributes:
        beams: B, products of an answer.
        batch: requests answered together.
        p50_ms, p99_ms: of such a batch, milliseconds.
    """

    beams: int
    batch: int
    p50_ms: float
    p99_ms: float


class Cost(Figures):
    """What a trained retriever takes.

    Attributes:
        parameters, embedding_parameters: in all, and of the tables of products or codewords.
        training_seconds: mean of its versions.
        device: what it was trained and timed on, in words.
        decode: times of answers.
    """

    parameters: int
    embedding_parameters: int
    training_seconds: float
    device: str
    decode: tuple[DecodeTime, ...] = ()


@dataclass(frozen=True)
class Answers:
    """What one retriever or control answered to the cases.

    Attributes:
        name: as a reader knows it.
        versions: the answers of each training of it, one for a control; all of one length.
        cost: of a trained one.
    """

    name: str
    kind: Kind
    versions: tuple[Lists, ...]
    cost: Cost | None = None


class RetrieverFigures(Figures):
    """What one retriever is worth.

    Attributes:
        versions: trainings of it that were measured.
        figures: by name: recall and NDCG (measures.py) of all targets and of slices, variety and drift (breadth.py).
        shown: what the lists of the first version show together.
        faults: what must not be, of all versions.
        cost: None of a control or a union.
    """

    name: str
    kind: Kind
    versions: int
    figures: dict[str, Figure]
    shown: Shown
    faults: Faults
    cost: Cost | None


class Difference(Figures):
    """What one retriever has over another on the same cases, resampled together.

    Attributes:
        name, over: the two; a figure is that of `name` less that of `over`.
    """

    name: str
    over: str
    figures: dict[str, Figure]


class RetrievalEvaluation(Figures):
    """Retrievers and controls on the same cases; kept as `evaluation.json`.

    Attributes:
        data, protocol: what was measured on, and how, in words.
        cases, targets, products: their numbers.
        slices: targets of each slice (product_facts.py says what it holds).
        retrievers: in the order that they were given.
        differences: of the pairs that were asked for.
        parameters: embedding parameters of scoring model and generator, where there are both.
        seed, resamples: of the intervals.
    """

    data: str
    protocol: str
    cases: int
    targets: int
    products: int
    slices: dict[str, int]
    retrievers: tuple[RetrieverFigures, ...]
    differences: tuple[Difference, ...]
    parameters: ParameterRatio | None
    seed: int
    resamples: int

    def retriever(self, name: str) -> RetrieverFigures:
        """The retriever of this name; KeyError where there is none."""
        return {each.name: each for each in self.retrievers}[name]


def evaluate_retrievers(
    cases: Cases,
    answers: Sequence[Answers],
    facts: ProductFacts,
    allowed: RetailerProducts,
    data: str,
    protocol: str,
    compared: Sequence[tuple[str, str]] = (),
    own_RN: csr_array | None = None,
    parameters: ParameterRatio | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> RetrievalEvaluation:
    """Measure all answers.

    Args:
        answers: a list for each case, at least 50 products long where the figures at 50 are to mean what they say.
        compared: pairs of names; what the first has over the second.
        own_RN: what each case's user had in training (`target_slices`).

    Raises:
        ValueError: two have one name, or one has no version or not a list for each case.
        KeyError: a name in `compared` is not among the answers.
    """
    if len({each.name for each in answers}) < len(answers) or not all(each.versions for each in answers):
        raise ValueError("every retriever needs a name of its own and at least one version")
    slices = target_slices(cases, facts, own_RN)
    values = {each.name: [_values(lists, cases, facts, slices) for lists in each.versions] for each in answers}
    return RetrievalEvaluation(
        data=data, protocol=protocol, cases=len(cases), targets=len(cases.target_T), products=len(facts.sold_N),
        slices={name: int(part_T.sum()) for name, part_T in slices.items()},
        retrievers=tuple(
            RetrieverFigures(
                name=each.name, kind=each.kind, versions=len(each.versions), figures=figures_of(values[each.name], seed, resamples),
                shown=shown(each.versions[0], facts), faults=_all_faults(each.versions, cases, allowed), cost=each.cost,
            )
            for each in answers
        ),
        differences=tuple(
            Difference(name=name, over=over, figures=differences_of(values[over], values[name], seed, resamples)) for name, over in compared
        ),
        parameters=parameters, seed=seed, resamples=resamples,
    )  # fmt: skip


def _values(
    lists: Lists, cases: Cases, facts: ProductFacts, slices: Mapping[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.float64]]:  # fmt: skip
    """Every figure of each case."""
    return recall_and_ndcg(lists, cases, slices) | variety(lists, facts) | drift(lists, cases.contexts, facts)


def _all_faults(versions: Sequence[Lists], cases: Cases, allowed: RetailerProducts) -> Faults:
    counted = [faults(lists, cases.contexts, allowed) for lists in versions]
    return Faults(**{name: sum(getattr(each, name) for each in counted) for name in Faults.model_fields if name != "undefined"})
