"""What the job refuses before it serves; as it serves, it is what tests/serve_apps asks."""

from collections.abc import Callable
from pathlib import Path

from running import Done


def test_without_keys_it_listens_on_this_machine_alone(run_job: Callable[..., Done], tmp_path: Path) -> None:
    done = run_job("serve_surfaces", "--workspace", str(tmp_path), "--host", "0.0.0.0")
    assert done.code == 2
    assert "auth is none" in done.told
    assert "0.0.0.0" in done.told


def test_a_wrong_field_is_named_before_anything_starts(run_job: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "surfaces.yaml").write_text("surfaces: {search: precision}\nauth: none\npoll_second: 3\n")
    done = run_job("serve_surfaces", "--workspace", str(tmp_path), "--surfaces", str(tmp_path / "surfaces.yaml"))
    assert done.code == 2
    assert "poll_second" in done.told
    assert "poll_seconds" in done.told
