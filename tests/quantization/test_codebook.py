"""Residual assignment against brute force, the moving average at its limits, and workers that hold the same codebooks."""

from pathlib import Path

import pytest
import torch

from shelfcode.quantization.codebook import ResidualCodebooks

SIZES, DIMENSIONS = (6, 8, 10), 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, DIMENSIONS, generator=seeded(seed))


def set_up() -> ResidualCodebooks:
    codebooks = ResidualCodebooks(SIZES, DIMENSIONS)
    codebooks.set_up(rows(400), iterations=5, generator=seeded(1))
    return codebooks


def follow_many(codebooks: ResidualCodebooks, batches: torch.Tensor, restart_below: float = 0.1) -> int:
    restarted = 0
    for step, z_BD in enumerate(batches):
        codes_BL, _ = codebooks.assign(z_BD)
        restarted += codebooks.follow(z_BD, codes_BL, 0.8, restart_below, seeded(step))
    return restarted


def test_assignment_is_the_greedy_residual_search():
    codebooks, z_BD = set_up(), rows(50, seed=2)
    codes_BL, prefix_LBD = codebooks.assign(z_BD)
    for row, z_D in enumerate(z_BD.double()):
        left_D, sum_D = z_D.clone(), torch.zeros(DIMENSIONS, dtype=torch.double)
        for level in range(len(SIZES)):
            codewords_KD = codebooks.codewords(level).double()
            code = int((left_D - codewords_KD).square().sum(dim=1).argmin())
            assert codes_BL[row, level] == code
            left_D, sum_D = left_D - codewords_KD[code], sum_D + codewords_KD[code]
            torch.testing.assert_close(prefix_LBD[level, row].double(), sum_D, atol=1e-5, rtol=0)


def test_every_level_set_up_leaves_less_over():
    z_ND = rows(400)
    _, prefix_LND = set_up().assign(z_ND)
    left_L = (z_ND - prefix_LND).square().sum(dim=(1, 2))
    assert z_ND.square().sum() > left_L[0] > left_L[1] > left_L[2]


def test_without_decay_codewords_become_the_mean_of_their_products():
    codebooks, z_BD = set_up(), rows(200, seed=3)
    codes_BL, prefix_LBD = codebooks.assign(z_BD)
    before = [codebooks.codewords(level).clone() for level in range(len(SIZES))]
    codebooks.follow(z_BD, codes_BL, decay=1e-9, restart_below=0.0, generator=seeded())
    residual_LBD = torch.cat([z_BD[None], z_BD - prefix_LBD[:-1]])
    for level, size in enumerate(SIZES):
        for code in range(size):
            own_BD = residual_LBD[level][codes_BL[:, level] == code]
            expected_D = own_BD.mean(dim=0) if len(own_BD) else before[level][code]
            torch.testing.assert_close(codebooks.codewords(level)[code], expected_D, atol=1e-4, rtol=0)


def test_with_decay_codewords_go_that_part_of_the_way():
    codebooks = ResidualCodebooks((2,), 1)
    codebooks.set_up(torch.tensor([[0.0], [0.0], [10.0], [10.0]]), 5, seeded())
    z_BD = torch.tensor([[1.0], [1.0], [12.0], [12.0]])
    codes_BL, _ = codebooks.assign(z_BD)
    codebooks.follow(z_BD, codes_BL, decay=0.9, restart_below=0.1, generator=seeded())
    assert sorted(codebooks.codewords(0)[:, 0].tolist()) == pytest.approx([0.1, 10.2])


def test_repeated_batches_carry_codewords_to_their_means():
    codebooks, z_BD = ResidualCodebooks((2,), 1), torch.tensor([[3.0], [5.0], [20.0], [24.0]])
    codebooks.set_up(torch.tensor([[0.0], [0.0], [15.0], [15.0]]), 5, seeded())
    follow_many(codebooks, z_BD.expand(60, 4, 1))
    assert sorted(codebooks.codewords(0)[:, 0].tolist()) == pytest.approx([4.0, 22.0], abs=1e-3)


def test_a_dead_codeword_comes_back_to_life():
    codebooks, batch_BD = set_up(), rows(300, seed=4)
    codebooks.codewords(0)[2] = 1e3
    codebooks.get_buffer("sums_0")[2] = 1e3
    assert 2 not in codebooks.assign(batch_BD)[0][:, 0]
    assert follow_many(codebooks, batch_BD.expand(30, -1, -1)) >= 1
    assert 2 in codebooks.assign(batch_BD)[0][:, 0]


def test_no_codeword_restarts_where_restarting_is_off():
    assert follow_many(set_up(), rows(20 * 8, seed=5).view(20, 8, DIMENSIONS), restart_below=0.0) == 0


@pytest.mark.parametrize("restart_below", [0.0, 0.1])
def test_copies_of_one_product_leave_codebooks_finite(restart_below):
    codebooks = set_up()
    follow_many(codebooks, torch.ones(100, 16, DIMENSIONS), restart_below)
    assert all(buffer.isfinite().all() for buffer in codebooks.buffers())


def test_one_batch_restarts_nothing_that_k_means_set_up_evenly():
    """k-means counts as a batch: otherwise the first small batch would set anew all codewords that it happens to miss."""
    codebooks = set_up()
    assert follow_many(codebooks, rows(4, seed=6)[None], restart_below=0.1) == 0


def batches() -> torch.Tensor:
    """The last ones are drawn from a corner, so that codewords die and restart."""
    z_SBD = rows(40 * 64, seed=7).view(40, 64, DIMENSIONS)
    z_SBD[10:] = z_SBD[10:].abs()
    return z_SBD


def half_of_every_batch(rank: int, _folder: Path) -> dict[str, torch.Tensor]:
    codebooks = set_up()
    restarted = follow_many(codebooks, batches()[:, rank * 32 : (rank + 1) * 32])
    return {**codebooks.state_dict(), "restarted": torch.tensor(restarted)}


def test_two_workers_hold_the_codebooks_of_one(in_two_workers):
    first, second = in_two_workers(half_of_every_batch)
    alone = set_up()
    restarted = follow_many(alone, batches())
    assert restarted > 0
    assert first["restarted"] == second["restarted"] == restarted
    for name, buffer in alone.state_dict().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], buffer, atol=1e-4, rtol=1e-4)
