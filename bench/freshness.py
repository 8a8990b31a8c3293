"""A tap changes the next page: from an event's acceptance by the API until its viewer's features, read through Feast, count it.

A load in a process of its own posts batches of events, as apps do: each batch is what one or a few viewers did with their last
videos. `--at-once 1` is harder, as from an edge collector: each event is another viewer's. One event of every fifth batch is
followed: its viewer is read again and again from the API's 202 on, until the count of events is what it must be. At the end
every viewer's count is compared with what was sent.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bench import report, world
from bench.load import Answer, Load, Request
from bench.stack import Where, at_rest, publish, started

if TYPE_CHECKING:
    from feature_repo.reader import FeatureReader
    from streams.events import Interaction

VIDEOS = 2_000
# The pause between reads of those waited for: half of it adds to what is measured; reading more often loads the machine.
POLL_S = 0.001
# One batch in so many is followed: 20 a second at the promised rate, whose reads take a few percent of a core.
FOLLOWED_EVERY = 5
# The first seconds fill caches and connections; their events are sent and counted, not timed.
WARM_UP_S = 3.0
# What has not arrived this long after the last event is lost.
DRAIN_S = 30.0


def made(seed: int, viewers: int, events: int, size: int, rate: int, at_once: int) -> "list[list[Interaction]]":
    """Return the load's batches, the same in every process that asks."""
    sent = list(world.make(VIDEOS, seed).interactions(viewers, events, per_s=rate, at_once=at_once))
    return [sent[start : start + size] for start in range(0, events, size)]


def requests(seed: int, viewers: int, events: int, size: int, rate: int, at_once: int) -> Iterable[Request]:
    """Yield the load's requests."""
    from streams.codec import encode

    for batch in made(seed, viewers, events, size, rate, at_once):
        yield Request("POST", "/v1/interactions", b"[%s]" % b",".join(map(encode, batch)))


class Watch:
    """Follows events, from a thread of its own, until the features count them.

    `seen_ms` has, for each, the time after the API's 202 and after its request began; `never` how many did not come.
    """

    def __init__(self, reader: "FeatureReader") -> None:
        self.seen_ms: list[tuple[float, float]] = []
        self.never = 0
        self._reader = reader
        self._waiting: list[Followed] = []
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def follow(self, followed: "Followed") -> None:
        """Wait for an event from now on."""
        with self._changed:
            self._waiting.append(followed)
            self._changed.notify()

    def close(self) -> None:
        """Return once every followed event was seen, or given up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                waiting = list(self._waiting)
            if not waiting:
                return
            settled = [followed for followed in waiting if self._settle(followed)]
            with self._changed:
                self._waiting = [followed for followed in self._waiting if followed not in settled]
            time.sleep(POLL_S)

    def _settle(self, followed: "Followed") -> bool:
        activity = self._reader.viewer(followed.user_id).activity
        now = time.monotonic()
        if activity is not None and activity.events >= followed.count:
            self.seen_ms.append(((now - followed.answer.ended) * 1000, (now - followed.answer.began) * 1000))
            return True
        given_up = now > followed.answer.ended + DRAIN_S
        self.never += given_up
        return given_up


@dataclass(frozen=True)
class Followed:
    """The event that makes `count` of its viewer, and the API's answer to it."""

    user_id: str
    count: int
    answer: Answer


def settle(reader: "FeatureReader", expected: Counter[str]) -> tuple[int, int]:
    """Return how many events too few and too many the features count, once all is there or DRAIN_S is over."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        counted = {user: _events(reader, user) for user in expected}
        lost = sum(max(0, count - counted[user]) for user, count in expected.items())
        if lost == 0 or time.monotonic() > deadline:
            return lost, sum(max(0, counted[user] - count) for user, count in expected.items())


def _events(reader: "FeatureReader", user_id: str) -> int:
    activity = reader.viewer(user_id).activity
    return 0 if activity is None else activity.events


def main(
    seconds: Annotated[float, typer.Option(min=1, max=600)] = 30.0,
    rate: Annotated[int, typer.Option(min=20, max=50_000, help="events a second")] = 2_000,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="events a request")] = 20,
    at_once: world.AtOnce = world.APP_BATCH,
    viewers: Annotated[int, typer.Option(min=1, max=100_000)] = 5_000,
    stack: Where = "own",
) -> None:
    """Measure freshness at a steady rate, and count what was lost."""
    from feature_repo.reader import FeatureReader
    from streams.topics import PERCEPTIONS

    machine = report.machine()
    # A stack that runs already may have seen an earlier run: other ids, other viewers.
    shape = (int(time.time()), viewers, int(rate * (WARM_UP_S + seconds)), batch, rate, at_once)
    batches = made(*shape)
    with started(stack) as running:
        publish(running.settings.kafka, PERCEPTIONS, world.make(VIDEOS, shape[0]).perceptions())
        reader = FeatureReader(running.settings.features)
        at_rest()
        watch = Watch(reader)
        sent, accepted, refused, latencies = _count_sent(batches), Counter[str](), 0, []
        for answer in Load(running.url, rate / batch, requests, *shape):
            events = batches[answer.number]
            if not answer.ok:
                refused += len(events)
                continue
            accepted.update(event.user_id for event in events)
            latencies.append((answer.ended - answer.due) * 1000)
            if answer.number % FOLLOWED_EVERY == 0 and answer.number * batch >= rate * WARM_UP_S:
                watch.follow(Followed(events[-1].user_id, sent[answer.number], answer))
        watch.close()
        lost, doubled = settle(reader, accepted)
    after_accepted = [accepted_ms for accepted_ms, _ in watch.seen_ms]
    after_sent = [sent_ms for _, sent_ms in watch.seen_ms]
    report.histogram(after_accepted, unit="ms")
    report.finish(
        "freshness",
        {
            "p50_ms": report.percentile(after_accepted, 50),
            "p99_ms": report.percentile(after_accepted, 99),
            "lost": lost,
            "doubled": doubled,
            "refused": refused,
            "from_request_p50_ms": report.percentile(after_sent, 50),
            "from_request_p99_ms": report.percentile(after_sent, 99),
            "accept_p50_ms": report.percentile(latencies, 50),
            "accept_p99_ms": report.percentile(latencies, 99),
        },
        budgets={"p50_ms": "≤ 25", "p99_ms": "≤ 100", "lost": "0", "doubled": "0"},
        facts={
            "machine": machine,
            "load": f"{sum(accepted.values())} events, {rate}/s for {seconds:g} s after {WARM_UP_S:g} s of warm-up, "
            f"{batch} a request, {at_once} of a viewer in a row, {viewers} viewers",
            "samples": len(after_accepted),
            "samples_never_seen": watch.never,
        },
    )


def _count_sent(batches: "list[list[Interaction]]") -> list[int]:
    """Return, for each batch, how many events of its last event's viewer had been sent by its end."""
    counts: Counter[str] = Counter()
    after = []
    for batch in batches:
        counts.update(event.user_id for event in batch)
        after.append(counts[batch[-1].user_id])
    return after


if __name__ == "__main__":
    typer.run(main)
