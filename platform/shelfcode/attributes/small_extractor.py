"""The small extractor that comes with the package: a student of the sample catalog, for trying the LLM path without a model hub.

Made by jobs/distill_extractor.py (the commands are in docs/attributes.md); `package:shelfcode.attributes.small_extractor` in a recipe.
"""

from pathlib import Path


def get_model_path() -> Path:
    """The folder that transformers and vLLM load."""
    return Path(__file__).with_name("small_model")
