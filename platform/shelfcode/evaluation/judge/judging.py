"""From sets to readings: which questions are asked about which sets, and what their replies come to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.evaluation.judge.controls import LEAF, SHUFFLED, planted
from shelfcode.evaluation.judge.gate import GateFigures, gate
from shelfcode.evaluation.judge.instruments import INSTRUMENTS, Instrument, Reading, Titled
from shelfcode.evaluation.judge.scale import PurityScale, fit_scale
from shelfcode.evaluation.judge.sets import CLUSTER, JudgedCatalog, ProductSet, by_kind
from shelfcode.llm.likelihood import Question, Reply

AGAIN_KINDS = (LEAF, planted(2), SHUFFLED)
"""Controls that are read in another order, too."""
AGAIN_EVERY = 20
"""So are one in so many clusters."""


_UNREAD = Reading(None, 0, 0)


@dataclass(frozen=True)
class Reader:
    """One instrument asking one dimension."""

    instrument: Instrument
    dimension: str

    @property
    def name(self) -> str:
        return f"{self.instrument.name}.{self.dimension}"


@dataclass(frozen=True)
class Judged:
    """All that one reader read.

    Attributes:
        reader: instrument and dimension.
        readings: one a set.
        again: of the sets that were read in another order, too, by their place.
        gate: whether these mean anything.
        scale: what they mean; None where leaves do not lie above shuffled sets.
    """

    reader: Reader
    readings: tuple[Reading, ...]
    again: Mapping[int, Reading]
    gate: GateFigures
    scale: PurityScale | None

    def raw(self) -> NDArray[np.float64]:
        """Value of each set; NaN where it has none."""
        return _values(self.readings)


def readers(instruments: Sequence[str], dimensions: Sequence[str]) -> list[Reader]:
    """A reader for each of these dimensions that each instrument asks about."""
    asked = [(INSTRUMENTS[name], dimension) for name in instruments for dimension in dimensions]
    return [Reader(instrument, dimension) for instrument, dimension in asked if dimension in instrument.dimensions]


def titled(catalog: JudgedCatalog, sets: Sequence[ProductSet], characters: int) -> list[Titled]:
    """Titles of each set and of its strangers."""
    rows = sorted({row for each in sets for row in (*each.members, *each.strangers)})
    title_of = dict(zip(rows, catalog.titles_of(rows, characters), strict=True))
    return [Titled(tuple(title_of[row] for row in each.members), tuple(title_of[row] for row in each.strangers)) for each in sets]


def read_again(sets: Sequence[ProductSet]) -> list[int]:
    """Places of the sets that are read a second time, in another order."""
    clusters = [place for place, each in enumerate(sets) if each.kind == CLUSTER]
    return sorted([place for place, each in enumerate(sets) if each.kind in AGAIN_KINDS] + clusters[::AGAIN_EVERY])


def all_questions(asked: Sequence[Reader], sets: Sequence[Titled], again: Sequence[int]) -> list[Question]:
    """Every question once, controls and clusters mixed by the hash of the question: nothing tells a judge which is which."""
    found = {question.key: question for question in _questions(asked, sets, again)}
    return [found[key] for key in sorted(found)]


def _questions(asked: Sequence[Reader], sets: Sequence[Titled], again: Sequence[int]) -> Iterator[Question]:
    for reader in asked:
        yield from reader.instrument.prior(reader.dimension)
        for each in (*sets, *(sets[place].reordered() for place in again)):
            yield from reader.instrument.ask(each, reader.dimension)


def judge_all(
    asked: Sequence[Reader], sets: Sequence[ProductSet], titles: Sequence[Titled], replies: Mapping[str, Reply], products: int, seed: int
) -> list[Judged]:
    """What each reader read, with its gate and its scale.

    Args:
        products: of a set.
    """
    again = read_again(sets)
    return [_judge(reader, sets, titles, again, replies, products, seed) for reader in asked]


def _judge(
    reader: Reader, sets: Sequence[ProductSet], titles: Sequence[Titled], again: Sequence[int], replies: Mapping[str, Reply],
    products: int, seed: int,
) -> Judged:  # fmt: skip
    ask, read, dimension = reader.instrument.ask, reader.instrument.read, reader.dimension
    prior = [replies[question.key] for question in reader.instrument.prior(dimension)]

    def reading(of: Titled) -> Reading:
        return read(of, dimension, [replies[question.key] for question in ask(of, dimension)], prior)

    readings = tuple(reading(of) for of in titles)
    second = {place: reading(titles[place].reordered()) for place in again}
    first_S = _values(readings)
    second_S = _values([second.get(place, _UNREAD) for place in range(len(sets))])
    values, values_again = {}, {}
    for kind, places in by_kind(sets):
        if kind != CLUSTER and (known := [place for place in places if not np.isnan(first_S[place])]):
            values[kind], values_again[kind] = first_S[known], second_S[known]
    everything = [*readings, *second.values()]
    turned = sum(each.turned for each in everything)
    flips = sum(each.flipped for each in everything) / turned if turned else None
    valid = sum(each.valid for each in everything) / max(1, sum(each.asked for each in everything))
    figures = gate(reader.name, values, values_again, valid, flips, products, seed)
    has_both = LEAF in values and SHUFFLED in values
    return Judged(reader, readings, second, figures, fit_scale(values, products) if has_both else None)


def _values(readings: Sequence[Reading]) -> NDArray[np.float64]:
    return np.array([np.nan if each.value is None else each.value for each in readings])


def largest_difference(judged: Judged, sets: Sequence[ProductSet]) -> float | None:
    """Largest difference between the two readings of one cluster, on the calibrated scale; None where none was read twice."""
    if judged.scale is None:
        return None
    gaps = [
        abs(judged.scale.calibrated(first) - judged.scale.calibrated(second.value))
        for place, second in judged.again.items()
        if sets[place].kind == CLUSTER and second.value is not None and (first := judged.readings[place].value) is not None
    ]
    return max(gaps, default=None)
