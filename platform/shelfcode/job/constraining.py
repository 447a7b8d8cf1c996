"""Grouping a catalog's products under the constraint of a recipe or of a release, with a word of what came of it."""

from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.flavor import Recipe
from shelfcode.job.screen import say
from shelfcode.quantization.constrained_products import ConstrainedProducts, constrain, read_constraint
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace


def constrain_new(
    recipe: Recipe, workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, weights: str | None
) -> ConstrainedProducts | None:
    """The products in the groups that a recipe's constraint keeps apart; None where it has none.

    Args:
        weights: folder of the release that training starts from, whose groups are kept.

    Raises:
        ShelfcodeError: nobody knows the column, or its values cannot be grouped.
    """
    if recipe.quantizer.constraint is None:
        return None
    known = read_constraint(workspace, weights) if weights else None
    return _told(constrain(recipe.quantizer.constraint, workspace, snapshot, embedded, known))


def constrain_as(
    release: Manifest, recipe: Recipe, workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog
) -> ConstrainedProducts | None:
    """The products of a catalog in the groups of a release; None where it has none. Errors as those of `constrain_new`."""
    known = read_constraint(workspace, release.folder)
    if known is None or recipe.quantizer.constraint is None:
        return None
    return _told(constrain(recipe.quantizer.constraint, workspace, snapshot, embedded, known))


def _told(constrained: ConstrainedProducts) -> ConstrainedProducts:
    sizes = ", ".join(f"{group} {count:,}" for group, count in constrained.sizes().items())
    say(f"kept apart by {constrained.constraint.column}: {sizes} products")
    if constrained.of_no_group:
        say(f"{constrained.of_no_group:,} products have a value that no product had in training; they may have any first codeword")
    return constrained
