"""The greedy assignment, by hand and against brute force, where every level has a latent of its own."""

import numpy as np
import torch

from shelfcode.quantization.codebook import ResidualCodebooks

SIZES, DIMENSIONS = (6, 8, 10), 5


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
