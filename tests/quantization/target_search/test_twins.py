"""The last level: near-twins share a code, whatever else shares their prefix does not, and codes are assigned at the least distance."""

from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.quantization.target_search.twins import NO_CODE, codes_of_clusters, twin_clusters, twin_codes


def families(count: int, members: int, noise: float, seed: int = 0) -> NDArray[np.float32]:
    """Near-twins by families, side by side; families are nearly orthogonal."""
    rng = np.random.default_rng(seed)
    x_NE = np.repeat(rng.standard_normal((count, 64)), members, axis=0) + noise * rng.standard_normal((count * members, 64))
    return (x_NE / np.linalg.norm(x_NE, axis=1, keepdims=True)).astype(np.float32)


def clusters_of(x_NE: NDArray[np.float32], prefix_N: NDArray[np.int64], cosine: float = 0.9) -> NDArray[np.int64]:
    return twin_clusters(x_NE, np.arange(len(x_NE)), prefix_N, cosine, np.zeros(len(x_NE), np.int64))[0]


def nobody(count: int) -> NDArray[np.int64]:
    """None of so many holds a code."""
    return np.full(count, NO_CODE)


def same_grouping(one_N: NDArray[np.int64], other_N: NDArray[np.int64]) -> bool:
    return bool(((one_N[:, None] == one_N) == (other_N[:, None] == other_N)).all())


def test_clusters_are_families_within_a_prefix():
    x_NE, family_N = families(30, 4, noise=0.1), np.arange(120) // 4
    assert same_grouping(clusters_of(x_NE, np.zeros(120, np.int64)), family_N)
    apart_N = np.arange(120) % 2  # half of each family below another prefix
    assert same_grouping(clusters_of(x_NE, apart_N), family_N * 2 + apart_N)


def test_the_cosine_says_how_near_twins_are():
    x_NE = families(30, 4, noise=0.5)  # cosines within a family are about 0.8
    assert len(np.unique(clusters_of(x_NE, np.zeros(120, np.int64), 0.99))) == 120
    assert len(np.unique(clusters_of(x_NE, np.zeros(120, np.int64), 0.6))) == 30


def test_prefixes_read_in_parts_have_the_clusters_of_the_whole(monkeypatch):
    x_NE, prefix_N = families(30, 4, noise=0.1), np.random.default_rng(0).integers(7, size=120)
    whole_N = clusters_of(x_NE, prefix_N)
    monkeypatch.setattr("shelfcode.quantization.target_search.twins.ROWS_READ", 5)
    np.testing.assert_array_equal(clusters_of(x_NE, prefix_N), whole_N)


def test_copies_are_one_product_and_a_prefix_with_too_many_distinct_ones_is_not_compared(monkeypatch):
    x_NE = np.repeat(families(6, 1, 0), 10, axis=0)
    copy_N, otherwise_N = np.arange(60) // 10 * 10, np.arange(60) % 2
    monkeypatch.setattr("shelfcode.quantization.target_search.twins.MOST_COMPARED", 6)
    cluster_N, _ = twin_clusters(x_NE, copy_N, np.zeros(60, np.int64), 0.9, otherwise_N)
    assert same_grouping(cluster_N, copy_N)
    monkeypatch.setattr("shelfcode.quantization.target_search.twins.MOST_COMPARED", 5)
    cluster_N, _ = twin_clusters(x_NE, copy_N, np.zeros(60, np.int64), 0.9, otherwise_N)
    assert same_grouping(cluster_N, otherwise_N)


def test_codewords_are_assigned_at_the_least_distance_in_all():
    """Against every way of assigning, products counting; no two clusters of a prefix share a codeword."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        centre_CD, codewords_KD = torch.randn(4, 2, generator=torch.Generator().manual_seed(int(rng.integers(99)))), torch.randn(5, 2)
        size_C = rng.integers(1, 9, 4)
        distance_CK = torch.cdist(centre_CD, codewords_KD).square().numpy() * size_C[:, None]
        code_C = codes_of_clusters(centre_CD, size_C, np.zeros(4, np.int64), codewords_KD, nobody(4))
        best = min(sum(distance_CK[c, k] for c, k in enumerate(order)) for order in permutations(range(5), 4))
        assert len(set(code_C.tolist())) == 4
        assert distance_CK[np.arange(4), code_C].sum() == pytest.approx(best, rel=1e-5)


def test_clusters_beyond_the_codebook_share_and_the_largest_have_their_own():
    centre_CD, codewords_KD = torch.tensor([[0.0], [0.1], [5], [0.2]]), torch.tensor([[0.0], [4.0]])
    code_C = codes_of_clusters(centre_CD, np.array([9, 1, 5, 2]), np.zeros(4, np.int64), codewords_KD, nobody(4))
    assert code_C.tolist() == [0, 0, 1, 0]


def test_the_same_codeword_serves_many_prefixes():
    centre_CD, codewords_KD = torch.tensor([[0.1], [0.2], [4.1]]), torch.tensor([[0.0], [4.0]])
    code_C = codes_of_clusters(centre_CD, np.ones(3, int), np.array([0, 1, 1]), codewords_KD, nobody(3))
    assert code_C.tolist() == [0, 0, 1]


def test_a_cluster_keeps_the_codeword_it_holds_unless_a_larger_one_does():
    centre_CD, codewords_KD = torch.tensor([[0.0], [0.1], [0.2]]), torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    code_C = codes_of_clusters(centre_CD, np.array([2, 5, 1]), np.zeros(3, np.int64), codewords_KD, np.array([3, 3, NO_CODE]))
    assert code_C.tolist() == [1, 3, 0] or code_C.tolist() == [0, 3, 1]


def test_near_twins_share_a_code_and_unlike_products_of_a_prefix_do_not():
    x_NE, family_N = families(24, 5, noise=0.1), np.arange(120) // 5
    prefix_N = family_N // 6
    residual_ND = torch.from_numpy(x_NE @ np.linalg.qr(np.random.default_rng(1).standard_normal((64, 8)))[0]).float()
    code_N, codewords_KD = twin_codes(x_NE, np.arange(120), prefix_N, 0.9, residual_ND, residual_ND[::15].clone(), nobody(120))
    assert codewords_KD.shape == (8, 8)
    assert same_grouping(prefix_N * 8 + code_N.numpy(), family_N)
    for code in code_N.unique():
        torch.testing.assert_close(codewords_KD[code], residual_ND[code_N == code].mean(dim=0))
