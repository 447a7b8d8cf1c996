"""Codebooks: what k-means finds and survives, and the greedy assignment, by hand and against brute force."""

import numpy as np
import pytest
import torch

from shelfcode.quantization.codebook import ResidualCodebooks, kmeans, lloyd, mean_squared_distance, nearest

SIZES, DIMENSIONS = (6, 8, 10), 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(count: int, rows: int, dimensions: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in tight balls far from one another, and which ball each lies in."""
    generator = seeded(1)
    centre_CD = 10 * torch.randn(count, dimensions, generator=generator)
    ball_N = torch.arange(count).repeat(rows)
    return centre_CD[ball_N] + 0.1 * torch.randn(count * rows, dimensions, generator=generator), ball_N


@pytest.mark.parametrize("seed", range(5))
def test_no_codeword_straddles_well_separated_clusters(seed):
    x_ND, ball_N = clusters(count=4, rows=50)
    codeword_N = nearest(x_ND, kmeans(x_ND, 24, 20, 1, seeded(seed)))
    assert all(len(ball_N[codeword_N == codeword].unique()) == 1 for codeword in codeword_N.unique())


def test_two_far_clusters_get_their_means():
    x_ND, ball_N = clusters(count=2, rows=100)
    codewords_KD = kmeans(x_ND, 2, 20, 1, seeded())
    means_KD = torch.stack([x_ND[ball_N == ball].mean(dim=0) for ball in (0, 1)])
    assert torch.cdist(means_KD, codewords_KD).min(dim=1).values.max() < 1e-4


def test_the_error_falls_with_iterations():
    x_ND = torch.randn(2000, 6, generator=seeded())
    error = [mean_squared_distance(x_ND, kmeans(x_ND, 32, iterations, 1, seeded(3))) for iterations in (0, 1, 5, 20)]
    assert error == sorted(error, reverse=True)
    assert error[-1] < 0.9 * error[0]


@pytest.mark.parametrize("starts", [1, 3])
def test_same_generator_same_codebook_other_generator_another(starts):
    x_ND = torch.randn(500, 6, generator=seeded())
    one, same, other = (kmeans(x_ND, 16, 10, starts, seeded(seed)) for seed in (7, 7, 8))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_more_starts_are_never_worse_than_the_first_of_them_alone():
    x_ND, gain = torch.randn(500, 6, generator=seeded()), []
    for seed in range(8):
        one, several = (mean_squared_distance(x_ND, kmeans(x_ND, 16, 10, starts, seeded(seed))) for starts in (1, 5))
        gain.append(one - several)
    assert min(gain) >= 0
    assert max(gain) > 0


def test_the_start_is_spread_out():
    """A random start of 12 codewords hits 12 clusters once in 18,000 tries."""
    x_ND, ball_N = clusters(count=12, rows=40)
    hit = [len(ball_N[torch.cdist(kmeans(x_ND, 12, 0, 1, seeded(seed)), x_ND).argmin(dim=1)].unique()) for seed in range(10)]
    assert min(hit) >= 10


def test_the_mean_squared_distance_by_hand():
    x_ND, codewords_KD = torch.tensor([[0.0, 0], [3, 4], [9, 0]]), torch.tensor([[0.0, 0], [10, 0]])
    assert mean_squared_distance(x_ND, codewords_KD) == pytest.approx((0 + 25 + 1) / 3)


@pytest.mark.parametrize("iterations", [0, 1, 10])
@pytest.mark.parametrize("seed", range(5))
def test_no_codeword_stays_without_rows_among_copies(seed, iterations):
    """Twenty distinct rows, the first a thousand times: enough for sixteen codewords."""
    distinct_ND = torch.randn(20, 6, generator=seeded(seed))
    x_ND = torch.cat([distinct_ND[:1].expand(1000, -1), distinct_ND[1:3].repeat(100, 1), distinct_ND])
    assert len(nearest(x_ND, kmeans(x_ND, 16, iterations, 1, seeded(seed))).unique()) == 16


@pytest.mark.parametrize("distinct", [1, 3, 15])
def test_a_catalog_of_copies_gives_no_nan(distinct):
    x_ND = torch.randn(distinct, 6, generator=seeded()).repeat(40, 1)
    codewords_KD = kmeans(x_ND, 16, 10, 1, seeded())
    assert codewords_KD.isfinite().all()
    assert (x_ND - codewords_KD[nearest(x_ND, codewords_KD)]).abs().max() < 1e-5


def test_as_many_codewords_as_rows_reproduce_the_rows():
    x_ND = torch.randn(30, 6, generator=seeded())
    codewords_KD = kmeans(x_ND, 30, 10, 1, seeded())
    assert sorted(map(tuple, codewords_KD.tolist())) == sorted(map(tuple, x_ND.tolist()))


def test_a_cluster_that_lost_its_rows_starts_at_the_farthest_one():
    """Two codewords start in one spot, so the second wins no row; the outlier must not stay without a codeword."""
    x_ND = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [50.0, 0.0]])
    assert 50.0 in lloyd(x_ND, torch.zeros(2, 2), 1)[:, 0].tolist()


def test_nearest_is_that_of_brute_force():
    x_ND, codewords_KD = torch.randn(300, 12, generator=seeded()), torch.randn(50, 12, generator=seeded(1))
    distance_NK = (x_ND[:, None].double() - codewords_KD.double()).square().sum(dim=2)
    assert torch.equal(nearest(x_ND, codewords_KD), distance_NK.argmin(dim=1))


@pytest.mark.parametrize("chunk", [1, 64, 299, 300])
def test_chunks_change_no_assignment(chunk):
    x_ND, codewords_KD = torch.randn(300, 12, generator=seeded()), torch.randn(50, 12, generator=seeded(1))
    assert torch.equal(nearest(x_ND, codewords_KD, chunk), nearest(x_ND, codewords_KD))


def test_no_rows_have_no_nearest_codeword():
    assert nearest(torch.empty(0, 4), torch.ones(3, 4)).shape == (0,)


def filled(*codewords: torch.Tensor) -> ResidualCodebooks:
    codebooks = ResidualCodebooks([len(codewords_KD) for codewords_KD in codewords], codewords[0].shape[1])
    for level, codewords_KD in enumerate(codewords):
        codebooks.codewords(level).copy_(codewords_KD)
    return codebooks


def random_rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, DIMENSIONS, generator=torch.Generator().manual_seed(seed))


def test_assignment_by_hand():
    """The second product's level 2 would be 0 if it saw the latent of level 1."""
    codebooks = filled(torch.tensor([[0.0], [10.0]]), torch.tensor([[-1.0], [2.0]]))
    coarse_BD, fine_BD = torch.tensor([[6.0], [9.0], [1.0]]), torch.tensor([[9.2], [12.5], [7.0]])
    assert codebooks.assign([coarse_BD, fine_BD]).tolist() == [[1, 0], [1, 1], [0, 1]]


def test_assignment_is_the_greedy_residual_search():
    codebooks = filled(*(random_rows(size, seed) for seed, size in enumerate(SIZES)))
    z_LBD = [random_rows(50, seed) for seed in (10, 11, 12)]
    codes_BL = codebooks.assign(z_LBD)
    for row in range(50):
        sum_D = torch.zeros(DIMENSIONS, dtype=torch.double)
        for level, z_BD in enumerate(z_LBD):
            codewords_KD = codebooks.codewords(level).double()
            code = int((z_BD[row].double() - sum_D - codewords_KD).square().sum(dim=1).argmin())
            assert codes_BL[row, level] == code
            sum_D = sum_D + codewords_KD[code]


def test_assignment_leaves_the_latents_as_they_were():
    codebooks, z_LBD = filled(torch.eye(5), torch.eye(5)), [random_rows(4, 0), random_rows(4, 1)]
    codebooks.assign(z_LBD)
    assert all(torch.equal(z_BD, random_rows(4, seed)) for seed, z_BD in enumerate(z_LBD))


def test_codewords_are_saved_but_not_trained():
    codebooks = filled(torch.ones(2, 3), torch.ones(4, 3))
    assert list(codebooks.parameters()) == []
    assert [tensor.shape for tensor in codebooks.state_dict().values()] == [(2, 3), (4, 3)]


def test_renamed_codewords_keep_their_products():
    codebooks, z_LBD = filled(*(random_rows(size, seed) for seed, size in enumerate(SIZES))), [random_rows(50, 7)] * 3
    before_BL = codebooks.assign(z_LBD)
    names = [np.random.default_rng(level).permutation(size) for level, size in enumerate(SIZES)]
    codebooks.rename(names)
    after_BL = codebooks.assign(z_LBD)
    for level, name_K in enumerate(names):
        assert after_BL[:, level].tolist() == name_K[before_BL[:, level]].tolist()
    assert not torch.equal(after_BL, before_BL)
