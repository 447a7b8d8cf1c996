"""What the tests share: an environment without networks, one Ray, one S3 server, and a folder of real catalogs where there is one.

The environment is set while this file is imported: Ray's workers inherit it, and libraries read it once.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import free_ports, wait_until_it_answers

SCRATCH = tempfile.mkdtemp(prefix="shelfcode-tests-")
S3_PORT = free_ports(1)[0]
S3_ENDPOINT = f"http://127.0.0.1:{S3_PORT}"

os.environ.update({
    "HF_HUB_OFFLINE": "1",
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token file under the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "SHELFCODE_SCRATCH": SCRATCH,
    "AWS_ENDPOINT_URL": S3_ENDPOINT,
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # a submitted job runs the `python` that Ray's own PATH finds
    "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])),
})  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _scratch() -> Iterator[None]:
    yield
    shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for all tests. Its CPUs are logical: Ray Data waits for ever when actors take them all."""
    import ray
    import ray.data

    ray.init(address="local", num_cpus=4, include_dashboard=True, logging_level=logging.WARNING, object_store_memory=512 * 2**20)
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

    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(S3_PORT)]
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
