"""How much of a catalog a model may leave to the rules, and what to say where it left more."""

from collections import Counter
from dataclasses import dataclass

from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError

FEW_TEXTS = 100
"""Of fewer new texts than these a share says little: a night with three of them may fail with one."""

REASONS_TOLD = 3


@dataclass(frozen=True)
class LeftToRules:
    """What the model gave no usable answer to.

    Attributes:
        products, of: products of the catalog that have the rules' attributes, and all of them.
        new, new_of: texts that were asked about for the first time in this run and failed, and all that were.
    """

    products: int
    of: int
    new: int
    new_of: int


def check_failed_share(settings: ExtractorSettings, left: LeftToRules, failures: Counter[str]) -> None:
    """Stop where more was left to the rules than the settings allow.

    Args:
        failures: why, as the table's column `failure` says -> of how many texts.

    Raises:
        ShelfcodeError: the count, the most frequent reasons, and what to do.
    """
    counts = [(left.products, left.of, "products of the catalog"), (left.new, left.new_of, "new texts")]
    for failed, asked, what in counts[: 2 if left.new_of >= FEW_TEXTS else 1]:
        if failed <= settings.max_failed_share * asked:
            continue
        raise ShelfcodeError(
            f"{failed:,} of {asked:,} {what} ({failed / asked:.1%}) have no usable answer of extractor.model {settings.model}, and "
            f"extractor.max_failed_share allows {settings.max_failed_share:.1%}. {_reasons(failures)}{_advice(failures)} "
            "What was extracted is kept: start the same command again, and only what is missing is asked for. To let the rules fill more, "
            f"--set extractor.max_failed_share={min(1.0, -(-1000 * failed // asked) / 1000):g}"
        )


def _reasons(failures: Counter[str]) -> str:
    shortened: Counter[str] = Counter()
    for failure, count in failures.items():
        shortened[": ".join(part.strip() for part in failure.split(":")[:3])[:120]] += count
    told = "; ".join(f"{count:,} x {reason}" for reason, count in shortened.most_common(REASONS_TOLD))
    more = len(shortened) - REASONS_TOLD
    return f"Reasons: {told}{f'; and {more:,} others' if more > 0 else ''}. " if told else ""


def _advice(failures: Counter[str]) -> str:
    reason = failures.most_common(1)[0][0] if failures else ""
    if "cut off" in reason:
        return "Give answers more room (extractor.retry_output_tokens)."
    if reason.startswith("invalid answer"):
        return "Choose a model that can hold to the schema (extractor.model; docs/attributes.md)."
    return "See the engine's log for the cause, and extractor.engine_arguments."
