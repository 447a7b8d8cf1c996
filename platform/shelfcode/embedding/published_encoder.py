"""Encoders that a workspace keeps: encoders/<name>/<version>, named in a recipe by `workspace:encoders/NAME@v0001` (published_model.py)."""

from typing import Any, ClassVar

from shelfcode.embedding.settings import EncoderSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.model_folder import check_model_folder
from shelfcode.model_source import WORKSPACE
from shelfcode.published_model import ModelCard, ModelKind, check_name, pinned, publish_model, published_path
from shelfcode.workspace import Workspace

__all__ = ["ENCODERS", "EncoderCard", "check_name", "encoder_path", "pin_encoder", "publish_encoder"]

ENCODERS = ModelKind("encoders", "encoder.model", "encoder", "jobs/train_encoder.py")


class EncoderCard(ModelCard):
    """What a published encoder says of itself: its manifest.json.

    Attributes:
        base: the model that it was trained from.
        recipe: of the training.
        data: where catalog and judgments were read from, and their counts.
        training: how long it took, and which step was kept.
        figures: set of queries -> figure -> its value for the base and for the encoder, and the difference.
    """

    kind: ClassVar[ModelKind] = ENCODERS

    base: str
    recipe: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    figures: dict[str, Any]


def publish_encoder(workspace: Workspace, draft: str, card: EncoderCard) -> EncoderCard:
    """Move a draft that holds `model/` to the next free version and make it current."""
    return publish_model(workspace, draft, card)


def pin_encoder(encoder: EncoderSettings, workspace: Workspace) -> EncoderSettings:
    """The settings with all that `auto` and `@current` stand for now, so that no actor and no night finds another answer.

    Raises:
        ShelfcodeError: there is no such encoder in the workspace, and the message lists those that there are; or no such package; its
            folder is not whole; or the settings would use a GPU that they do not reserve.
    """
    check_named_model(encoder)
    model = pinned(ENCODERS, encoder.model, workspace)
    if workspace.is_local and model.startswith(WORKSPACE):
        check_model_folder("encoder.model", encoder.model, encoder_path(model, workspace))
    return encoder.resolved.model_copy(update={"model": model})


def check_named_model(encoder: EncoderSettings) -> None:
    """Say what is wrong with an encoder's settings and with the folder that they name, before there is a workspace or a Ray.

    Raises:
        ShelfcodeError: there is no such package; the model's folder is not whole; or the settings would use a GPU that they do not reserve.
    """
    if problem := encoder.misplaced():
        raise ShelfcodeError(problem)
    if not encoder.model.startswith(WORKSPACE):
        check_model_folder("encoder.model", encoder.model, encoder_path(encoder.model, None))


def encoder_path(model: str, workspace: Workspace | None) -> str:
    """Folder or hub name of an encoder's model; one that a bucket keeps is copied to the node's disk, once.

    Raises:
        ShelfcodeError: as `pin_encoder`, or a workspace's encoder is named where no workspace is known.
    """
    return published_path(ENCODERS, model, workspace)
