"""What Ray's Prometheus endpoint says of the ingress: requests, products and latency, by surface and flavor."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator

from fastapi import Request
from ray.serve import metrics

from shelfcode.serving.routing import Target

LATENCY_BOUNDARIES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]


class RequestMetrics:
    """Counts requests. Needs a running event loop."""

    def __init__(self) -> None:
        tags = ("surface", "flavor")
        self.requests = metrics.Counter("shelfcode_requests", description="Requests by surface.", tag_keys=(*tags, "status"))
        self.products = metrics.Counter("shelfcode_products", description="Products encoded.", tag_keys=tags)
        self.latency = metrics.Histogram(
            "shelfcode_latency_ms", description="Time to answer.", boundaries=LATENCY_BOUNDARIES, tag_keys=(*tags, "operation")
        )
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.reporting = asyncio.ensure_future(self._report_counts())

    @contextlib.asynccontextmanager
    async def measured(self, request: Request, operation: str) -> AsyncIterator[list[Target]]:
        """Count a request and its time, by surface and flavor. Yields a list, to be filled with the request's targets."""
        begun, status = time.perf_counter(), "error"
        targets: list[Target] = []
        try:
            yield targets
            status = "ok"
        finally:
            surface, flavor = request.scope["shelfcode.surface"], "+".join(target.flavor for target in targets)
            self.counts[surface, flavor, status] += 1
            self.counts[surface, flavor, "products"] += request.scope.get("shelfcode.products", 0) if status == "ok" else 0
            milliseconds = (time.perf_counter() - begun) * 1000
            self.latency.observe(milliseconds, {"surface": surface, "flavor": flavor, "operation": operation})

    async def _report_counts(self) -> None:
        """Report counts once a second. A report costs as much as a small request does, so not every request makes one."""
        while True:
            await asyncio.sleep(1)
            counted, self.counts = self.counts, Counter()
            for (surface, flavor, what), count in counted.items():
                tags = {"surface": surface, "flavor": flavor}
                if what != "products":
                    self.requests.inc(count, {**tags, "status": what})
                elif count:
                    self.products.inc(count, tags)
