"""Extractors that a workspace keeps: extractors/<name>/<version>, named in a recipe by `workspace:extractors/NAME@v0001`
(published_model.py)."""

from typing import Any, ClassVar

from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.llm.model_files import EXTRACTORS, model_files
from shelfcode.model_source import WORKSPACE
from shelfcode.published_model import ModelCard, ModelKind, pinned
from shelfcode.workspace import Workspace


class ExtractorCard(ModelCard):
    """What a published extractor says of itself: its manifest.json.

    Attributes:
        base: the model that it was trained from; None for one that was made from scratch.
        recipe: of the student.
        data: where catalog and teacher's attributes were read from, and their counts.
        figures: F1 of each attribute on the pairs held out.
    """

    kind: ClassVar[ModelKind] = EXTRACTORS

    base: str | None
    recipe: dict[str, Any]
    data: dict[str, Any]
    figures: dict[str, float]


def pin_extractor(settings: ExtractorSettings, workspace: Workspace) -> ExtractorSettings:
    """The settings with the version that a workspace's extractor stands for now; a model from elsewhere stays as it is.

    Raises:
        ShelfcodeError: there is no such extractor in the workspace, or no such package; lists the extractors that there are.
    """
    if settings.engine == "rules":
        return settings
    model = pinned(EXTRACTORS, settings.model, workspace)
    return settings if model == settings.model else settings.model_copy(update={"model": model})


def on_this_machine(settings: ExtractorSettings, workspace: Workspace) -> ExtractorSettings:
    """The settings with the folder of a workspace's extractor, for an engine in this process; a model from elsewhere stays as it is.

    Raises:
        ShelfcodeError: as `pin_extractor`.
    """
    if not settings.model.startswith(WORKSPACE):
        return settings
    folder = model_files(pin_extractor(settings, workspace), workspace)
    return settings.model_copy(update={"model": folder, "quotes": settings.asks_for_quotes})  # a folder does not say where it is from
