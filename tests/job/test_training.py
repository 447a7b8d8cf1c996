"""What is wrong with a training is said before anything is started for it."""

from pathlib import Path

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.job import training
from shelfcode.job.training import train_flavor

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"


def not_yet() -> None:
    raise AssertionError("a Ray was started")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (("encoder.model={cloned}",), "model.safetensors is a Git LFS pointer and not the file itself: run git lfs pull"),
        (("encoder.model=package:no-such-model",), "the package no-such-model is not installed"),
        (("encoder.model=/no/such/folder",), "/no/such/folder is not there"),
        (("hardware=cpu", "encoder.device=cuda"), "would take a GPU that nobody reserved"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_told_before_a_ray_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], problem: str
) -> None:
    monkeypatch.setattr(training, "start_ray", not_yet)
    (tmp_path / "cloned").mkdir()
    (tmp_path / "cloned/model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n")
    overrides = [setting.format(cloned=tmp_path / "cloned") for setting in settings]
    with pytest.raises(ShelfcodeError) as raised:
        train_flavor("precision", FLAVORS, str(tmp_path / "catalog.csv"), str(tmp_path / "workspace"), overrides)
    assert problem in str(raised.value)
    assert not (tmp_path / "workspace").exists()
