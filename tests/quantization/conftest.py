"""Products around planted centres, a small recipe that fits them in seconds, and two processes that share the work."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.flavor import Recipe
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import Targets

TWO_WORKERS = Path(__file__).with_name("two_workers.py")


@dataclass(frozen=True)
class Planted:
    """Embeddings of unit norm around a centre a leaf, leaves around aisles, aisles around departments; one in twenty without a path."""

    x_NE: NDArray[np.float32]
    leaf_N: NDArray[np.int64]
    taxonomy: Taxonomy


def plant(products: int = 1600, dimensions: int = 32, noise: float = 0.7, seed: int = 0) -> Planted:
    rng = np.random.default_rng(seed)
    leaf_N = rng.integers(0, 36, products)
    places_N3 = np.stack([leaf_N // 9, leaf_N // 3, leaf_N], axis=1)
    x_NE = noise * rng.standard_normal((products, dimensions))
    for depth, (count, spread) in enumerate([(4, 1.0), (12, 0.7), (36, 0.5)]):
        x_NE += spread * rng.standard_normal((count, dimensions))[places_N3[:, depth]]
    x_NE /= np.linalg.norm(x_NE, axis=1, keepdims=True)
    paths = [[f"department {a}", f"aisle {b}", f"shelf {c}"] if rng.random() > 0.05 else None for a, b, c in places_N3.tolist()]
    return Planted(x_NE.astype(np.float32), leaf_N, taxonomy_from_paths(paths))


def small_recipe(**training: Any) -> Recipe:
    """A recipe whose fit takes a second or two; keywords are training settings."""
    return Recipe.model_validate(
        {
            "name": "small",
            "quantizer": {"codebook_sizes": [8, 16, 32], "hidden_sizes": [64], "latent_size": 16, "kmeans_iterations": 10},
            "training": {
                "steps": 60,
                "warmup_steps": 10,
                "batch_size": 128,
                "seed": 3,
                "cpus_per_worker": 1,
                "anchor_every": 4,
                **training,
            },
        }
    )


@pytest.fixture(scope="session")
def planted() -> Planted:
    return plant()


@pytest.fixture
def recipe() -> Recipe:
    return small_recipe()


@pytest.fixture(scope="session")
def targets(planted: Planted) -> Targets:
    """Of the planted products under the small recipe."""
    return find_targets(small_recipe(), planted.x_NE, planted.taxonomy, torch.device("cpu"))


@pytest.fixture
def in_two_workers(tmp_path: Path) -> Callable[[Callable[[int, Path], Any]], tuple[Any, Any]]:
    """Calls a function `(rank, folder)` of a test file in two processes joined by gloo; what each returned."""

    def call(function: Callable[[int, Path], Any]) -> tuple[Any, Any]:
        command = [sys.executable, str(TWO_WORKERS), function.__code__.co_filename, function.__name__]
        workers = [
            subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True, cwd=TWO_WORKERS.parent)
            for rank in (0, 1)
        ]
        errors = [worker.communicate(timeout=300)[1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)
        return tuple(torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))

    return call
