"""The model: codes worked out by hand, levels that are frozen, and the start as a projection."""

import pytest
import torch

from shelfcode.quantization.rqvae import RQVAE

SIZES = (4, 5, 6, 7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int, dimensions: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, dimensions, generator=seeded(seed)), dim=1)


def started(dimensions: int = 12, latent_size: int = 6, sizes: tuple[int, ...] = SIZES) -> RQVAE:
    """At an orthonormal basis, a mean off the origin and codewords that grow finer by level."""
    torch.manual_seed(0)
    model = RQVAE(dimensions, sizes, [16], latent_size)
    basis_DE = torch.linalg.qr(torch.randn(dimensions, latent_size, generator=seeded(1)))[0].T
    codewords = [torch.randn(size, latent_size, generator=seeded(level)) * 0.4 / (level + 1) for level, size in enumerate(sizes)]
    model.start_at(0.3 * torch.randn(dimensions, generator=seeded(2)), basis_DE, codewords)
    return model


def stirred(seed: int = 5) -> RQVAE:
    """As in the middle of training: encoder and decoder add something of their own."""
    model = started()
    with torch.no_grad():
        for part in (model.encoder, model.decoder):
            part[-1].weight.copy_(0.5 * torch.randn(part[-1].weight.shape, generator=seeded(seed)))
    return model


def test_before_training_every_latent_is_the_projection():
    model, x_BE = started(), rows(30, seed=3)
    with torch.no_grad():
        projected_BD = (x_BE - model.expansion.bias) @ model.projection.weight.T
        z_LBD = model.latents(x_BE)
    assert len(z_LBD) == len(SIZES)
    for z_BD in z_LBD:
        torch.testing.assert_close(z_BD, projected_BD)


def test_the_encoder_moves_every_latent():
    x_BE = rows(30, seed=3)
    with torch.no_grad():
        before, after = started().latents(x_BE), stirred().latents(x_BE)
    moved_L = [float((one - other).norm(dim=1).min()) for one, other in zip(before, after, strict=True)]
    assert min(moved_L) > 1e-3


@pytest.mark.parametrize("make", [started, stirred])
def test_codes_are_the_nearest_to_what_is_left_over_of_each_levels_latent(make):
    model, x_BE = make(), rows(60, seed=3)
    codes_BL = model.encode(x_BE)
    z_LBD = [z_BD.double() for z_BD in model.latents(x_BE)]
    for row in range(60):
        sum_D = torch.zeros(6, dtype=torch.double)
        for level in range(len(SIZES)):
            codewords_KD = model.codebooks.codewords(level).double()
            assert codes_BL[row, level] == (z_LBD[level][row] - sum_D - codewords_KD).square().sum(dim=1).argmin()
            sum_D = sum_D + codewords_KD[codes_BL[row, level]]
    assert len(codes_BL.unique(dim=0)) > 20


@pytest.mark.parametrize("chunk", [1, 7, 60])
def test_a_batch_of_any_size_has_the_same_codes(chunk):
    model, x_BE = stirred(), rows(60, seed=3)
    assert torch.equal(model.encode(x_BE, chunk=chunk), model.encode(x_BE))
    assert model.encode(x_BE[:0], chunk=chunk).shape == (0, 4)


@pytest.mark.parametrize(("hidden", "sizes"), [([], (3, 4)), ([8, 8, 8], (2, 2)), ([4], (2,) * 8)])
def test_any_shape_of_encoder_fits_any_number_of_levels(hidden, sizes):
    model = RQVAE(5, sizes, hidden, 2)
    assert model.encode(rows(4, 5)).shape == (4, len(sizes))
    assert model.decode(torch.zeros(4, 2)).shape == (4, 5)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_frozen_levels_get_no_gradient_and_keep_their_latents(frozen):
    model, x_BE = stirred(), rows(64, seed=1)
    before = [z_BD.detach().clone() for z_BD in model.latents(x_BE)]
    model.freeze_levels(frozen)
    optimizer = torch.optim.AdamW((weights for weights in model.parameters() if weights.requires_grad), lr=0.1, weight_decay=0)
    for _ in range(3):
        optimizer.zero_grad()
        sum(z_BD.square().sum() for z_BD in model.latents(x_BE)).backward()
        optimizer.step()
    same = [torch.equal(z_BD, old_BD) for z_BD, old_BD in zip(model.latents(x_BE), before, strict=True)]
    assert same == [True] * frozen + [False] * (4 - frozen)
