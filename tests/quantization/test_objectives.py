"""Both objectives: losses worked out by hand, what each gradient reaches, and codewords that follow or stand still."""

import math

import pytest
import torch

from shelfcode.flavor import Recipe
from shelfcode.quantization.objectives import FOLLOWING, NeighbourhoodObjective, ReconstructionObjective, objective_of
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search.targets import Targets
from shelfcode.recipe_file import validate_recipe

SIZES = (4, 5, 6, 7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int, dimensions: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, dimensions, generator=seeded(seed)), dim=1)


def stirred(sizes: tuple[int, ...] = SIZES, hidden: list[int] | None = None) -> RQVAE:
    """As in the middle of training: encoder and decoder add something of their own to an orthonormal basis."""
    torch.manual_seed(0)
    model = RQVAE(12, sizes, [16] if hidden is None else hidden, 6)
    basis_DE = torch.linalg.qr(torch.randn(12, 6, generator=seeded(1)))[0].T
    codewords = [torch.randn(size, 6, generator=seeded(level)) * 0.4 / (level + 1) for level, size in enumerate(sizes)]
    model.start_at(0.3 * torch.randn(12, generator=seeded(2)), basis_DE, codewords)
    with torch.no_grad():
        for part in (model.encoder, model.decoder):
            part[-1].weight.copy_(0.3 * torch.randn(part[-1].weight.shape, generator=seeded(5)))
    return model


def line(*codewords: list[float]) -> RQVAE:
    """Latents are the embedding's own single number, moved by the biases of the encoder."""
    model = RQVAE(1, [len(level) for level in codewords], [2], 1)
    model.start_at(torch.zeros(1), torch.ones(1, 1), [torch.tensor(level)[:, None] for level in codewords])
    return model


def some_codes(count: int, sizes: tuple[int, ...] = SIZES) -> torch.Tensor:
    return torch.stack([torch.randint(size, (count,), generator=seeded(size)) for size in sizes], dim=1)


def neighbourhood(model: RQVAE, temperatures: list[float], decode_every: int = 1) -> NeighbourhoodObjective:
    """With these temperatures: a recipe's one temperature times the spread of each level."""
    fields = {"quantizer": {"target_temperature": 1.0}, "training": {"anchor_every": decode_every}}
    spread = torch.tensor(temperatures).numpy()
    nothing = torch.zeros(0).numpy()
    return NeighbourhoodObjective(recipe_of(fields), model, Targets(nothing, nothing, nothing, (), spread))


def rqvae(model: RQVAE, commitment_weight: float = 1.0) -> ReconstructionObjective:
    return ReconstructionObjective(recipe_of({"quantizer": {"commitment_weight": commitment_weight}}), model)


def recipe_of(fields: dict) -> Recipe:
    return validate_recipe({"name": "small", **fields}, "of a test")


def cross_entropy(distance_K: list[float], target: int, temperature: float) -> float:
    score = [math.exp(-(distance**2) / temperature) for distance in distance_K]
    return -math.log(score[target] / sum(score))


def test_the_cross_entropy_of_targets_by_hand():
    """Levels at -1 and 1, then -0.5, 0 and 0.5. Summed over levels, mean over products."""
    x_BE = torch.tensor([[0.8], [-1.7]])
    losses = neighbourhood(line([-1, 1], [-0.5, 0, 0.5]), [2.0, 0.25])(x_BE, x_BE, torch.tensor([[1, 1], [1, 0]]))
    # Left over after the target's first codeword, 1: -0.2 and -2.7.
    first = cross_entropy([1.8, 0.2], 1, 2.0) + cross_entropy([0.3, 0.2, 0.7], 1, 0.25)
    second = cross_entropy([0.7, 2.7], 1, 2.0) + cross_entropy([2.2, 2.7, 3.2], 0, 0.25)
    assert losses.quantization.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_the_cross_entropy_falls_as_latents_approach_their_targets():
    model, x_BE, target_BL = line([-1, 1], [-0.5, 0, 0.5]), torch.tensor([[-0.9]]), torch.tensor([[1, 2]])
    z_LB, aim_L = torch.tensor([-0.9, -0.9]), torch.tensor([1, 1.5])
    loss = []
    for way in (0, 0.25, 0.5, 0.75, 1):
        with torch.no_grad():
            model.encoder[-1].bias.copy_(way * (aim_L - z_LB))
        loss.append(neighbourhood(model, [0.05, 0.05])(x_BE, x_BE, target_BL).quantization.item())
    assert loss == sorted(loss, reverse=True)
    assert loss[0] > 1 > 0.1 > loss[-1]
    assert model.encode(x_BE)[0].tolist() == [1, 2]


@pytest.mark.parametrize("make", [lambda model: neighbourhood(model, [0.5] * 4), rqvae], ids=["neighbourhood", "rqvae"])
def test_every_level_draws_its_own_latent(make):
    model, x_BE = stirred(), rows(64, seed=1)
    make(model)(x_BE, x_BE, some_codes(64)).quantization.backward()
    assert min(float(part.norm()) for part in model.encoder[-1].weight.grad.chunk(4)) > 0.01


def test_reconstruction_of_targets_trains_the_decoder_alone():
    model, x_BE = stirred(), rows(20, seed=4)
    losses = neighbourhood(model, [0.5] * 4, decode_every=2)(x_BE, x_BE, some_codes(20))
    losses.reconstruction.backward()
    assert all(weights.grad is None for weights in model.encoder.parameters())
    assert model.decoder[-1].weight.grad.norm() > 0
    prefix_BD = sum(model.codebooks.codewords(level)[some_codes(20)[:, level]] for level in range(4))[::2]
    with torch.no_grad():
        torch.testing.assert_close(losses.reconstruction, (model.decode(prefix_BD) - x_BE[::2]).square().sum(dim=1).mean())


def test_the_encoder_sees_the_noise_and_the_decoder_aims_at_the_product():
    model, x_BE, noisy_BE = stirred(), rows(20, seed=4), rows(20, seed=5)
    objective = neighbourhood(model, [0.5] * 4)
    with torch.no_grad():
        clean, noisy = (objective(x_BE, seen_BE, some_codes(20)) for seen_BE in (x_BE, noisy_BE))
    assert clean.quantization != noisy.quantization
    assert clean.reconstruction == noisy.reconstruction


def test_reconstruction_by_name_reaches_the_encoder_through_every_latent():
    model, x_BE = stirred(), rows(20, seed=4)
    rqvae(model)(x_BE, x_BE, some_codes(20)).reconstruction.backward()
    assert min(float(part.norm()) for part in model.encoder[-1].weight.grad.chunk(4)) > 1e-4


def test_commitment_by_hand_is_to_the_codewords_that_products_choose():
    """Levels at -1 and 1, then -0.5, 0 and 0.5: 0.8 chooses 1 and 0, -1.7 chooses -1 and -0.5. The target codes are not looked at."""
    x_BE = torch.tensor([[0.8], [-1.7]])
    losses = rqvae(line([-1, 1], [-0.5, 0, 0.5]), 0.25)(x_BE, x_BE, torch.tensor([[0, 0], [0, 0]]))
    assert losses.quantization.item() == pytest.approx(0.25 * ((0.2**2 + 0.2**2) + (0.7**2 + 0.2**2)) / 2, rel=1e-5)


def test_codewords_follow_the_products_that_chose_them_and_the_others_stay():
    model, x_BE = line([-1, 1, 9], [-0.5, 0, 0.5]), torch.tensor([[0.8], [1.0], [-1.7]])
    objective = rqvae(model)
    objective(x_BE, x_BE, torch.zeros(3, 2, dtype=torch.int64))
    objective.follow()
    # As many products as codewords: two products move a codeword by twice FOLLOWING towards their mean.
    expected = [-1 + FOLLOWING * (-1.7 + 1), 1 + 2 * FOLLOWING * (0.9 - 1), 9]
    assert model.codebooks.codewords(0).flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_codewords_that_are_targets_stay():
    model = stirred()
    before = [model.codebooks.codewords(level).clone() for level in range(4)]
    objective, x_BE = neighbourhood(model, [0.5] * 4), rows(64, seed=1)
    losses = objective(x_BE, x_BE, some_codes(64))
    (losses.reconstruction + losses.quantization).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    objective.follow()
    assert all(torch.equal(model.codebooks.codewords(level), codewords_KD) for level, codewords_KD in enumerate(before))


@pytest.mark.parametrize("make", [lambda model: neighbourhood(model, [0.5] * 4), rqvae], ids=["neighbourhood", "rqvae"])
def test_projection_and_expansion_stay_where_they_are(make):
    model, x_BE = stirred(), rows(64, seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = make(model)(x_BE, x_BE, some_codes(64))
    (losses.reconstruction + losses.quantization).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    still = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    assert still == {name for name in before if name.startswith(("projection", "expansion", "codebooks"))}


def test_the_recipe_says_which():
    model, spread = stirred(), Targets(*[torch.zeros(4).numpy()] * 3, (), torch.ones(4).numpy())
    kinds = [type(objective_of(recipe_of({"quantizer": {"objective": name}}), model, spread)) for name in ("neighbourhood", "rqvae")]
    assert kinds == [NeighbourhoodObjective, ReconstructionObjective]
