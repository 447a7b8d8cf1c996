"""The endpoint as its own job starts it."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from released import Shop
from running import Done
from served import Endpoint


def test_the_lines_that_it_prints_work_as_they_stand(endpoint: Endpoint) -> None:
    assert len(endpoint.printed) == 3
    answers = [subprocess.run(shlex.split(line), capture_output=True, text=True, check=True).stdout for line in endpoint.printed]
    encoded, similar, prefixes = (json.loads(answer) for answer in answers)
    assert [len(result["codes"]) for result in encoded["results"]] == [4, 4]
    assert similar["results"]
    assert prefixes["children"]["prefixes"]


def test_without_keys_it_listens_on_this_machine_alone(run_job: Callable[..., Done], shop: Shop) -> None:
    done = run_job("serve_surfaces", "--workspace", shop.workspace.url, "--host", "0.0.0.0")
    assert done.code == 2
    assert "auth is none" in done.told
    assert "0.0.0.0" in done.told


def test_a_wrong_field_is_named_before_anything_starts(run_job: Callable[..., Done], shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "surfaces.yaml").write_text("surfaces: {search: precision}\nauth: none\npoll_second: 3\n")
    done = run_job("serve_surfaces", "--workspace", shop.workspace.url, "--surfaces", str(tmp_path / "surfaces.yaml"))
    assert done.code == 2
    assert "poll_second" in done.told
    assert "poll_seconds" in done.told
