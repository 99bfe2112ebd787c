"""What a service counts of itself, for Prometheus: at a port of its own, which is not open.

No label holds anything of a request but its method and the route's own template, and nothing counts
by person, meter or pseudonym.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gridsecure.errors import GridSecureError
from gridsecure.version import VERSION
from gridsecure_api.lanes import Lane, Lanes
from gridsecure_api.readiness import LookedAt, Readiness

_SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0)

Counts = Callable[[], Mapping[str, int]]
"""How much a service holds, by name."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered, or whose connection broke.

    Args:
        route: The route's template, or `other`.
        status: 0 where no answer began.
        seconds: From its headers to the end of its answer [s].
    """

    route: str
    method: str
    status: int
    seconds: float


class ServiceMetrics:
    """The metrics of one service.

    Attributes:
        registry: What is asked for them.
    """

    def __init__(self, zone: str, *, readiness: Readiness, counts: Counts | None) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self._requests = Counter(
            "gridsecure_requests", "Requests answered.", ("route", "method", "status"), registry=own
        )
        self._seconds = Histogram(
            "gridsecure_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=own,
        )
        self._at_work = Gauge(
            "gridsecure_lane_at_work", "Requests in work.", ("lane",), registry=own
        )
        self._waiting = Gauge(
            "gridsecure_lane_waiting", "Requests that wait for a turn.", ("lane",), registry=own
        )
        self._held = Gauge(
            "gridsecure_body_bytes", "Bytes of bodies not yet answered.", ("whose",), registry=own
        )
        info = Gauge(
            "gridsecure_build_info", "The release that runs.", ("zone", "version"), registry=own
        )
        info.labels(zone, VERSION).set(1)
        ProcessCollector(registry=self.registry)
        self.registry.register(_Looked(readiness, counts))

    def watch(self, lanes: Lanes) -> None:
        """Show what the lanes of the service have in work."""
        for name, lane in lanes.named.items():
            self._at_work.labels(name).set_function(partial(_at_work, lane))
            self._waiting.labels(name).set_function(partial(_waiting, lane))
        self._held.labels("own").set_function(lambda: lanes.own_bytes.held)
        self._held.labels("strangers").set_function(lambda: lanes.strangers_bytes.held)

    def watch_certificate(self, ends: Callable[[], float]) -> None:
        """Show when the service's certificate ends.

        Args:
            ends: Says it, as seconds since 1970.
        """
        Gauge(
            "gridsecure_certificate_ends_timestamp_seconds",
            "When the certificate that is shown ends.",
            registry=self.registry,
        ).set_function(ends)

    def count(self, answered: Answered) -> None:
        """Count a request."""
        self._requests.labels(answered.route, answered.method, str(answered.status)).inc()
        self._seconds.labels(answered.route).observe(answered.seconds)


def _at_work(lane: Lane) -> float:
    return lane.at_work


def _waiting(lane: Lane) -> float:
    return lane.waiting


class _Looked(Collector):
    """What is looked at when somebody asks, who waits for no database that hangs."""

    def __init__(self, readiness: Readiness, counts: Counts | None) -> None:
        self._readiness = readiness
        self._counts = counts
        self._counted = LookedAt(self._count)
        self._held: Mapping[str, int] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Look, and say what was found."""
        failing = self._readiness.failing()
        ready = GaugeMetricFamily(
            "gridsecure_ready", "Whether what the service needs is there.", labels=["check"]
        )
        for name in self._readiness.names:
            ready.add_metric([name], float(name not in failing))
        yield ready
        held = GaugeMetricFamily("gridsecure_holds", "How much it holds.", labels=["what"])
        if not self._counted.is_late():
            for name, number in self._held.items():
                held.add_metric([name], number)
        yield held

    def _count(self) -> None:
        try:
            self._held = self._counts() if self._counts else {}
        except GridSecureError:  # the database is out of reach, which `gridsecure_ready` says
            self._held = {}


def ticks() -> float:
    """A clock that never goes back [s]."""
    return time.perf_counter()
