"""What Prometheus is told: requests and pages are counted here, the rest is read when it asks. docs/metrics.md has them all."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.registry import Collector

from serving.feed.page import Page
from serving.ops.feed_window import FeedWindow

# Finer around the promise, 25 ms, than anywhere else.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
_FEED = "/v1/feed"

# A second series for each, of when it began: as many again, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one API node, in a registry of their own; `feed` has the last minute of its pages."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.feed = FeedWindow()
        self.requests = Counter("headwater_requests", "requests answered", ["route", "method", "status"], registry=registry)
        self.latency = Histogram("headwater_request_seconds", "time to answer", ["route"], buckets=_SECONDS, registry=registry)
        self.accepted = Counter("headwater_events_accepted", "events that the broker has", ["type"], registry=registry)
        self.slates = Counter("headwater_slates", "pages served", registry=registry)
        self.slates_lost = Counter("headwater_slates_lost", "slate events that found the queue full", registry=registry)
        self.model_loads = Counter(
            "headwater_model_loads", "releases of learned models that came", ["model", "outcome"], registry=registry
        )
        self._stages = Histogram(
            "headwater_feed_stage_seconds", "time of a stage", ["kind", "stage"], buckets=_STAGE_SECONDS, registry=registry
        )
        # Looked up by name, each of a page's thirty stages would cost it two microseconds.
        self._stage: dict[tuple[str, str], Histogram] = {}

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when Prometheus asks."""
        Gauge(f"headwater_{name}", description, registry=self._registry).set_function(value)

    def add(self, collector: Collector) -> None:
        """Add metrics that are made when Prometheus asks."""
        self._registry.register(collector)

    def answered(self, route: str, method: str, status: int, took_s: float) -> None:
        """Count an answer."""
        self.requests.labels(route, method, str(status)).inc()
        self.latency.labels(route).observe(took_s)
        if route == _FEED:
            self.feed.answered(took_s * 1000, failed=status >= 500)

    def page(self, page: Page) -> None:
        """Count a page and the time of each of its stages."""
        self.slates.inc()
        self.feed.page(page.trace)
        for stage in page.trace:
            name = stage.kind, stage.name
            histogram = self._stage.get(name)
            if histogram is None:
                histogram = self._stage[name] = self._stages.labels(*name)
            histogram.observe(stage.ms / 1000)

    def accepted_so_far(self) -> int:
        """Return how many events were accepted since this node's start."""
        return int(_total(self.accepted))

    def slates_lost_so_far(self) -> int:
        """Return how many slate events were lost since this node's start."""
        return int(_total(self.slates_lost))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


def _total(counter: Counter) -> float:
    return sum(sample.value for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total"))
