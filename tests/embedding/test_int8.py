"""A model in int8 keeps its vectors, and outside a job is built once a node."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.int8 import Int8Transformer, run_in_int8
from shelfcode.embedding.int8_models import is_kept
from shelfcode.embedding.pipeline import keep_int8
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.errors import ShelfcodeError
from shelfcode.sample.catalog import sample_chunk
from shelfcode.workspace import Workspace

TEXTS = ["oat milk", "rye bread apple", "soap brand 7", "milk " * 40, "1 2 3 4", "apple juice.", ""]


def both(**settings: object) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of a few texts in float32 and in int8."""
    return encoder("torch", **settings).embed(TEXTS), encoder("int8", **settings).embed(TEXTS)


def encoder(backend: str = "int8", **settings: object) -> Encoder:
    return Encoder(EncoderSettings.model_validate({"backend": backend, "cpus_per_actor": 1, **settings}))


def cosines(x_ND: np.ndarray, y_ND: np.ndarray) -> np.ndarray:
    return (x_ND * y_ND).sum(axis=1)


@pytest.fixture(scope="module")
def built(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """The scratch folder of a node that has quantised the tiny model, and the vectors that it gives."""
    scratch = tmp_path_factory.mktemp("node") / "scratch"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFCODE_SCRATCH", str(scratch))
        return scratch, encoder(model=str(tiny)).embed(TEXTS)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node whose disk is empty."""
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def filled(built: tuple[Path, np.ndarray], scratch: Path) -> Path:
    """A node's disk on which the tiny model lies quantised: a copy, which a test may damage."""
    return shutil.copytree(built[0], scratch)


def kept(scratch: Path) -> list[Path]:
    return sorted(path for path in scratch.glob("int8-*") if path.is_dir())


@pytest.fixture(scope="module")
def shop() -> list[str]:
    """Texts of the sample catalog that int8 was not calibrated with."""
    return raw_texts(sample_chunk(0, 200, seed=3).products, TextViewSettings())


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return encoder("int8", cpus_per_actor=2)


@pytest.mark.live
def test_minilm_keeps_its_vectors(minilm: Encoder, shop: list[str]) -> None:
    x_ND = minilm.embed(shop)
    assert x_ND.shape == (200, 384)
    assert x_ND.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(x_ND, axis=1), 1, atol=1e-6)
    expected_ND = encoder("torch", cpus_per_actor=2).embed(shop)
    assert cosines(x_ND, expected_ND).mean() >= 0.99
    assert cosines(x_ND, expected_ND).min() >= 0.95
    assert np.abs(x_ND - expected_ND).max() > 1e-3, "it is not int8 that was measured"
    np.testing.assert_array_equal(np.argmax(x_ND @ expected_ND.T, axis=1)[:50], np.arange(50))


@pytest.mark.live
def test_a_text_has_its_vector_in_whatever_company(minilm: Encoder, shop: list[str]) -> None:
    """But for numbers that lie between two of int8: which one they are rounded to may change with the shape of the batch."""
    alone_ND = np.concatenate([minilm.embed([text]) for text in shop[:20]])
    found_N = cosines(minilm.embed([*shop, "long " * 5000])[:20], alone_ND)
    assert found_N.mean() > 0.9999
    assert found_N.min() > 0.999


def test_it_is_what_a_cpu_embeds_with_unless_told_otherwise(
    tiny: Path, built: tuple[Path, np.ndarray], filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a machine with a GPU that the recipe does not ask for: another actor of the cluster may have none."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    default = encoder("auto", model=str(tiny))
    assert isinstance(default.model[0].model, Int8Transformer)
    assert default.model.device.type == "cpu"
    np.testing.assert_array_equal(default.embed(TEXTS), built[1])
    assert not isinstance(encoder("torch", model=str(tiny), device="cpu").model[0].model, Int8Transformer)


def test_a_second_actor_of_a_node_builds_nothing(
    tiny: Path, built: tuple[Path, np.ndarray], filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Dimensions and batches do not matter to the transformer."""
    with caplog.at_level(logging.INFO, "shelfcode.embedding.int8"):
        np.testing.assert_array_equal(encoder(model=str(tiny)).embed(TEXTS), built[1])
        for settings in ({"dimensions": 8}, {"tokens_per_batch": 64}):
            encoder(model=str(tiny), **settings)
    assert caplog.text == ""
    assert len(kept(filled)) == 1


def test_a_node_that_has_built_nothing_embeds_with_the_model_that_the_workspace_keeps(
    tiny: Path,
    built: tuple[Path, np.ndarray],
    filled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What one node has built is kept in the workspace, named in the settings, and built by no other node."""
    workspace = Workspace(str(tmp_path / "workspace"))
    settings = keep_int8(EncoderSettings(model=str(tiny), backend="int8", cpus_per_actor=1), workspace)
    assert settings.int8_model
    assert is_kept(workspace, settings.int8_model)
    assert keep_int8(settings.model_copy(update={"int8_model": None}), workspace) == settings == keep_int8(settings, workspace)
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "other node"))
    with caplog.at_level(logging.INFO, "shelfcode.embedding.int8"):
        np.testing.assert_array_equal(Encoder(settings, workspace).embed(TEXTS), built[1])
    assert caplog.text == ""
    assert [path.name for path in kept(tmp_path / "other node")] == [f"int8-{settings.int8_model}"]


ACTOR = """
import logging, os, sys, numpy
from pathlib import Path
from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.settings import EncoderSettings
logging.basicConfig(level=logging.INFO)
encoder = Encoder(EncoderSettings(model=sys.argv[1], backend="int8", cpus_per_actor=1))
numpy.save(Path(sys.argv[2], f"{os.getpid()}.npy"), encoder.embed(["oat milk", "rye bread"]))
try:
    import openvino_telemetry
except ImportError:
    print("told nobody", file=sys.stderr)
print("result")
"""


@pytest.mark.live
def test_of_two_actors_that_start_together_one_builds_and_the_other_waits(
    tiny: Path, built: tuple[Path, np.ndarray], scratch: Path, tmp_path: Path
) -> None:
    """They build what another node has built, and tell nobody else, on their standard output or by the network."""
    actors = [
        subprocess.Popen([sys.executable, "-c", ACTOR, str(tiny), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    logs = []
    for actor in actors:
        stdout, stderr = actor.communicate(timeout=300)
        assert (actor.returncode, stdout) == (0, "result\n"), stderr
        assert "told nobody" in stderr
        logs.append(stderr)
    assert "".join(logs).count("is quantised to int8, once for this node") == 1
    assert [path.name for path in kept(scratch)] == [path.name for path in kept(built[0])]
    one, other = (np.load(path) for path in tmp_path.glob("*.npy"))
    np.testing.assert_array_equal(one, other)
    shutil.copytree(built[0], scratch, dirs_exist_ok=True)  # what the first node made gives the same vectors
    np.testing.assert_array_equal(encoder(model=str(tiny)).embed(["oat milk", "rye bread"]), one)


def lose_the_weights(folder: Path) -> None:
    (folder / "model/model.bin").unlink()


def cut_the_weights(folder: Path) -> None:
    weights = folder / "model/model.bin"
    weights.write_bytes(weights.read_bytes()[:-100])


def lose_the_digest(folder: Path) -> None:
    (folder / "digest").unlink()


def leave_half_a_draft(folder: Path) -> None:
    folder.rename(folder.with_suffix(".draft"))
    lose_the_weights(folder.with_suffix(".draft"))


@pytest.fixture
def tiny_model_in_torch(tiny: Path) -> SentenceTransformer:
    model = SentenceTransformer(str(tiny), device="cpu")
    model.max_seq_length = 64
    return model


@pytest.mark.parametrize("harm", [lose_the_weights, cut_the_weights, lose_the_digest, leave_half_a_draft])
def test_what_a_killed_actor_or_a_broken_disk_left_is_built_again(
    tiny: Path, tiny_model_in_torch: SentenceTransformer, built: tuple[Path, np.ndarray], filled: Path, harm: Callable[[Path], None]
) -> None:
    """What quantising gives is read from another node's disk here, which is quicker."""
    import openvino

    def quantised(*_: object) -> Any:
        return openvino.Core().read_model(kept(built[0])[0] / "model/model.xml")

    (folder,) = kept(filled)
    harm(folder)
    run_in_int8(tiny_model_in_torch, EncoderSettings(model=str(tiny), cpus_per_actor=1), None, "", quantise=quantised)
    assert kept(filled) == [folder]
    np.testing.assert_array_equal(encoder(model=str(tiny)).embed(TEXTS), built[1])


@pytest.fixture(scope="module")
def long_pipeline(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that goes on after its pooling."""
    import torch
    from sentence_transformers import models

    folder = tmp_path_factory.mktemp("pipeline") / "long"
    torch.manual_seed(0)
    start = SentenceTransformer(str(tiny), device="cpu")
    SentenceTransformer(modules=[*start, models.Dense(32, 12), models.Normalize()], device="cpu").save(str(folder))
    return str(folder)


@pytest.mark.parametrize("dimensions", [None, 5])
def test_what_comes_after_the_transformer_stays_as_it_was(long_pipeline: str, dimensions: int | None) -> None:
    expected_ND, x_ND = both(model=long_pipeline, dimensions=dimensions)
    assert x_ND.shape == (len(TEXTS), dimensions or 12)
    assert cosines(x_ND, expected_ND).min() > 0.99


def test_a_prompt_and_the_limit_of_tokens_are_kept(tiny: Path) -> None:
    expected_ND, x_ND = both(model=str(tiny), prompt="brand: ", max_tokens=6)
    assert cosines(x_ND, expected_ND).min() > 0.99
    cut = encoder(model=str(tiny), prompt="brand: ", max_tokens=6).embed(["oat milk rye", "oat milk rye bread", "oat"])
    assert cosines(cut[:1], cut[1:2])[0] > 0.9999 > cosines(cut[:1], cut[2:])[0]


def test_a_model_without_a_transformer_is_refused_with_what_to_do(tiny: Path) -> None:
    from sentence_transformers.models import StaticEmbedding

    words = SentenceTransformer(str(tiny), device="cpu").tokenizer
    static = SentenceTransformer(modules=[StaticEmbedding(words._tokenizer, embedding_dim=8)], device="cpu")
    with pytest.raises(ShelfcodeError, match=r"encoder\.model 'acme': StaticEmbedding cannot be run in int8; set encoder\.backend: torch"):
        run_in_int8(static, EncoderSettings(model="acme"), None, "")


def fail(*_: object) -> Any:
    raise RuntimeError("no rule for aten::strange\nin a long trace")


def test_a_model_that_cannot_be_converted_is_refused(tiny: Path, tiny_model_in_torch: SentenceTransformer, scratch: Path) -> None:
    with pytest.raises(ShelfcodeError, match=r"cannot be converted to int8: no rule for aten::strange; set encoder\.backend: torch$"):
        run_in_int8(tiny_model_in_torch, EncoderSettings(model=str(tiny)), None, "", quantise=fail)
    assert kept(scratch) == []


def test_a_model_that_int8_would_make_another_is_refused(
    tiny: Path, tiny_model_in_torch: SentenceTransformer, built: tuple[Path, np.ndarray], scratch: Path
) -> None:
    import openvino

    settings, made = EncoderSettings(model=str(tiny), cpus_per_actor=1), kept(built[0])[0] / "model/model.xml"
    with pytest.raises(ShelfcodeError, match=r"loses too much in int8: mean cosine 1\.000 .*, at least 1\.1 is wanted; set"):
        run_in_int8(
            tiny_model_in_torch, settings, None, "", quantise=lambda *_: openvino.Core().read_model(made), least_cosine=1.1
        )  # fmt: skip
    assert kept(scratch) == []
