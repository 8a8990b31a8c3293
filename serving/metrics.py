"""What Prometheus is told: requests and their latency, the feed's stages, accepted events, and the size of memory."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.feed.page import Page

# Finer around the promise, 25 ms, than anywhere else.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)


class Metrics:
    """The metrics of one API node, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("headwater_requests", "requests answered", ["route", "method", "status"], registry=registry)
        self.latency = Histogram("headwater_request_seconds", "time to answer", ["route"], buckets=_SECONDS, registry=registry)
        self.accepted = Counter("headwater_events_accepted", "events that the broker has", ["type"], registry=registry)
        self.slates = Counter("headwater_slates", "pages served", registry=registry)
        self.slates_lost = Counter("headwater_slates_lost", "slate events that found the queue full", registry=registry)
        self._stages = Histogram(
            "headwater_feed_stage_seconds", "time of a stage", ["kind", "stage"], buckets=_STAGE_SECONDS, registry=registry
        )

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when Prometheus asks."""
        Gauge(f"headwater_{name}", description, registry=self._registry).set_function(value)

    def page(self, page: Page) -> None:
        """Count a page and the time of each of its stages."""
        self.slates.inc()
        for stage in page.trace:
            self._stages.labels(stage.kind, stage.name).observe(stage.ms / 1000)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
