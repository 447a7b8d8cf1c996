"""What the tests share: an environment without networks, one Ray, one S3 server, one endpoint, and a folder of real catalogs.

The environment is set while this file is imported: Ray's workers inherit it, and libraries read it once.

A test is *live* when it starts a Ray, a server, an engine or a training, or asks for a fixture that does: `make check` leaves live
tests out. All tests of one such fixture run in the same process of pytest-xdist, so that it is made once.
"""

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import free_ports, wait_until_it_answers

if TYPE_CHECKING:
    from released import Shop
    from served import Endpoint

    from shelfcode.releases.release import Manifest
    from shelfcode.workspace import Workspace

# One for all processes of a run: the first conftest to be imported makes it, those of pytest-xdist's workers inherit it.
OWN_SCRATCH = "SHELFCODE_TESTS_SCRATCH" not in os.environ
SCRATCH = tempfile.mkdtemp(prefix="shelfcode-tests-") if OWN_SCRATCH else os.environ["SHELFCODE_TESTS_SCRATCH"]
S3_PORT = free_ports(1)[0]
S3_ENDPOINT = f"http://127.0.0.1:{S3_PORT}"

os.environ.update({
    "HF_HUB_OFFLINE": "1",
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token file under the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's workers are what most live tests wait for
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # how soon a training that has ended is seen to have ended
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process for each training, for nodes that a cloud takes back
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",  # two processes of tests share two cores
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "SHELFCODE_SCRATCH": SCRATCH,
    "SHELFCODE_TESTS_SCRATCH": SCRATCH,
    "AWS_ENDPOINT_URL": S3_ENDPOINT,
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # a submitted job runs the `python` that Ray's own PATH finds
    "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])),
})  # fmt: skip


LIVE = {"local_ray", "s3", "endpoint", "postgres"}
"""Fixtures that make a test live."""

LONGEST_FIRST = ("jobs", "ray", "endpoint")
"""Groups of live tests. Jobs have a Ray of their own, so that one process runs jobs while the other uses Ray otherwise."""

SERVING = pytest.StashKey[contextlib.ExitStack]()
"""What ends the endpoint."""

NOT_AT_HAND = "SHELFCODE_DATA"
"""What the reason of the one skip begins with that is no failure in CI: the real catalogs are not in the repository."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark live tests, keep those that share a fixture in one process, and start with the groups that take longest."""
    places: dict[pytest.Item, int] = {}
    for item in items:
        group = _group(item)
        if group:
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.xdist_group(group))
        places[item] = LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST) + (group is None)
    items.sort(key=places.__getitem__)


def _group(item: pytest.Item) -> str | None:
    """Of a live test: those that share a Ray, a server or the endpoint, or a file that starts something alone; None of any other."""
    by_name = item.callspec.params if hasattr(item, "callspec") else {}
    asked = LIVE.intersection((*item.fixturenames, by_name.get("workspace_url"), by_name.get("store_url")))  # type: ignore[attr-defined]
    for alone in ("endpoint", "postgres"):
        if alone in asked:
            return alone
    if asked:
        return "jobs" if item.path.parent.name == "jobs" else "ray"
    return item.path.name if item.get_closest_marker("live") else None


@pytest.hookimpl(tryfirst=True)  # before the fixtures of the test are made
def pytest_runtest_setup() -> None:
    """One thread for torch in each test: two processes share two cores, and the number of threads decides the last digit of a product."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the endpoint after the last test of its group: idle, its cluster takes half a core from all others."""
    grouped = "PYTEST_XDIST_WORKER" in os.environ
    if grouped and nextitem is not None and SERVING in item.config.stash and "endpoint" not in nextitem.fixturenames:  # type: ignore[attr-defined]
        item.config.stash[SERVING].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing may be skipped that CI can have: such a skip is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.startswith(NOT_AT_HAND):
            report.outcome, report.longrepr = "failed", f"skipped in CI, where nothing may be missing: {reason}"
    return report


def pytest_unconfigure() -> None:
    """Remove what all processes of the run shared."""
    if OWN_SCRATCH:
        shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for all tests. Its CPUs are logical: Ray Data waits for ever when actors take them all."""
    import ray
    import ray.data

    ray.init(
        address="local", num_cpus=4, include_dashboard=False, logging_level=logging.WARNING, object_store_memory=512 * 2**20,
        _system_config={"enable_metrics_collection": False},
    )  # fmt: skip
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shelfcode_data() -> Path:
    """The folder of real catalogs that SHELFCODE_DATA names."""
    folder = os.environ.get("SHELFCODE_DATA")
    if not folder:
        pytest.skip("SHELFCODE_DATA names no folder of real catalogs")
    if not Path(folder).is_dir():
        pytest.skip(f"SHELFCODE_DATA={folder} is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A bucket on an S3 server in a process of its own, at the endpoint that the environment names."""
    import boto3

    command = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(S3_PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(f"{S3_ENDPOINT}/moto-api/", server)
        boto3.client("s3").create_bucket(Bucket="shelf")
        yield "s3://shelf"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(params=["local", "s3"])
def workspace_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A workspace that nobody used before, in a folder and in a bucket."""
    if request.param == "local":
        return str(tmp_path / "workspace")
    return f"{request.getfixturevalue('s3')}/{tmp_path.parent.name}-{tmp_path.name}"


@pytest.fixture
def publish_small() -> "Callable[..., Manifest]":
    """Publishes a release of 40 products in two parts whose model and semantic IDs fit its recipe; nothing was trained for it."""
    import numpy as np
    import pyarrow as pa

    from shelfcode.quantization.model_file import new_model, save_model
    from shelfcode.quantization.semantic_ids import semantic_ids_table
    from shelfcode.recipe_file import validate_recipe
    from shelfcode.releases.release import Manifest, publish

    recipe = validate_recipe({"name": "small", "quantizer": {"codebook_sizes": [8, 16], "hidden_sizes": [8], "latent_size": 4}}, "small")

    def publish_one(workspace: "Workspace", make_current: bool = True) -> Manifest:
        draft, codes_NL = "runs/small/draft", np.stack([np.arange(40) % 8, np.arange(40) % 16], axis=1)
        item_ids = pa.chunked_array([[f"item {number}" for number in range(40)]], pa.string())
        save_model(workspace, draft, new_model(recipe, dimensions=6).state_dict())
        for part, rows in enumerate((slice(0, 20), slice(20, 40))):
            table = semantic_ids_table(item_ids[rows], codes_NL[rows])
            workspace.write_table(f"{draft}/semantic_ids/part-{part:06}.parquet", table)
        manifest = Manifest.model_validate({
            "flavor": "small", "version": "", "created": "", "recipe": recipe.model_dump(mode="json"), "parent": None,
            "catalog": {"snapshot": "catalog/1", "source": "shop.parquet", "fingerprint": "f"}, "embeddings": "embeddings/x",
            "rows": {"read": 41, "coded": 40, "rejected": 1}, "metrics": {}, "libraries": {},
        })  # fmt: skip
        return publish(workspace, draft, manifest, make_current)

    return publish_one


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> "Shop":
    """A workspace with two releases of each flavor, v0002 current, and a generator for either of precision.

    Whoever promotes another release puts it back.
    """
    from released import open_shop
    from untrained_retriever import publish_untrained

    folder = tmp_path_factory.mktemp("shop")
    opened = open_shop(str(folder / "workspace"), tiny=folder / "encoder")
    releases = [opened.release(flavor, seed) for flavor in ("precision", "discovery") for seed in (1, 2)]
    for release in releases[:2]:
        publish_untrained(opened.workspace, release, {"7": opened.products["item_id"].to_pylist()[:300:3]})
    return opened


@pytest.fixture(scope="session")
def endpoint(shop: "Shop", request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Endpoint]":
    """The shop's endpoint on this machine, for callers with a key; retailer 7 has every third product."""
    from served import KEYS, SURFACES, serve_shop

    folder = tmp_path_factory.mktemp("served")
    with contextlib.ExitStack() as serving:
        request.config.stash[SERVING] = serving
        running = serving.enter_context(serve_shop(shop, folder, {**SURFACES, "review": {"store": "review.sqlite"}}, KEYS["all"]))
        stocked = {"item_ids": shop.products["item_id"].to_pylist()[::3]}
        told = running.ask("/v1/retailers/7/availability", stocked, KEYS["stock"], "PUT")
        assert told.status == 200, told.text
        yield running
