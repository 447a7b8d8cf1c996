"""The model of a release: what is loaded gives the codes of what was saved, and a damaged file says so."""

import numpy as np
import pytest
import torch

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.fitting import start
from shelfcode.quantization.model_file import MODEL_FILE, load_model, save_model
from shelfcode.workspace import Workspace

FOLDER = "releases/small/v0001"


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(str(tmp_path))


@pytest.fixture
def weights(recipe: Recipe, targets) -> dict[str, torch.Tensor]:
    return start(recipe, targets, Worker()).model.state_dict()


def test_a_saved_model_gives_the_same_codes(workspace, recipe, planted, targets, monkeypatch):
    """And looks for no GPU: whoever loads it says where, by what was reserved."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    x_NE = torch.from_numpy(planted.x_NE)
    model = start(recipe, targets, Worker()).model
    save_model(workspace, FOLDER, model.state_dict())
    loaded = load_model(workspace, FOLDER, recipe)
    device = next(loaded.parameters()).device
    assert not loaded.training
    np.testing.assert_array_equal(loaded.to("cpu").encode(x_NE), model.encode(x_NE))
    assert device.type == "cpu"


def test_nothing_of_a_model_is_lost(workspace, recipe, weights):
    """Decoder and expansion code no product; a later release that goes on from this model needs them."""
    save_model(workspace, FOLDER, weights)
    loaded = load_model(workspace, FOLDER, recipe).state_dict()
    assert set(loaded) == set(weights)
    assert all(torch.equal(loaded[name].cpu(), tensor) for name, tensor in weights.items())


def test_a_model_from_before_the_last_level_was_moved_gives_the_codes_it_gave(workspace, recipe, planted, targets):
    """Its encoder has no moves for the last level, whose latent is the projection, and takes embeddings as they are."""
    model = start(recipe, targets, Worker()).model
    torch.nn.init.normal_(model.encoder[-1].weight, std=0.05, generator=torch.Generator().manual_seed(0))
    latent = recipe.quantizer.latent_size
    with torch.no_grad():
        model.encoder[-1].weight[-latent:] = 0
    weights, last = dict(model.state_dict()), f"encoder.{len(model.encoder) - 1}"
    old = {f"{last}.{name}": weights[f"{last}.{name}"][:-latent] for name in ("weight", "bias")}
    save_model(workspace, FOLDER, weights | old | {"encoder.0.weight": weights["encoder.0.weight"] * model.input_scale})
    x_NE = torch.from_numpy(planted.x_NE)
    np.testing.assert_array_equal(load_model(workspace, FOLDER, recipe).encode(x_NE), model.encode(x_NE))
    assert not np.array_equal(model.encode(x_NE)[:, 0], start(recipe, targets, Worker()).model.encode(x_NE)[:, 0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:5],
        lambda data: b"",  # noqa: ARG005
        lambda data: b"\x80\x04pickle" + data,
        lambda data: data.replace(b"projection.weight", b"projection.wEight"),
        lambda data: data.replace(b"codewords_1", b"codewords_9"),
    ],
    ids=["half", "a few bytes", "nothing", "not safetensors", "projection renamed", "codebook renamed"],
)
def test_a_damaged_file_names_itself(workspace, recipe, weights, damage):
    save_model(workspace, FOLDER, weights)
    path = f"{FOLDER}/{MODEL_FILE}"
    workspace.write_bytes(path, damage(workspace.read_bytes(path)))
    with pytest.raises(ShelfcodeError, match=f"{FOLDER}/{MODEL_FILE} cannot be loaded"):
        load_model(workspace, FOLDER, recipe)


def test_a_model_of_another_recipe_is_refused(workspace, recipe, weights):
    save_model(workspace, FOLDER, weights)
    other = Recipe.model_validate({"name": "other", "quantizer": {**recipe.quantizer.model_dump(), "codebook_sizes": [8, 16, 33]}})
    with pytest.raises(ShelfcodeError, match="cannot be loaded"):
        load_model(workspace, FOLDER, other)


def test_a_release_without_a_model_is_refused(workspace, recipe):
    with pytest.raises(ShelfcodeError, match="cannot be loaded"):
        load_model(workspace, FOLDER, recipe)
