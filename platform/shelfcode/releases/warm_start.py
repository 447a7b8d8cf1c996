"""What a new release takes over from the current one: the recipe's `stability`, and what the two have in common, decide."""

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


def _unlike(recipe: Recipe, embeddings: str, parent: Manifest) -> list[str]:
    """What keeps training from starting at the parent's weights."""
    ours, theirs = recipe.quantizer, release_recipe(parent).quantizer
    shape = ("codebook_sizes", "hidden_sizes", "latent_size")
    changed = [f"quantizer.{name}" for name in shape if getattr(ours, name) != getattr(theirs, name)]
    return changed + (["the encoder or the text view"] if embeddings != parent.embeddings else [])
