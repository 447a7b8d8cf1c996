"""Where a language model's files are: on the model hub, in a folder, in a package, or published in a workspace under extractors/."""

from dataclasses import replace

from shelfcode.llm.settings import ModelSettings
from shelfcode.published_model import ModelKind, published_path
from shelfcode.workspace import Workspace

EXTRACTORS = ModelKind("extractors", "extractor.model", "extractor", "jobs/distill_extractor.py")


def model_files(settings: ModelSettings, workspace: Workspace | None = None) -> str:
    """Folder or hub name of the model; one that a bucket keeps is copied to the node's disk, once.

    Raises:
        ShelfcodeError: there is no such package, or no such model in the workspace.
    """
    return published_path(replace(EXTRACTORS, field=f"{settings.section}.model"), settings.model, workspace)
