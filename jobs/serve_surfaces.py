"""Serve a workspace's releases on this machine: the endpoint that surfaces call, and pages to look at.

python jobs/serve_surfaces.py --workspace WS [--surfaces serve_apps/surfaces.yaml] [--host 127.0.0.1] [--port 8000]
    [--review-store review.sqlite]
"""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from shelfcode.audit.decisions.desk import open_desk
from shelfcode.errors import ShelfcodeError
from shelfcode.job.cluster import cluster_nodes, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import WorkspaceFlag
from shelfcode.job.screen import say, say_result, stage
from shelfcode.serving.api.access import check_listening
from shelfcode.serving.api.examples import example_requests
from shelfcode.serving.resources import deployment_resources, shortage, total_resources
from shelfcode.serving.review.store_address import store_url, with_review_store
from shelfcode.serving.surface_settings import load_surfaces

SURFACES = Path(__file__).parents[1] / "serve_apps" / "surfaces.yaml"

SurfacesFlag = Annotated[str, typer.Option("--surfaces", help="Which surface gets which flavor: a YAML file, see docs/serving.md.")]
HostFlag = Annotated[str, typer.Option("--host", help="Where to listen; another than loopback needs keys.")]
PortFlag = Annotated[int, typer.Option("--port", help="Where to listen.")]
ReviewStoreFlag = Annotated[
    str | None,
    typer.Option(
        "--review-store", help="Where reviewers' decisions are kept, instead of review.store: an SQLite file or PostgreSQL's URL."
    ),
]


def main(
    workspace: WorkspaceFlag,
    surfaces: SurfacesFlag = str(SURFACES),
    host: HostFlag = "127.0.0.1",
    port: PortFlag = 8000,
    review_store: ReviewStoreFlag = None,
) -> dict[str, Any]:
    """Serve until Ctrl-C; on a cluster, `serve deploy serve_apps/config.yaml` does the same."""
    given = store_url(review_store, Path.cwd()) if review_store else None
    settings = with_review_store(load_surfaces(surfaces), given, Path(surfaces).parent)
    check_listening(settings, host)
    if settings.review.store:
        open_desk(settings.review.store).close()  # what is wrong with it is told here, and not first to a reviewer
    if sys.platform == "linux":  # HAProxy, which Ray Serve brings along, answers several times as fast as its proxy in Python
        os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
        os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
        os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "2")  # of 30, which another load balancer may need
        os.environ.setdefault("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", "60")  # of an hour, for which a silent client would keep its connection
    os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "shelfcode.serving.api.request_ids.middlewares")
    sys.path.insert(0, str(SURFACES.parents[1]))  # serve_apps lies beside jobs; Ray hands this path on to its workers
    from ray import serve  # reads the environment when it is imported

    from serve_apps.surfaces import Arguments, app

    start_ray(cpus=total_resources(deployment_resources(settings)).get("CPU", 0) + 1)  # one over for what Serve itself does
    nodes = cluster_nodes()
    held = {"CPU": sum(node.number * node.cpus for node in nodes or ()), "GPU": sum(node.number * node.gpus for node in nodes or ())}
    if nodes is not None and (lacking := shortage(settings, held)):
        raise ShelfcodeError(lacking)
    with stage("starting the deployments"):
        serve.start(http_options={"host": host, "port": port})
        serve.run(app(Arguments(workspace=workspace, surfaces=surfaces, review_store=given)), name="surfaces", route_prefix="/")
    url = f"http://{host}:{port}"
    examples = example_requests(workspace, settings, url)
    say_result("\n".join(examples))
    if not examples:
        say(f"no release can be served yet: {url}/v1/ready says what is missing")
    if settings.review.store:
        say(f"{url}/review to review what audits found")
    say(f"{url}/explore to look around, {url}/docs for all there is; Ctrl-C ends it")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended either way, HAProxy must not stay behind on the port
    try:
        signal.pause()
    except KeyboardInterrupt:
        serve.shutdown()
    return {"served": url}


if __name__ == "__main__":
    run_job(main)
