"""An encoder that costs nothing, for tests of what is done with vectors and not of the vectors: no model, no torch in an actor."""

import sys
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ray import cloudpickle

from shelfcode.embedding.encoder import unit_rows
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.workspace import Workspace

WORD_DIMENSIONS = 32

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers do not find this module


class WordEncoder:
    """A text is the sum of its words, each of which stands for a direction of its own; "cursed" has none that is finite."""

    def __init__(self, settings: EncoderSettings, _workspace: Workspace | None = None) -> None:
        self.settings = settings

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        x_ND = [np.sum([self._direction(word) for word in ["", *text.split()]], axis=0) for text in texts]
        return unit_rows(np.array(x_ND, np.float32).reshape(len(texts), WORD_DIMENSIONS))

    def cuts(self, texts: Sequence[str]) -> list[bool]:
        return [len(text.split()) > self.settings.max_tokens for text in texts]

    def _direction(self, word: str) -> NDArray[np.float64]:
        if word == "cursed":
            return np.full(WORD_DIMENSIONS, np.nan)
        return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(WORD_DIMENSIONS)
