"""A workspace keeps one model in int8 of an encoder, whoever built it, and every node embeds with that one."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shelfcode.embedding.encoder import INT8_VECTORS, encoder_name
from shelfcode.embedding.int8_models import (
    built_folder,
    calibration_texts,
    check_kept,
    digest_of,
    fetch_model,
    int8_source,
    is_kept,
    keep_model,
    kept_model,
    place,
)
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The disk of a node, empty."""
    return another_node(tmp_path, monkeypatch, "node")


def another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / name))
    return tmp_path / name


def built(source: str, weights: bytes) -> Path:
    """What a node leaves that has quantised a model."""
    folder = built_folder(source)
    model = folder.with_suffix(".draft")
    model.mkdir(parents=True)
    (model / "model.xml").write_text("<net/>")
    (model / "model.bin").write_bytes(weights)
    place(model, folder)
    return folder


def test_two_nodes_whose_cpus_build_different_models_embed_with_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    first = keep_model(workspace, "source", built("source", b"of an old CPU"), "acme")
    another_node(tmp_path, monkeypatch, "other")
    own = built("source", b"of a new CPU")
    assert digest_of(own) != first
    assert keep_model(workspace, "source", own, "acme") == kept_model(workspace, "source") == first
    assert (fetch_model(workspace, first) / "model.bin").read_bytes() == b"of an old CPU"


def test_embeddings_of_two_models_in_int8_are_never_kept_in_one_folder() -> None:
    names = {encoder_name(EncoderSettings(int8_model=digest), TextViewSettings()) for digest in ("00aa", "00bb", None)}
    assert len(names) == 3
    torch = {encoder_name(EncoderSettings(backend="torch", int8_model=digest), TextViewSettings()) for digest in ("00aa", None)}
    assert len(torch) == 1


def test_a_model_is_copied_once_to_a_nodes_disk_and_never_half(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    digest = keep_model(workspace, "source", built("source", b"weights"), "acme")
    folder = fetch_model(workspace, digest)
    (folder / "model.bin").write_bytes(b"wei")  # a broken disk
    assert (fetch_model(workspace, digest) / "model.bin").read_bytes() == b"weights"
    workspace.remove("models")
    assert (fetch_model(workspace, digest) / "model.bin").read_bytes() == b"weights"


def test_a_model_without_its_manifest_is_none(tmp_path: Path) -> None:
    """A run that was killed while it copied: the next one copies again, and the pointer still counts."""
    workspace = Workspace(str(tmp_path / "ws"))
    folder = built("source", b"weights")
    digest = keep_model(workspace, "source", folder, "acme")
    workspace.remove(f"models/int8/{digest}/manifest.json")
    assert kept_model(workspace, "source") is None
    assert not is_kept(workspace, digest)
    assert keep_model(workspace, "source", folder, "acme") == kept_model(workspace, "source") == digest


def test_a_pointer_to_a_model_that_was_deleted_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    first = keep_model(workspace, "source", built("source", b"first"), "acme")
    workspace.remove(f"models/int8/{first}")
    another_node(tmp_path, monkeypatch, "other")
    second = keep_model(workspace, "source", built("source", b"second"), "acme")
    assert second == kept_model(workspace, "source") != first
    for half in (b"", b"{", b"[]"):
        workspace.write_bytes("models/int8/source.json", half)
        assert kept_model(workspace, "source") is None
        assert keep_model(workspace, "source", built_folder("source"), "acme") == kept_model(workspace, "source") == second


def test_a_release_whose_model_is_gone_is_refused_with_what_to_do(tmp_path: Path) -> None:
    workspace, settings = Workspace(str(tmp_path / "ws")), EncoderSettings(int8_model="00aa")
    missing = r"encoder\.int8_model 00aa: .*models/int8/00aa is not there\. Put the folder back from a copy, or train a new release"
    with pytest.raises(ShelfcodeError, match=missing):
        check_kept(workspace, settings)
    with pytest.raises(ShelfcodeError, match=missing):
        fetch_model(workspace, "00aa")
    with pytest.raises(ShelfcodeError, match="of which workspace"):
        fetch_model(None, "00aa")
    check_kept(workspace, EncoderSettings(backend="torch", int8_model="00aa"))


def test_files_that_are_not_what_their_name_says_are_refused(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    digest = keep_model(workspace, "source", built("source", b"weights"), "acme")
    workspace.write_bytes(f"models/int8/{digest}/model.bin", b"other weights")
    with pytest.raises(ShelfcodeError, match="is damaged: its files are not what its name says"):
        fetch_model(workspace, digest)


def test_what_changes_the_model_or_its_inputs_is_kept_apart(tiny: Path, tiny_model: Callable[..., str], tmp_path: Path) -> None:
    def source(model: str = str(tiny), by_name: str = "", **settings: object) -> str:
        return int8_source(EncoderSettings.model_validate({"model": model, **settings}), by_name, None)

    copied = shutil.copytree(tiny, tmp_path / "copied")
    assert source() == source(str(copied)) == source(tokens_per_batch=7, dimensions=8, cpus_per_actor=1)
    assert (
        len({source(), source(max_tokens=8), source(prompt="p: "), source(by_name="passage: "), source(tiny_model("deep", layers=2))}) == 5
    )
    assert source("acme/model") != source("acme/model", revision="v2")


def test_versions_of_a_workspaces_encoder_are_kept_apart(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    for number, step in ((1, 10), (2, 20)):
        workspace.write_json(f"encoders/shop/v000{number}/manifest.json", {"training": {"kept_step": step}})
    sources = {int8_source(EncoderSettings(model=f"workspace:encoders/shop@v000{number}"), "", workspace) for number in (1, 2)}
    assert len(sources) == 2


def test_a_library_that_a_node_lacks_is_named() -> None:
    with pytest.raises(ShelfcodeError, match=r"encoder\.backend int8: the package no-such is not installed; install it, or set encoder\."):
        built_folder("source", ("openvino", "no-such"))


def test_the_texts_that_vectors_depend_on_have_not_changed_unnoticed() -> None:
    """Whoever changes them changes every int8 vector: then raise INT8_VECTORS, so that none is mixed with earlier ones."""
    taken_from, checked_with = calibration_texts()
    assert (len(taken_from), len(checked_with)) == (256, 64)
    digest = hashlib.blake2b(repr((taken_from, checked_with)).encode(), digest_size=8).hexdigest()
    assert {INT8_VECTORS: digest} == {1: "a78c5c820d6d7f5d"}
