"""A trained quantizer as a file: safetensors, never pickle."""

from safetensors.torch import load, save
from torch import Tensor, device
from torch.nn.functional import pad

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.workspace import Workspace

MODEL_FILE = "model.safetensors"
CPU = device("cpu")


def new_model(recipe: Recipe, dimensions: int) -> RQVAE:
    """An untrained model of the recipe's shape."""
    quantizer = recipe.quantizer
    return RQVAE(dimensions, quantizer.codebook_sizes, quantizer.hidden_sizes, quantizer.latent_size, quantizer.constraint is not None)


def save_model(workspace: Workspace, folder: str, weights: dict[str, Tensor]) -> None:
    """Write the weights of a trained model into a release's folder."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    workspace.write_bytes(f"{folder}/{MODEL_FILE}", save(plain))


def copy_model(workspace: Workspace, source: str, target: str) -> None:
    """The same weights for another release."""
    workspace.write_bytes(f"{target}/{MODEL_FILE}", workspace.read_bytes(f"{source}/{MODEL_FILE}"))


def load_model(workspace: Workspace, folder: str, recipe: Recipe, on: device = CPU) -> RQVAE:
    """The model of a release, ready to encode.

    Args:
        on: where it is to compute. The caller knows what it reserved; it is not for the model to look for a GPU.

    Raises:
        ShelfcodeError: the file is damaged or does not fit the recipe.
    """
    try:
        weights = load(workspace.read_bytes(f"{folder}/{MODEL_FILE}"))
        model = new_model(recipe, dimensions=weights["projection.weight"].shape[1])
        model.load_state_dict(_as_now(weights, model))
    except Exception as error:  # safetensors and torch raise kinds of their own for each way a file can be damaged
        raise ShelfcodeError(f"{workspace.address(folder)}/{MODEL_FILE} cannot be loaded: {str(error).splitlines()[0]}") from error
    return model.eval().to(on)


def _as_now(weights: dict[str, Tensor], model: RQVAE) -> dict[str, Tensor]:
    """The weights of a model; one from before the encoder moved the last level has no moves for it, and took embeddings unscaled."""
    first, last = "encoder.0.weight", f"encoder.{len(model.encoder) - 1}"
    weight, bias = weights[f"{last}.weight"], weights[f"{last}.bias"]
    missing = model.get_parameter(f"{last}.bias").shape[0] - bias.shape[0]
    if missing != model.projection.out_features:
        return weights
    moved = {f"{last}.weight": pad(weight, (0, 0, 0, missing)), f"{last}.bias": pad(bias, (0, missing))}
    return weights | moved | {first: weights[first] / model.input_scale}
