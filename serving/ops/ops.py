"""What operators see of the whole loop, gathered by each API node once a second on a thread of its own."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version

import msgspec

from serving.experiments.outcomes import ExperimentOutcomes
from serving.feed.feed import Feed
from serving.metrics import Metrics
from serving.models import Models
from serving.ops.exposure import catalogue_view, fairness_view
from serving.ops.letters import DeadLetterOffice
from serving.ops.offsets import Broker, Offsets
from serving.ops.probes import Answer, Probe
from serving.ops.processes import Processes
from serving.ops.purge_log import PurgeLog
from serving.ops.ring import Rings
from serving.ops.series import remembered, values
from serving.ops.servers import model_views, server_views
from serving.ops.view import CatalogueView, OpsView, Sample, TopicView
from serving.settings import FeedSettings
from serving.sse import Fanout
from streams.clock import Clock
from streams.events import Heartbeat
from streams.every import every
from streams.follower import Followed

EVERY_S = 1.0
# Milliseconds of work at 100,000 videos: rarely enough to cost nothing.
_CATALOGUE_EVERY_S = 5.0
_BEGINNINGS_EVERY_S = 30.0


class Ops:
    """Everything on the operator's page. `follow` and `tick` are for one thread each; what they made is read by any."""

    def __init__(
        self,
        feed: Feed,
        settings: FeedSettings,
        metrics: Metrics,
        streams_open: Callable[[], int],
        clock: Clock,
        models: Models,
        experiments: ExperimentOutcomes | None = None,
    ) -> None:
        self.letters = DeadLetterOffice(clock)
        self.purges = PurgeLog()
        self.processes = Processes()
        self.rings = Rings()
        self.samples: Fanout[Sample] = Fanout()
        self.cpu_s = 0.0
        self._feed = feed
        self._settings = settings
        self._metrics = metrics
        self._streams_open = streams_open
        self._clock = clock
        self._models = models
        self._first_at: int | None = None
        self._offsets = Offsets()
        self._answers: dict[str, Answer] = {}
        self._catalogue: tuple[float, CatalogueView] | None = None
        self._experiments = experiments
        self._newest: Sample | None = None

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────────

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over heartbeats, dead letters and proofs, as a Follower hands them over."""
        self.letters.follow(batch)
        self.purges.follow(batch)
        for followed in batch:
            if isinstance(followed.event, Heartbeat):
                self.processes.take(followed.event, followed.appended_at)
                # Since its first second this node measures by itself.
                if self._first_at is None or followed.appended_at < self._first_at:
                    self.rings.put(followed.appended_at, remembered(followed.event))

    def offsets(self, broker: Broker) -> Callable[[], object]:
        """Return what asks the broker where its topics end, which also tells whether it answers."""
        beginnings_at = -_BEGINNINGS_EVERY_S
        beginnings: dict[str, dict[int, int]] = {}

        def ask() -> None:
            nonlocal beginnings_at, beginnings
            asked_at = self._clock()
            ends = broker.ends()
            now_s = time.monotonic()
            if now_s > beginnings_at + _BEGINNINGS_EVERY_S:
                beginnings, beginnings_at = broker.beginnings(), now_s
            self._offsets.take(ends, beginnings, now_ms=asked_at)

        return ask

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────

    def newest(self) -> Sample:
        """Return everything as of the last second."""
        return self._newest or self.tick({})

    def tick(self, answers: Mapping[str, Answer]) -> Sample:
        """Gather everything as of now, remember it, and hand it to who listens; `answers` are the servers'."""
        now_ms = self._clock()
        self._first_at = self._first_at or now_ms
        sample = self._gather(now_ms, answers)
        self._newest = sample
        self.rings.put(now_ms, sample.values)
        self.samples.publish(sample)
        return sample

    def _gather(self, now_ms: int, answers: Mapping[str, Answer]) -> Sample:
        supervised = self.processes.supervised(now_ms)
        flows = self.processes.flows(now_ms, self._offsets, self.letters.index.open_by_flow())
        rates, totals = self._offsets.rates(now_ms=now_ms), self._offsets.totals()
        topics = [TopicView(name=name, events_per_s=rates.get(name, 0.0), events=total) for name, total in totals.items()]
        newest = self.processes.newest(now_ms)
        models = [*self._models.states.values(), *(state for beat in newest.values() for state in beat.models)]
        view = OpsView(
            at=now_ms,
            supervised=supervised is not None,
            version=version("headwater"),
            policy_version=self._settings.policy_version,
            flows=flows,
            servers=[*server_views(answers, supervised, newest), *model_views(models, now_ms)],
            topics=topics,
            catalogue=self._of_catalogue(now_ms),
            fairness=fairness_view(self._feed.fairness.now, self._settings.fairness),
            feed=self._metrics.feed.view(slates_lost=self._metrics.slates_lost_so_far(), degraded=self._feed.viewers.degraded),
            dead_letters_open=sum(self.letters.index.open_by_flow().values()),
            events_accepted=self._metrics.accepted_so_far(),
            sse_clients=self._streams_open(),
            experiments=[] if self._experiments is None else self._experiments.views(),
        )
        return Sample(view, values(view, supervised, newest))

    def _of_catalogue(self, now_ms: int) -> CatalogueView:
        now_s = time.monotonic()
        if self._catalogue is None or now_s >= self._catalogue[0] + _CATALOGUE_EVERY_S:
            made = catalogue_view(self._feed.catalogue, self._feed.shelves, self._settings.cold_start, now_ms)
            self._catalogue = now_s, made
        return self._catalogue[1]

    def history(self) -> bytes:
        """Return `History` as JSON: some hundred thousand numbers, encoded a series at a time so that requests come between."""
        at, series = self.rings.since(self._clock())
        return msgspec.json.encode(
            {"at": at, "series": {name: msgspec.Raw(msgspec.json.encode(each)) for name, each in series}}
        )

    @contextmanager
    def running(self, probes: Sequence[Probe], *, every_s: float = EVERY_S) -> Iterator[None]:
        """Gather once a second as long as the block runs."""
        threads = ThreadPoolExecutor(max(1, len(probes)), thread_name_prefix="probe")
        # Asked a moment before the first look, or every server would be down in it.
        for probe in probes:
            probe.look(threads)

        def gather() -> None:
            try:
                self.tick({probe.name: probe.look(threads) for probe in probes})
            finally:
                self.cpu_s = time.thread_time()

        try:
            with every(every_s, gather, name="ops"):
                yield
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
