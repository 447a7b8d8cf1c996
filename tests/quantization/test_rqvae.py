"""The model: losses worked out by hand, gradients that reach the encoder from every level, and the start as a projection."""

import pytest
import torch

from shelfcode.quantization.rqvae import RQVAE

SIZES = (4, 5, 6, 7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int, dimensions: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, dimensions, generator=seeded(seed)), dim=1)


def model_with_codebooks(dimensions: int = 12, latent_size: int = 6) -> RQVAE:
    torch.manual_seed(0)
    model, x_NE = RQVAE(dimensions, SIZES, [16], latent_size), rows(200, dimensions)
    model.start_as_projection(x_NE)
    with torch.no_grad():
        model.codebooks.set_up(model.encoder(x_NE), 5, seeded())
    return model


def distances(x_ND: torch.Tensor) -> torch.Tensor:
    return (x_ND[:, None] - x_ND).square().sum(dim=2).sqrt()


def encoder_gradient(model: RQVAE, loss: torch.Tensor) -> torch.Tensor:
    gradients = torch.autograd.grad(loss, list(model.encoder.parameters()), retain_graph=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def test_every_level_pulls_the_encoder_towards_its_codeword():
    """Against the straight-through output, instead of the detached one, levels 2 and below would pull with exactly nothing."""
    model, x_BE = model_with_codebooks(), rows(64, seed=1)
    out = model(x_BE)
    _, prefix_LBD = model.codebooks.assign(out.z_BD)
    level_L = [(out.z_BD - prefix_BD).square().sum(dim=1).mean() for prefix_BD in prefix_LBD]
    down_to_here, norm_L = torch.zeros(()), []
    for level in range(len(SIZES)):
        model.codebooks.sizes = SIZES[: level + 1]  # one level more; what it adds to the gradient is its own
        gradient = encoder_gradient(model, model(x_BE).commitment)
        torch.testing.assert_close(gradient - down_to_here, encoder_gradient(model, level_L[level]), atol=1e-5, rtol=1e-4)
        norm_L.append(float((gradient - down_to_here).norm()))
        down_to_here = gradient
    assert min(norm_L) > 0.05


def test_the_decoder_pulls_the_encoder_straight_through():
    model = model_with_codebooks()
    assert encoder_gradient(model, model(rows(64, seed=1)).reconstruction).norm() > 1e-3


def test_prefixes_are_codewords_forward_and_the_encoder_backward():
    model = model_with_codebooks()
    out = model(rows(8, seed=1))
    for level in range(len(SIZES)):
        expected_BD = sum(model.codebooks.codewords(upper)[out.codes_BL[:, upper]] for upper in range(level + 1))
        torch.testing.assert_close(out.prefix_LBD[level].detach(), expected_BD, atol=1e-5, rtol=0)
        (gradient_BD,) = torch.autograd.grad(out.prefix_LBD[level].sum(), out.z_BD, retain_graph=True)
        assert torch.equal(gradient_BD, torch.ones_like(gradient_BD))


def test_losses_by_hand():
    """One latent number, two levels; encoder and decoder the identity. Summed over dimensions, mean over products."""
    model = RQVAE(2, (2, 2), [3], 2)
    with torch.no_grad():
        model.encoder.set_skip(torch.eye(2), torch.zeros(2))
        model.decoder.set_skip(torch.eye(2), torch.zeros(2))
        model.codebooks.codewords(0).copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        model.codebooks.codewords(1).copy_(torch.tensor([[0.0, 0.5], [0.0, 0.0]]))
    out = model(torch.tensor([[1.0, 0.6], [0.2, 1.0]]))
    assert out.codes_BL.tolist() == [[0, 0], [1, 1]]
    # Left over after level 1: (0, 0.6) and (0.2, 0); after level 2: (0, 0.1) and (0.2, 0).
    assert out.commitment.item() == pytest.approx(((0.36 + 0.01) + (0.04 + 0.04)) / 2)
    assert out.reconstruction.item() == pytest.approx((0.01 + 0.04) / 2)


def test_distances_in_a_subspace_hold_from_the_first_step():
    basis_DE = torch.linalg.qr(torch.randn(20, 6, generator=seeded()))[0].T
    x_NE = torch.randn(100, 6, generator=seeded(1)) @ basis_DE + torch.randn(20, generator=seeded(2))
    model = RQVAE(20, SIZES, [16, 8], 6)
    model.start_as_projection(x_NE)
    with torch.no_grad():
        z_ND = model.encoder(x_NE)
        torch.testing.assert_close(distances(z_ND), distances(x_NE), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.decoder(z_ND), x_NE, atol=1e-4, rtol=1e-4)


def test_the_projection_keeps_what_varies_most():
    x_NE = torch.randn(500, 10, generator=seeded()) * torch.tensor([0.1, 5, 0.1, 0.1, 3, 0.1, 0.1, 0.1, 0.1, 0.1])
    model = RQVAE(10, SIZES, [4], 2)
    model.start_as_projection(x_NE)
    with torch.no_grad():
        kept = model.encoder(x_NE).var(dim=0).sum() / x_NE.var(dim=0).sum()
    assert kept > 0.99


def test_a_latent_space_larger_than_the_embedding_works():
    model, x_BE = model_with_codebooks(dimensions=4, latent_size=9), rows(30, dimensions=4, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(model.decoder(model.encoder(x_BE)), x_BE, atol=1e-5, rtol=0)
    out = model(x_BE)
    (out.reconstruction + out.commitment).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_codes_published_are_the_codes_trained():
    model, x_BE = model_with_codebooks(), rows(300, seed=3)
    codes_BL = model.encode(x_BE)
    assert torch.equal(codes_BL, model(x_BE).codes_BL)
    assert all(0 <= codes_BL[:, level].min() <= codes_BL[:, level].max() < size for level, size in enumerate(SIZES))
    assert len(codes_BL.unique(dim=0)) > 20


def test_without_hidden_layers_the_model_still_fits():
    model = RQVAE(5, (3,), [], 2)
    assert model(rows(4, 5)).codes_BL.shape == (4, 1)
