"""What is told of sparse products, as columns of tables and lines of text."""

from collections.abc import Sequence

from shelfcode.evaluation.sparse.sparse_products import Enrichment, SparseFigures


def calibration_columns(figures: SparseFigures) -> dict[str, dict[str, object]]:
    """A column each for the chance of another L1, and of another L1 or L2."""
    return {
        name: {
            "products fitted on": each.fitted_products,
            "products held out": each.held_out_products,
            "examples": each.examples,
            "base rate": each.base_rate,
            "Brier": each.brier,
            "Brier of the base rate": each.brier_base_rate,
            "expected calibration error": each.ece,
            "AUROC": each.auroc,
            "AUROC of the number of words alone": each.auroc_words,
            "title alone, predicted": each.title_alone and each.title_alone.predicted,
            "title alone, observed": each.title_alone and each.title_alone.observed,
        }
        for name, each in (("L1", figures.chance_l1), ("L1 or L2", figures.chance_l2))
    }


def missing_columns(figures: SparseFigures) -> dict[str, dict[str, object]]:
    """Who lacks each field, and the share of them that is sparse."""
    rows = figures.missing.items()
    return {
        "products": {name: each.products for name, each in rows},
        "of these sparse": {name: each.sparse for name, each in rows},
        "share": {name: each.sparse / each.products if each.products else None for name, each in rows},
    }


def summary_lines(figures: Sequence[SparseFigures], filled: Enrichment) -> list[str]:
    """What a job says at its end: the release first, then the one that it was held against."""
    first = figures[0]
    lines = [
        f"{each.release}: {each.sparse:,} of {each.products:,} products are sparse ({each.sparse_share:.1%}): the chance that one "
        f"more sentence changes L1 is above {each.settings.threshold:g}; on average it is {each.mean_p_l1:.1%}, and "
        f"{each.mean_p_l2:.1%} for L1 or L2"
        for each in figures
    ]
    if both := first.contrast:
        lines.append(
            f"of {both.products:,} products of both: {both.both:,} sparse for both, {both.only_release:,} for {first.release} alone, "
            f"{both.only_against:,} for {both.against} alone"
        )
    fields = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in filled.fields.items()) or "nothing"
    lines.append(
        f"filled in from neighbours, for {filled.filled:,} of {filled.sparse:,} sparse products of {first.release}: {fields}; "
        f"{filled.with_leaf:,} say the leaf of their own category path"
    )
    if filled.changed:
        lines.append(f"coded with the enriched text, {filled.changed[0]:.1%} of the sparse change L1, {filled.changed[-1]:.1%} L1 or L2")
    return lines + (first.restoration.verdict() if first.restoration else [])
