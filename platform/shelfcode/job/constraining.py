"""Grouping a catalog's products under the constraint of a recipe or of a release, with a word of what came of it."""

from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.flavor import Recipe
from shelfcode.job.screen import say
from shelfcode.quantization.constrained_products import ConstrainedProducts, constrain, named_column, read_constraint, snapshot_columns
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace


def check_constraint(recipe: Recipe, workspace: Workspace, snapshot: Snapshot) -> None:
    """Refuse a constraint by a column that there is not, before anything is embedded.

    Raises:
        ShelfcodeError: the message names the columns and attributes that there are.
    """
    if recipe.quantizer.constraint is not None:
        extracts = recipe.text_view.kind == "attributes"
        attributes = [*TextViewSettings().attributes, *recipe.extractor.attributes] if extracts else []
        named_column(recipe.quantizer.constraint, snapshot_columns(workspace, snapshot), attributes)


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
        say(f"with a value that no product had in training: {constrained.of_no_group:,} products, which may have any first codeword")
    return constrained
