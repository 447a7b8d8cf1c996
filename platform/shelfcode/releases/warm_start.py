"""What a new release takes over from the current one: the recipe's `stability`, and what the two have in common, decide.

And whether it may take its place at all, where other hardware made another recipe of the same file.
"""

from dataclasses import dataclass

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.releases.release import Manifest, release_recipe


@dataclass(frozen=True)
class Start:
    """Where the training of a release starts.

    Attributes:
        weights: folder of the release whose model it starts from; None to start afresh.
        codes: folder of the release whose codes are to be kept, as far as renaming codewords can; None to keep none.
        message: the same in words; empty where the recipe asks for nothing.
    """

    weights: str | None
    codes: str | None
    message: str


def choose_start(recipe: Recipe, embeddings: str, parent: Manifest | None) -> Start:
    """Where to start.

    Args:
        embeddings: where those of the recipe's encoder and text view are, within the workspace.
        parent: the current release of the flavor.

    Raises:
        ShelfcodeError: the recipe freezes levels that no release has, or one with other settings.
    """
    asked = f"stability {recipe.stability}"
    if recipe.stability == "free":
        return Start(None, None, "")
    if parent is None:
        if recipe.stability == "frozen_coarse":
            raise ShelfcodeError(f"{asked}: {recipe.name} has no current release whose first levels could be kept; train with free or warm")
        return Start(None, None, f"{asked}: there is no release to start from; training starts afresh")
    unlike = _unlike(recipe, embeddings, parent)
    if not unlike:
        return Start(parent.folder, parent.folder, f"{asked}: training starts from {parent.name}")
    if recipe.stability == "frozen_coarse":
        raise ShelfcodeError(f"{asked}: {parent.name} has other settings ({', '.join(unlike)}); keep them, or train with free or warm")
    changed = f"{', '.join(unlike)} changed since {parent.name}"
    return Start(None, parent.folder, f"{asked}: {changed}; training starts afresh, and codewords are named after that release's")


def check_hardware(recipe: Recipe, parent: Manifest | None) -> None:
    """Refuse to put another model in the place of a release's for no other reason than the hardware that a cluster has at the moment.

    Call it where nobody said which hardware the recipe is for.

    Args:
        parent: the current release of the flavor.

    Raises:
        ShelfcodeError: the release was trained with the settings for other hardware, and its encoder or extractor is another one.
    """
    if parent is None:
        return
    before = release_recipe(parent)
    if before.hardware in ("auto", recipe.hardware):
        return
    changes = [f"{was} would become {now}" for was, now in zip(_models(before), _models(recipe), strict=True) if was != now]
    if changes:
        found = "has no GPU now" if recipe.hardware == "cpu" else "has a GPU now"
        raise ShelfcodeError(
            f"{parent.name} was trained with hardware {before.hardware}, and the cluster {found}: with hardware {recipe.hardware} "
            f"{', and '.join(changes)}. To keep the models say --set hardware={before.hardware}, for which an autoscaling cluster brings "
            f"the nodes; to change them say --set hardware={recipe.hardware}"
        )


def _models(recipe: Recipe) -> tuple[str, str]:
    """Encoder and extractor in words that differ whenever what they give does because of the hardware."""
    encoder, extractor, asked = recipe.encoder, recipe.extractor, recipe.text_view.kind == "attributes"
    precision = "int8" if encoder.chosen_backend == "int8" else encoder.chosen_dtype
    dimensions = f", {encoder.dimensions} dimensions" if encoder.dimensions else ""
    by_model = f"{extractor.model} in {extractor.chosen_dtype}" if extractor.engine == "vllm" else extractor.engine
    return f"encoder {encoder.model} in {precision}{dimensions}", f"extractor {by_model}" if asked else ""


def _unlike(recipe: Recipe, embeddings: str, parent: Manifest) -> list[str]:
    """What keeps training from starting at the parent's weights."""
    ours, theirs = recipe.quantizer, release_recipe(parent).quantizer
    shape = ("codebook_sizes", "hidden_sizes", "latent_size", "constraint")
    changed = [f"quantizer.{name}" for name in shape if getattr(ours, name) != getattr(theirs, name)]
    return changed + (["the encoder or the text view"] if embeddings != parent.embeddings else [])
