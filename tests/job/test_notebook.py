"""The calls for notebooks, as docs/getting-started.md shows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import shelfcode
from shelfcode.errors import ShelfcodeError
from shelfcode.job import notebook
from shelfcode.sample.catalog import write_sample

ROOT = Path(__file__).parents[2]
SMALL = """
name: precision
quantizer: {codebook_sizes: [8, 16], hidden_sizes: [16], latent_size: 8, kmeans_iterations: 2, neighbourhood: {rounds: [1]}}
training: {steps: 10, batch_size: 64, cpus_per_worker: 1}
encoder: {max_tokens: 16, cpus_per_actor: 1, actors_max: 1, backend: torch}
"""


def test_importing_shelfcode_imports_no_ray_and_no_torch() -> None:
    code = "import sys; from shelfcode import load_release, encode; print([n for n in ('ray', 'torch', 'pyarrow') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "platform", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        shelfcode.nothing  # noqa: B018


def test_the_example_of_the_guide_runs(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(from shelfcode import .*?)```", (ROOT / "docs/getting-started.md").read_text(), re.DOTALL)
    (tmp_path / "precision.yaml").write_text(SMALL)
    monkeypatch.setattr(notebook, "FLAVORS", tmp_path)
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "demo/sample", 300, seed=3)
    known: dict[str, object] = {}
    exec(example, known)
    release = known["release"]
    assert isinstance(release, shelfcode.Release)
    assert (release.name, release.rows) == ("precision@v0001", {"read": 300, "coded": 300, "rejected": 0})
    assert release.semantic_ids.column_names == ["item_id", "semantic_id"]
    assert "precision@v0001" in capsys.readouterr().out
    current = shelfcode.load_release("demo/workspace", "precision@current")
    assert shelfcode.encode(["oat milk", {"title": "oat milk"}], current)[0] == shelfcode.encode(["oat milk"], release)[0]
    with pytest.raises(ShelfcodeError, match="product 1: nothing to encode"):
        shelfcode.encode(["oat milk", ""], current)
