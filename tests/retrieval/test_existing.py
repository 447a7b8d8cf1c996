import numpy as np
import pytest
import torch
from small_log import SIZES, small_codes

from shelfcode.retrieval.existing import followers, prefix_numbers

CPU = torch.device("cpu")


def test_exactly_the_codewords_that_occur_follow_each_prefix() -> None:
    codes_NL = small_codes().astype(np.int64)
    levels = followers(codes_NL, SIZES, CPU)
    for level, size in enumerate(SIZES):
        prefixes = np.unique(codes_NL[:, :level], axis=0)
        exist = levels[level].exist(prefix_numbers(torch.from_numpy(prefixes), SIZES))
        for prefix, exist_K in zip(prefixes, exist.numpy(), strict=True):
            below = codes_NL[(codes_NL[:, :level] == prefix).all(1), level]
            assert np.flatnonzero(exist_K).tolist() == sorted(set(below.tolist()))
            assert len(exist_K) == size


def test_nothing_follows_a_prefix_that_does_not_occur() -> None:
    codes_NL = np.array([[0, 1, 2], [3, 1, 2]])
    (_, second, third) = followers(codes_NL, (4, 8, 8), CPU)
    strange = torch.tensor([[1], [2]])
    assert not second.exist(prefix_numbers(strange, (4, 8, 8))).any()
    assert not third.exist(prefix_numbers(torch.tensor([[0, 2], [3, 7]]), (4, 8, 8))).any()


@pytest.mark.parametrize("shape", [(3,), (2, 5)])
def test_any_shape_of_prefixes_can_be_asked_for(shape: tuple[int, ...]) -> None:
    levels = followers(small_codes(), SIZES, CPU)
    prefix = torch.randint(0, SIZES[0], shape)
    assert levels[1].exist(prefix).shape == (*shape, SIZES[1])
