"""A model hosted by vLLM gives the vectors that sentence-transformers gives."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.embedding.vllm_encoder import VllmEncoder
from shelfcode.errors import ShelfcodeError

pytestmark = pytest.mark.live

SETTINGS = EncoderSettings(engine="vllm", cpus_per_actor=1, max_tokens=32, engine_arguments={"disable_log_stats": True})
TEXTS = ["Oat milk, 1 l", "Whole milk", "", "🍕 Pizza", "有机燕麦奶", "a very long text " * 100]


@pytest.fixture(scope="module")
def hosted() -> Iterator[VllmEncoder]:
    """One engine for all tests of this module."""
    encoder = VllmEncoder(SETTINGS)
    yield encoder
    encoder.engine.llm_engine.engine_core.shutdown()


def test_vectors_are_those_of_sentence_transformers_in_the_order_of_the_texts(hosted: VllmEncoder) -> None:
    x_ND = hosted.embed(TEXTS)
    assert x_ND.shape == (len(TEXTS), 384)
    assert x_ND.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(x_ND, axis=1), 1, atol=1e-5)
    expected_ND = Encoder(SETTINGS.model_copy(update={"engine": "sentence-transformers", "backend": "torch"})).embed(TEXTS)
    assert (x_ND * expected_ND).sum(axis=1).min() > 0.9999


def test_the_first_dimensions_are_kept_and_of_unit_norm_again(hosted: VllmEncoder) -> None:
    whole_ND = hosted.embed(TEXTS[:2])
    hosted.settings = SETTINGS.model_copy(update={"dimensions": 64})
    cut_ND = hosted.embed(TEXTS[:2])
    np.testing.assert_allclose(cut_ND, whole_ND[:, :64] / np.linalg.norm(whole_ND[:, :64], axis=1, keepdims=True), atol=1e-5)
    hosted.settings = SETTINGS.model_copy(update={"dimensions": 400})
    with pytest.raises(ShelfcodeError, match=r"encoder\.dimensions 400: .* has only 384"):
        hosted.embed(TEXTS[:1])
    hosted.settings = SETTINGS


def test_no_texts_are_no_rows(hosted: VllmEncoder) -> None:
    assert len(hosted.embed([])) == 0


def test_a_model_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"encoder\.model '.*nowhere': .*nowhere is not there\. Give a folder"):
        VllmEncoder(SETTINGS.model_copy(update={"model": str(tmp_path / "nowhere")}))
