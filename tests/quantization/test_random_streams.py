"""Streams of random numbers: repeatable, and with nothing in common."""

from itertools import combinations

import numpy as np
import torch

from shelfcode.quantization.random_streams import SAMPLE, SETUP, numpy_stream, torch_stream

SEEDS_AND_PURPOSES = [(0, SETUP), (0, SAMPLE), (1, SETUP), (1, SAMPLE), (2, SETUP), (1, SETUP, 1), (1, SETUP, 2)]


def test_the_same_seed_and_purpose_give_the_same_stream():
    for numbers in SEEDS_AND_PURPOSES:
        np.testing.assert_array_equal(numpy_stream(*numbers).random(50), numpy_stream(*numbers).random(50))
        assert torch.equal(torch.rand(50, generator=torch_stream(*numbers)), torch.rand(50, generator=torch_stream(*numbers)))


def test_another_seed_or_purpose_gives_another_stream():
    """Also where seed and purpose only change places."""
    drawn = [
        (numpy_stream(*numbers).integers(0, 2**62, 200), torch.randint(2**62, (200,), generator=torch_stream(*numbers)).numpy())
        for numbers in SEEDS_AND_PURPOSES
    ]
    for one, other in combinations(drawn, 2):
        assert all(not np.intersect1d(*pair).size for pair in zip(one, other, strict=True))


def test_a_stream_leaves_torchs_own_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    torch.rand(3, generator=torch_stream(0, SETUP))
    assert torch.equal(torch.rand(3), expected)
