"""A model in int8 keeps its vectors, is built once a node, and is never taken for another."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shelfcode.embedding import int8
from shelfcode.embedding.encoder import INT8_VECTORS, Encoder
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.errors import ShelfcodeError
from shelfcode.sample.catalog import sample_chunk

TEXTS = ["oat milk", "rye bread apple", "soap brand 7", "milk " * 40, "1 2 3 4", "apple juice.", ""]


def both(**settings: object) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of a few texts in float32 and in int8."""
    return encoder("torch", **settings).embed(TEXTS), encoder("int8", **settings).embed(TEXTS)


def encoder(backend: str = "int8", **settings: object) -> Encoder:
    return Encoder(EncoderSettings.model_validate({"backend": backend, "cpus_per_actor": 1, **settings}))


def cosines(x_ND: np.ndarray, y_ND: np.ndarray) -> np.ndarray:
    return (x_ND * y_ND).sum(axis=1)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node whose disk is empty."""
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def kept(scratch: Path) -> list[Path]:
    return sorted(path for path in scratch.glob("int8-*") if path.is_dir())


@pytest.fixture(scope="module")
def shop() -> list[str]:
    """Texts of the sample catalog that int8 was not calibrated with."""
    return raw_texts(sample_chunk(0, 200, seed=3).products, TextViewSettings())


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return encoder("int8", cpus_per_actor=2)


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


def test_a_text_has_its_vector_in_whatever_company(minilm: Encoder, shop: list[str]) -> None:
    """But for numbers that lie between two of int8: which one they are rounded to may change with the shape of the batch."""
    alone_ND = np.concatenate([minilm.embed([text]) for text in shop[:20]])
    found_N = cosines(minilm.embed([*shop, "long " * 5000])[:20], alone_ND)
    assert found_N.mean() > 0.9999
    assert found_N.min() > 0.999


def test_it_is_what_a_cpu_embeds_with_unless_told_otherwise(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine with a GPU that the recipe does not ask for: another actor of the cluster may have none."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    default = encoder("auto", model=str(tiny))
    assert isinstance(default.model[0].model, int8.Int8Transformer)
    assert default.model.device.type == "cpu"
    monkeypatch.undo()
    np.testing.assert_array_equal(default.embed(TEXTS), encoder("int8", model=str(tiny)).embed(TEXTS))
    assert not isinstance(encoder("torch", model=str(tiny)).model[0].model, int8.Int8Transformer)


def test_a_second_actor_of_a_node_builds_nothing(tiny: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_ND = encoder(model=str(tiny)).embed(TEXTS)
    monkeypatch.setattr(int8, "_build", lambda *_: pytest.fail("built again"))
    np.testing.assert_array_equal(encoder(model=str(tiny)).embed(TEXTS), first_ND)
    assert len(kept(scratch)) == 1


def test_every_node_builds_the_same(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = []
    for name in ("one", "two"):
        monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / name))
        nodes.append(encoder(model=str(tiny)).embed(TEXTS))
    np.testing.assert_array_equal(*nodes)
    assert kept(tmp_path / "one")[0].name == kept(tmp_path / "two")[0].name


ACTOR = """
import sys, os, numpy
from pathlib import Path
from shelfcode.embedding import int8
from shelfcode.embedding.encoder import Encoder
from shelfcode.embedding.settings import EncoderSettings
build = int8._build
int8._build = lambda *arguments: (Path(sys.argv[2], f"built-{os.getpid()}").touch(), build(*arguments))[1]
encoder = Encoder(EncoderSettings(model=sys.argv[1], backend="int8", cpus_per_actor=1))
numpy.save(Path(sys.argv[2], f"{os.getpid()}.npy"), encoder.embed(["oat milk", "rye bread"]))
try:
    import openvino_telemetry
except ImportError:
    print("told nobody", file=sys.stderr)
print("result")
"""


def test_of_two_actors_that_start_together_one_builds_and_the_other_waits(tiny: Path, scratch: Path, tmp_path: Path) -> None:
    """Neither tells anybody else, on its standard output or by the network."""
    actors = [
        subprocess.Popen([sys.executable, "-c", ACTOR, str(tiny), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for actor in actors:
        stdout, stderr = actor.communicate(timeout=300)
        assert (actor.returncode, stdout) == (0, "result\n"), stderr
        assert "told nobody" in stderr
    assert len(list(tmp_path.glob("built-*"))) == 1
    assert len(kept(scratch)) == 1
    np.testing.assert_array_equal(*(np.load(path) for path in tmp_path.glob("*.npy")))


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


@pytest.mark.parametrize("harm", [lose_the_weights, cut_the_weights, lose_the_digest, leave_half_a_draft])
def test_what_a_killed_actor_or_a_broken_disk_left_is_built_again(tiny: Path, scratch: Path, harm: Callable[[Path], None]) -> None:
    first_ND = encoder(model=str(tiny)).embed(TEXTS)
    (folder,) = kept(scratch)
    harm(folder)
    np.testing.assert_array_equal(encoder(model=str(tiny)).embed(TEXTS), first_ND)
    assert kept(scratch) == [folder]
    assert int8._is_whole(folder)


def test_what_changes_the_model_or_its_inputs_is_built_apart(tiny: Path, tiny_model: Callable[..., str], scratch: Path) -> None:
    for settings in ({}, {"max_tokens": 8}, {"prompt": "brand: "}, {"dimensions": 8}, {"tokens_per_batch": 64}):
        encoder(model=str(tiny), **settings)
    assert len(kept(scratch)) == 3, "dimensions and batches do not matter to the transformer"
    encoder(model=tiny_model("deeper", layers=2))
    assert len(kept(scratch)) == 4


@pytest.fixture(scope="module")
def long_pipeline(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that goes on after its pooling."""
    import torch
    from sentence_transformers import SentenceTransformer, models

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
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding

    words = SentenceTransformer(str(tiny), device="cpu").tokenizer
    static = SentenceTransformer(modules=[StaticEmbedding(words._tokenizer, embedding_dim=8)], device="cpu")
    with pytest.raises(ShelfcodeError, match=r"encoder\.model 'acme': StaticEmbedding cannot be run in int8; set encoder\.backend: torch"):
        int8.run_in_int8(static, EncoderSettings(model="acme"), "acme", "")


def test_a_library_that_a_node_lacks_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise int8.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(int8.metadata, "version", version)
    with pytest.raises(ShelfcodeError, match=r"encoder\.backend int8: the package openvino is not installed; install it, or set encoder\."):
        int8._key(tiny, 128, "")


@pytest.mark.parametrize("backend", ["auto", "int8"])
def test_a_model_that_cannot_be_converted_is_refused_and_never_run_otherwise(
    backend: str, tiny: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no rule for aten::strange\nin a long trace")

    monkeypatch.setattr(int8, "_quantise", fail)
    told = r"cannot be converted to int8: no rule for aten::strange; set encoder\.backend: torch$"
    with pytest.raises(ShelfcodeError, match=told):
        encoder(backend, model=str(tiny))
    assert kept(scratch) == []


def test_a_model_that_int8_would_make_another_is_refused(tiny: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "LEAST_COSINE", 1.1)
    with pytest.raises(ShelfcodeError, match=r"loses too much in int8: mean cosine 1\.000 .*, at least 1\.1 is wanted; set"):
        encoder(model=str(tiny))
    assert kept(scratch) == []


def test_the_texts_that_vectors_depend_on_have_not_changed_unnoticed() -> None:
    """Whoever changes the sample catalog changes every int8 vector: then raise INT8_VECTORS, so that none is mixed with earlier ones."""
    digest = hashlib.blake2b(repr(int8.calibration_texts()).encode(), digest_size=8).hexdigest()
    assert {INT8_VECTORS: digest} == {1: "a78c5c820d6d7f5d"}
