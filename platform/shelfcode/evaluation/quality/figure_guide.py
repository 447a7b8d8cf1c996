"""What each headline figure is called, which way is better, and what good looks like."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shelfcode.evaluation.quality.collisions import UNLIKE_BELOW
from shelfcode.reporting.tables import NOT_DEFINED, number_text, share_text, times_text

Verdict = Literal["good", "fair", "poor"]

FIRST_FIGURES = ("similarity_depth_spearman", "share_at_l1_cosine_90", "codewords_used_share", "distinct_share")
"""What a newcomer looks at first: each has a verdict, and none needs a category tree."""


@dataclass(frozen=True)
class FigureGuide:
    """How to read one headline figure.

    Attributes:
        label: its name for a reader.
        sentence: what it means and what good looks like.
        higher_is_better: None where neither way is better by itself.
        good, poor: a value at or beyond `good` is good, one on the wrong side of `poor` is poor; None where there is no verdict.
        text: a value as a reader wants it.
    """

    label: str
    sentence: str
    higher_is_better: bool | None = True
    good: float | None = None
    poor: float | None = None
    text: Callable[[float], str] = share_text

    def verdict(self, value: float) -> Verdict | None:
        """good, fair or poor; None where the guide has no limits."""
        if self.good is None or self.poor is None or self.higher_is_better is None:
            return None
        sign = 1 if self.higher_is_better else -1
        if sign * value >= sign * self.good:
            return "good"
        return "poor" if sign * value < sign * self.poor else "fair"


_SHARE = re.compile(r"share_at_l(\d+)_cosine_90")

_GUIDES = {
    "similarity_depth_spearman": FigureGuide(
        "Similarity-depth",
        "Rank correlation of cosine and shared depth over pairs drawn evenly from all cosines. Instacart published 0.69 to 0.84 (2026); "
        "below 0.5 a shared prefix says little.",
        good=0.69,
        poor=0.5,
        text=number_text,
    ),
    "spearman_low": FigureGuide("Similarity-depth, low", "Lower end of the 95% interval of the correlation.", None, text=number_text),
    "spearman_high": FigureGuide("Similarity-depth, high", "Upper end of the 95% interval of the correlation.", None, text=number_text),
    "share_at_l1": FigureGuide(
        "Near-twins together at L1",
        "Of the pairs with cosine 0.9 or more, the share with the same first codeword. 0.95 or more is good; "
        "the rest are near-twins that no shared prefix can find.",
        good=0.95,
        poor=0.85,
    ),
    "codewords_used_share": FigureGuide(
        "Codewords used",
        "Share of the codebook in use, at the level that uses least. 1 is good; a small share means a collapsed level.",
        good=0.95,
        poor=0.5,
    ),
    "distinct_share": FigureGuide(
        "Distinct IDs",
        "Distinct semantic IDs over products. 0.75 to 0.95 is usual; true duplicates should share an ID, so 1 is not the aim.",
        good=0.75,
        poor=0.5,
    ),
    "unlike_collision_share": FigureGuide(
        "Unlike products on one ID",
        "Of the products that share their ID, the share whose mean cosine with the others of that ID is below "
        f"{UNLIKE_BELOW}: different products, not near-twins. 0 is the aim; it weighs more the fewer distinct IDs there are.",
        higher_is_better=False,
    ),
    "l1_largest_over_even": FigureGuide(
        "Largest first codeword",
        "Products of the commonest first codeword, over an even share. Up to 4 is good for a natural catalog; "
        "above 10 one codeword swallows it.",
        higher_is_better=False,
        good=4.0,
        poor=10.0,
        text=times_text,
    ),
    "ami_l1_top": FigureGuide(
        "L1 and top category",
        "Adjusted mutual information of first codeword and top category: 0 is chance, 1 the same grouping. 0.35 or more is good "
        "for IDs made from text.",
        good=0.35,
        poor=0.15,
        text=number_text,
    ),
    "purity_l1_top": FigureGuide(
        "Purity, L1 in top category", "Share of products that are of the majority top category of their first codeword."
    ),
    "purity_l2_leaf": FigureGuide(
        "Purity, L2 in leaf",
        "Share of products that are of the majority leaf of their two-level prefix. It rises with the number of prefixes by itself: "
        "compare only at equal codebook sizes.",
    ),
}


def guide_of(figure: str, levels: int) -> FigureGuide:
    """How to read a headline figure of semantic IDs with this many levels.

    Raises:
        KeyError: no headline figure has that name.
    """
    if (match := _SHARE.fullmatch(figure)) is None:
        return _GUIDES[figure]
    level = int(match[1])
    if level == 1:
        return _GUIDES["share_at_l1"]
    if level < levels:
        return FigureGuide(
            f"Near-twins together at L{level}", f"Of the pairs with cosine 0.9 or more, the share that agree down to level {level}."
        )
    return replace(
        _GUIDES["share_at_l1"],
        label=f"Near-twins with one ID (L{level})",
        sentence="Of the pairs with cosine 0.9 or more, the share with one whole semantic ID. Instacart published 0.18 to 0.37 (2026). "
        "Higher is bought with fewer distinct IDs.",
        good=None,
        poor=None,
    )


@dataclass(frozen=True)
class JudgedFigure:
    """A headline figure with what to think of it.

    Attributes:
        figure: its name in `headline`.
        name: its name for a reader.
        value: None where it is undefined.
        text: the value as a reader wants it.
        verdict: None where the value is undefined or the figure has no limits.
    """

    figure: str
    name: str
    value: float | None
    text: str
    verdict: Verdict | None


def judged_figures(figures: Mapping[str, float], names: Sequence[str] = FIRST_FIGURES, levels: int = 4) -> list[JudgedFigure]:
    """Some of the figures of a `headline`, of a manifest's metrics or of a job's last line, each with its verdict.

    Args:
        names: of the figures that are wanted, in this order.
        levels: of the semantic IDs.
    """
    judged = []
    for name in names:
        guide, value = guide_of(name, levels), figures.get(name)
        text, verdict = (NOT_DEFINED, None) if value is None else (guide.text(value), guide.verdict(value))
        judged.append(JudgedFigure(name, guide.label, value, text, verdict))
    return judged
