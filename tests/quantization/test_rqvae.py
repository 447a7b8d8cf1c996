"""The model: losses worked out by hand, gradients that reach the encoder at every level above the last, and the start as a projection."""

import math

import pytest
import torch

from shelfcode.quantization.rqvae import RQVAE

SIZES = (4, 5, 6, 7)
TEMPERATURES = [0.5] * 4


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


def some_codes(count: int, sizes: tuple[int, ...] = SIZES) -> torch.Tensor:
    return torch.stack([torch.randint(size, (count,), generator=seeded(size)) for size in sizes], dim=1)


def sum_of_codewords(model: RQVAE, codes_BL: torch.Tensor) -> torch.Tensor:
    return sum(model.codebooks.codewords(level)[codes_BL[:, level]] for level in range(codes_BL.shape[1]))


def line(*codewords: list[float]) -> RQVAE:
    """Latents are the embedding's own single number, moved by the biases of the encoder."""
    model = RQVAE(1, [len(level) for level in codewords], [2], 1)
    model.start_at(torch.zeros(1), torch.ones(1, 1), [torch.tensor(level)[:, None] for level in codewords])
    return model


def cross_entropy(distance_K: list[float], target: int, temperature: float) -> float:
    score = [math.exp(-(distance**2) / temperature) for distance in distance_K]
    return -math.log(score[target] / sum(score))


def test_before_training_every_latent_is_the_projection():
    model, x_BE = started(), rows(30, seed=3)
    with torch.no_grad():
        projected_BD = (x_BE - model.expansion.bias) @ model.projection.weight.T
        z_LBD = model.latents(x_BE)
    assert len(z_LBD) == len(SIZES)
    for z_BD in z_LBD:
        torch.testing.assert_close(z_BD, projected_BD)


def test_the_encoder_moves_every_latent_but_the_last():
    x_BE = rows(30, seed=3)
    with torch.no_grad():
        before, after = started().latents(x_BE), stirred().latents(x_BE)
    moved_L = [float((one - other).norm(dim=1).min()) for one, other in zip(before, after, strict=True)]
    assert min(moved_L[:-1]) > 1e-3
    assert moved_L[-1] == 0


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
    assert torch.equal(model.encode(x_BE, chunk), model.encode(x_BE))
    assert model.encode(x_BE[:0], chunk).shape == (0, 4)


def test_commitment_by_hand():
    """Levels at -1 and 1, then -0.5, 0 and 0.5; the last is not committed. Summed over levels, mean over products."""
    model, x_BE = line([-1, 1], [-0.5, 0, 0.5], [-0.1, 0.1]), torch.tensor([[0.8], [-1.7]])
    out = model(x_BE, torch.tensor([[1, 1, 0], [1, 0, 1]]), [2.0, 0.25, 1.0])
    # Left over after the target's first codeword, 1: -0.2 and -2.7.
    first = cross_entropy([1.8, 0.2], 1, 2.0) + cross_entropy([0.3, 0.2, 0.7], 1, 0.25)
    second = cross_entropy([0.7, 2.7], 1, 2.0) + cross_entropy([2.2, 2.7, 3.2], 0, 0.25)
    assert out.commitment.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_commitment_falls_as_latents_approach_their_targets():
    model, x_BE, target_BL = line([-1, 1], [-0.5, 0, 0.5], [-0.1, 0.1]), torch.tensor([[-0.9]]), torch.tensor([[1, 2, 0]])
    z_LB, aim_L = torch.tensor([-0.9, -0.9]), torch.tensor([1, 1.5])
    commitment = []
    for way in (0, 0.25, 0.5, 0.75, 1):
        with torch.no_grad():
            model.encoder[-1].bias.copy_(way * (aim_L - z_LB))
        commitment.append(model(x_BE, target_BL, [0.05, 0.05, 0.05]).commitment.item())
    assert commitment == sorted(commitment, reverse=True)
    assert commitment[0] > 1 > 0.1 > commitment[-1]
    assert model.encode(x_BE)[0, :2].tolist() == [1, 2]


def test_every_level_above_the_last_pulls_its_own_latent_and_the_last_none():
    model = started()
    out = model(rows(64, seed=1), some_codes(64), TEMPERATURES)
    out.commitment.backward()
    norm_L = [float(part.norm()) for part in model.encoder[-1].weight.grad.chunk(3)]
    assert min(norm_L) > 0.01
    assert not out.z_LBD[-1].requires_grad


def test_no_loss_moves_projection_expansion_or_codebooks():
    model = stirred()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    out = model(rows(64, seed=1), some_codes(64), TEMPERATURES)
    (out.reconstruction + out.commitment + sum(z_BD.square().sum() for z_BD in out.z_LBD)).backward()
    optimizer.step()
    still = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    assert still == {name for name in before if name.startswith(("projection", "expansion", "codebooks"))}


def test_reconstruction_is_of_the_targets_codewords():
    """Summed over dimensions, mean over products; the decoder adds nothing yet."""
    model, x_BE, target_BL = started(), rows(20, seed=4), some_codes(20)
    with torch.no_grad():
        out = model(x_BE, target_BL, TEMPERATURES)
        decoded_BE = model.expansion.bias + sum_of_codewords(model, target_BL) @ model.projection.weight
    torch.testing.assert_close(out.reconstruction, (decoded_BE - x_BE).square().sum(dim=1).mean())


def test_products_on_their_own_codewords_are_reconstructed():
    """The plane of the codewords holds the products: nothing is lost but what quantisation takes."""
    model, codes_BL = started(), some_codes(50)
    with torch.no_grad():
        x_BE = model.expansion(sum_of_codewords(model, codes_BL))
        out = model(x_BE, codes_BL, TEMPERATURES)
        moved = model(x_BE + 0.1, codes_BL, TEMPERATURES)
    assert out.reconstruction.item() == pytest.approx(0, abs=1e-9)
    assert moved.reconstruction.item() == pytest.approx(12 * 0.01, rel=1e-4)


def test_codewords_say_more_than_the_mean(planted, targets):
    x_NE, codes_NL = torch.from_numpy(planted.x_NE), torch.from_numpy(targets.codes_ML.astype("int64"))
    model = RQVAE(32, (8, 16, 32), [64], 16)
    model.start_at(*(torch.from_numpy(array) for array in (targets.mean_E, targets.basis_DE)), map(torch.from_numpy, targets.codewords))
    with torch.no_grad():
        reconstruction = model(x_NE, codes_NL, [1.0] * 3).reconstruction
    assert reconstruction < 0.5 * (x_NE - x_NE.mean(dim=0)).square().sum(dim=1).mean()


@pytest.mark.parametrize(("hidden", "sizes"), [([], (3, 4)), ([8, 8, 8], (2, 2)), ([4], (2,) * 8)])
def test_any_shape_of_encoder_fits_any_number_of_levels(hidden, sizes):
    model = RQVAE(5, sizes, hidden, 2)
    out = model(rows(4, 5), some_codes(4, sizes), [1.0] * len(sizes))
    (out.reconstruction + out.commitment).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.requires_grad)
    assert model.encode(rows(4, 5)).shape == (4, len(sizes))


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_frozen_levels_get_no_gradient_and_keep_their_latents(frozen):
    model, x_BE = stirred(), rows(64, seed=1)
    before = [z_BD.detach().clone() for z_BD in model.latents(x_BE)]
    model.freeze_levels(frozen)
    optimizer = torch.optim.AdamW((weights for weights in model.parameters() if weights.requires_grad), lr=0.1, weight_decay=0)
    for _ in range(3):
        out = model(x_BE, some_codes(64), TEMPERATURES)
        optimizer.zero_grad()
        (out.commitment + out.reconstruction).backward()
        optimizer.step()
    same = [torch.equal(z_BD, old_BD) for z_BD, old_BD in zip(model.latents(x_BE), before, strict=True)]
    assert same == [True] * frozen + [False] * (3 - frozen) + [True]
