"""A text encoder of a few kilobytes, and one that breaks on one word; judgments from triples."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_model import make_tiny_model

from shelfcode.interactions.columns import LABELS
from shelfcode.interactions.judgments import JudgmentCounts, Judgments


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Makes a model folder; a text with the word "cursed" has an embedding that is not finite."""

    def make(name: str = "tiny", prompts: dict[str, str] | None = None, layers: int = 1) -> str:
        return make_tiny_model(tmp_path_factory.mktemp("models") / name, prompts, layers)

    return make


@pytest.fixture(scope="session")
def tiny(tiny_model: Callable[..., str]) -> Path:
    return Path(tiny_model())


@pytest.fixture(scope="session")
def judged() -> Callable[..., Judgments]:
    """Makes judgments of (query, product, label) triples; `queries` where there are some without any."""

    def make(rows: Sequence[tuple[int, int, str]], queries: int | None = None) -> Judgments:
        ordered = sorted(rows)
        count = max((query for query, _, _ in rows), default=-1) + 1 if queries is None else queries
        return Judgments(
            tuple(f"query {number}" for number in range(count)),
            np.array([query for query, _, _ in ordered], np.int32),
            np.array([product for _, product, _ in ordered], np.int64),
            np.array([LABELS.index(label) for _, _, label in ordered], np.int8),
            JudgmentCounts(len(rows), len(rows), 0, 0, {}, 0, 0, count, count, 0, 0),
        )

    return make
