"""Limits that a release has to keep against another one: a build server asks for them before it promotes the release."""

from collections.abc import Mapping
from dataclasses import dataclass

from shelfcode.evaluation.quality.evaluate import Evaluation
from shelfcode.evaluation.stability.churn import Churn


@dataclass(frozen=True)
class Gate:
    """One limit, and the value that is held against it.

    Attributes:
        name: of the limit, such as `max_churn_l1`.
        subject: what is limited, for a reader.
        value: None where it cannot be had; the gate does not hold then.
        reason: why it cannot be had.
    """

    name: str
    subject: str
    limit: float
    value: float | None
    reason: str = ""

    @property
    def held(self) -> bool:
        return self.value is not None and self.value <= self.limit

    def sentence(self) -> str:
        """Says whether the gate holds, and by how much."""
        if self.value is None:
            return f"{self.name} does not hold: {self.subject} cannot be measured, {self.reason}"
        measured = f"{self.subject} is {self.value:.4f}, {abs(self.value - self.limit):.3g} {'below' if self.held else 'above'} the limit"
        return f"{self.name} {'holds' if self.held else 'does not hold'}: {measured} of {self.limit:g}"


def release_gates(limits: Mapping[str, float | None], churn: Churn, release: Evaluation, against: Evaluation) -> list[Gate]:
    """The gates of the limits that were given: `max_churn_l1`, `max_churn`, `max_spearman_loss`.

    Args:
        churn: of the release against the other one; both evaluations as they were published.
    """
    measured = {
        "max_churn_l1": ("the share of products with another first codeword", *_churn_at_l1(churn)),
        "max_churn": ("the share of products with another semantic ID", *_whole_churn(churn, release, against)),
        "max_spearman_loss": ("the loss of similarity-depth", *_spearman_loss(release, against)),
    }
    return [Gate(name, measured[name][0], limit, *measured[name][1:]) for name, limit in limits.items() if limit is not None]


def _churn_at_l1(churn: Churn) -> tuple[float | None, str]:
    return (churn.changed[0], "") if churn.changed else (None, churn.undefined["changed"])


def _whole_churn(churn: Churn, release: Evaluation, against: Evaluation) -> tuple[float | None, str]:
    levels = [len(each.codebook_sizes) for each in (release, against)]
    if levels[0] != levels[1]:
        return None, f"semantic IDs of {levels[0]} levels cannot equal those of {levels[1]}"
    return (churn.changed[-1], "") if churn.changed else (None, churn.undefined["changed"])


def _spearman_loss(release: Evaluation, against: Evaluation) -> tuple[float | None, str]:
    now, before = release.similarity_depth, against.similarity_depth
    if now.spearman is None or before.spearman is None:
        missing = before if now.spearman is not None else now
        return None, missing.undefined["spearman"]
    return before.spearman - now.spearman, ""
