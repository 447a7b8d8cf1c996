"""The oracle itself, held against asking the model for one prefix at a time."""

import numpy as np
import pytest
import torch
from toy_models import TableModel, any_set, any_shop

from shelfcode.retrieval.decoder.exhaustive import exhaustive_search, score_all


def one_at_a_time(model: TableModel, codes: tuple[int, ...]) -> list[float]:
    """The log-probability of a semantic ID for each request."""
    logits = model.start().unsqueeze(1)
    total = torch.zeros(len(logits))
    for level, code in enumerate(codes):
        total = total + logits[:, 0].log_softmax(dim=-1)[:, code]
        if level + 1 < len(codes):
            logits = model.step(level + 1, torch.zeros(len(logits), 1, dtype=torch.int64), torch.full((len(logits), 1), code))
    return total.tolist()


@pytest.mark.parametrize("seed", range(8))
def test_the_oracle_scores_every_id_and_sorts_those_that_are_legal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = any_shop(rng)
    model = TableModel(made.sizes, [3, 8, 8], steps=seed % 3)
    distinct = sorted({tuple(row) for row in made.codes_NL.tolist()})
    score_IR = [one_at_a_time(model, codes) for codes in distinct]
    for chunk in (1, 7, 4096):
        np.testing.assert_allclose(score_all(model, np.array(distinct), chunk).T, score_IR, rtol=1e-6)
    holds_RN = np.stack([any_set(len(made.codes_NL), rng) for _ in range(3)])
    beams = exhaustive_search(model, made.codes_NL, made.sizes, holds_RN, 20)
    for request in range(3):
        legal = {distinct.index(tuple(codes)) for codes in made.codes_NL[holds_RN[request]].tolist()}
        wanted = sorted(legal, key=lambda leaf: (-score_IR[leaf][request], leaf))[:20]
        assert beams.leaf_RW[request].tolist() == wanted + [-1] * (20 - len(wanted))
        found = beams.log_probability_RW[request, : len(wanted)].tolist()
        assert found == pytest.approx([score_IR[leaf][request] for leaf in wanted])
