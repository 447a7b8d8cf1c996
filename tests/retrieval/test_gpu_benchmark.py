"""tests/benchmarks/gpu.py runs where nothing but torch, numpy, pyarrow and what these import is installed."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
INSTALLED = ("torch", "numpy", "pyarrow")
BESIDE = ("torchgen", "functorch", "nvidia", "triton", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe")
"""What torch imports."""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What it prints in a Python that has these packages alone."""
    folder = tmp_path_factory.mktemp("bare")
    for name in (*INSTALLED, *BESIDE):
        spec = find_spec(name)
        places = [*(spec.submodule_search_locations or [spec.origin])] if spec else []
        for place in [Path(place) for place in places if place]:
            for path in (place, place.with_name(f"{place.name}.libs")):
                if path.exists() and not (folder / path.name).exists():
                    (folder / path.name).symlink_to(path)
    command = [sys.executable, "-S", str(SCRIPT), "--small"]  # -S: without the packages beside this Python
    environment = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def report(lines: list[str]) -> dict[str, Any]:
    return json.loads(lines[-1])


def test_it_needs_neither_ray_nor_vllm_nor_a_library_that_it_would_have_to_call(report: dict[str, Any]) -> None:
    assert "pydantic" in report["stood_in_for"]  # else the packages of this Python were found after all
    called = {*INSTALLED, "ray", "vllm", "transformers", "sentence_transformers", "sklearn", "scipy", "faiss", "shelfcode"}
    assert not called & set(report["stood_in_for"])


def test_every_figure_is_there(report: dict[str, Any], lines: list[str]) -> None:
    assert report["small"]
    assert report["complete"]
    assert report["failures"] == []
    assert set(report["matrix_tflops"]) == {"float32", "bfloat16"}
    for rows in report["quantizer"].values():
        assert [row["precision"] for row in rows] == ["float32", "bfloat16"]
        assert all(row["rows_per_s"] > 0 for row in rows)
    float32, bfloat16 = report["quantizer"]["encoding"]
    assert float32["same_ids"] == 1 > bfloat16["same_ids"] > 0.5
    for row in report["decoding"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["requests_per_s"] > 0
        assert row["constraint_cost"] == pytest.approx(row["p50_ms"] / row["free_p50_ms"] - 1, abs=0.02)
    for row in report["training"]:
        assert row["tokens_per_s"] > 0
        assert 0 < row["share_of_matrix_rate"] < 1
        assert row["loop_tokens_per_s"] > 0
    assert len(lines) > 8  # a line for each figure, before the last


def test_what_is_decoded_is_of_the_retailer_and_complete_for_each_width_and_batch(report: dict[str, Any]) -> None:
    assert {(row["beams"], row["batch"]) for row in report["decoding"]} == {(3, 1), (3, 2), (8, 1), (8, 2)}
    assert [(row["illegal"], row["twice"], row["missing"]) for row in report["decoding"]] == [(0, 0, 0)] * len(report["decoding"])
