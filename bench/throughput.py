"""The stream keeps up: the profile flow in one process, Kafka to Feast on Redis; then the same rows by Feast's own `push`.

The topic is filled first, sessions of all viewers mixed, so that most events of a poll are of different viewers: the case in
which batching helps least. The clock runs from the first write that shows to the last, without the first poll's events. `push`
is given the rows ready-made, in the same batches: what it is charged with is the data frame and the write, not Kafka or state.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from bench import report, world
from bench.stack import own_settings, publish, servers
from deploy.local.process import tail

if TYPE_CHECKING:
    from feature_repo.reader import FeatureReader
    from headwater.children import Child
    from headwater.settings import Settings
    from streams.events import Interaction
    from streams.features import FeatureRow

VIDEOS = 5_000
# Events a second: what is promised, and how close in time the events are, which decides how many rows the feature log keeps.
PROMISED = 20_000
# What the flow takes from a partition at a time, and so the batch in which `push` gets its rows.
POLL = 1_000
# Reading the marks loads Redis a little; this is finer than 1 % of the promised rate's time.
WATCH_S = 0.05
TIMEOUT_S = 600.0


def main(
    events: Annotated[int, typer.Option(min=8_000, max=5_000_000)] = 300_000,
    viewers: Annotated[int, typer.Option(min=10, max=1_000_000)] = 20_000,
    at_once: world.AtOnce = world.APP_BATCH,
    pushed: Annotated[int, typer.Option(min=POLL, max=1_000_000, help="how many of the events go through push")] = 20_000,
) -> None:
    """Measure the profile flow against Feast's push."""
    from streams.kafka import partitions_of
    from streams.topics import INTERACTIONS, PERCEPTIONS

    machine = report.machine()
    made = world.make(VIDEOS)
    with own_settings() as own, servers(own) as settings:
        publish(settings.kafka, PERCEPTIONS, made.perceptions())
        _mark(settings, made, "first")
        publish(settings.kafka, INTERACTIONS, made.interactions(viewers, events, per_s=PROMISED, at_once=at_once))
        _mark(settings, made, "last")
        partitions = partitions_of(settings.kafka, INTERACTIONS)
        ran = _run_flow(settings, made, viewers, events)
        polls = list(rows_of(made, viewers, min(pushed, events), events, at_once))
        push_s = _push(settings, polls)
    per_s, push_per_s = (events - POLL * partitions) / ran.wall_s, min(pushed, events) / push_s
    report.finish(
        "throughput",
        {
            "events_per_s": round(per_s),
            "feast_push_events_per_s": round(push_per_s),
            "ratio": round(per_s / push_per_s, 2),
            "lost": ran.lost,
            "cpu_us_an_event": round(ran.cpu_s / (events - POLL * partitions) * 1e6, 1),
        },
        budgets={"events_per_s": f"≥ {PROMISED:,}", "ratio": "> 1", "lost": "0"},
        facts={
            "machine": machine,
            "load": f"{events} events of {viewers} viewers, {at_once} of a viewer in a row, on {VIDEOS} videos "
            f"in {partitions} partitions",
            "rows_an_event": round(sum(map(len, polls)) / min(pushed, events), 2),
            "flow_s": round(ran.wall_s, 2),
            "push_s": round(push_s, 2),
        },
    )


def rows_of(made: world.World, viewers: int, count: int, events: int, at_once: int) -> "Iterator[list[FeatureRow]]":
    """Yield, poll by poll, the rows that the flow's own state makes of the first `count` of `events`."""
    from streams.features import VideoEngagement
    from streams.follower import Followed
    from streams.state.engagement import Engaged, VideoEngagementState
    from streams.state.viewer import Viewer
    from streams.topics import PERCEPTIONS
    from streams.videos import VideoTable

    videos = VideoTable()
    videos.take_in([Followed(PERCEPTIONS, seen.video.video_id, seen, made.made_at) for seen in made.perceptions()])
    states: defaultdict[str, Viewer] = defaultdict(Viewer)
    engagement: defaultdict[str, VideoEngagementState] = defaultdict(VideoEngagementState)
    source = made.interactions(viewers, events, per_s=PROMISED, at_once=at_once)
    for _ in range(count // POLL):
        poll: defaultdict[str, list[Interaction]] = defaultdict(list)
        for event in itertools.islice(source, POLL):
            poll[event.user_id].append(event)
        rows: list[FeatureRow] = []
        by_video: defaultdict[str, list[Engaged]] = defaultdict(list)
        for user_id, of_user in poll.items():
            for engaged in states[user_id].apply(of_user, videos, made.made_at)[1]:
                by_video[engaged.video_id].append(engaged)
            rows += states[user_id].rows(user_id)
        for video_id, of_video in by_video.items():
            for engaged in of_video:
                engagement[video_id].apply(engaged)
            stats = engagement[video_id].stats(video_id)
            rows.append(VideoEngagement(**{name: getattr(stats, name) for name in VideoEngagement.__struct_fields__}))
        yield rows


@dataclass(frozen=True)
class Ran:
    """From the flow's first write to its last: seconds, CPU seconds (of all its threads); and events not in the features.

    CPU time says what an event costs where others keep the machine busy, too.
    """

    wall_s: float
    cpu_s: float
    lost: int


def _run_flow(settings: "Settings", made: world.World, viewers: int, events: int) -> Ran:
    from feature_repo.reader import FeatureReader
    from headwater.children import Child

    reader = FeatureReader(settings.features)
    log = settings.var / "log" / "flow-profile.log"
    flow = Child("flow-profile", "headwater.wiring:run_flow", "profile", settings, log=log)
    flow.start()
    try:
        began, cpu_before = _until(lambda: any(_events_of(reader, user) for user in _marks(settings, "first")), flow)
        ended, cpu_after = _until(lambda: all(_events_of(reader, user) for user in _marks(settings, "last")), flow)
        counted = sum(_events_of(reader, made.viewer(number)) for number in range(viewers))
    finally:
        flow.stop(timeout_s=settings.stack.stop_timeout_s)
    return Ran(ended - began, cpu_after - cpu_before, events - counted)


def _until(seen: Callable[[], bool], flow: "Child") -> tuple[float, float]:
    """Wait for it, and return the time and the CPU time that the flow has used, in seconds."""
    deadline = time.monotonic() + TIMEOUT_S
    while not seen():
        if flow.ended() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the flow ended, or was not done after {TIMEOUT_S:g} s; {tail(flow.log)}")
        time.sleep(WATCH_S)
    used = psutil.Process(flow.pid).cpu_times()
    return time.monotonic(), used.user + used.system


def _marks(settings: "Settings", place: str) -> list[str]:
    """Return the viewers of the first or last event in each partition."""
    from streams.kafka import partitions_of
    from streams.topics import INTERACTIONS

    return [f"bench-{place}-{partition}" for partition in range(partitions_of(settings.kafka, INTERACTIONS))]


def _mark(settings: "Settings", made: world.World, place: str) -> None:
    from confluent_kafka import Producer

    from streams.codec import encode
    from streams.events import Interaction
    from streams.kafka import producer_config
    from streams.topics import INTERACTIONS

    producer = Producer(producer_config(settings.kafka))
    for partition, user in enumerate(_marks(settings, place)):
        event = Interaction(event_id=user, user_id=user, video_id=made.video(0), action="play", occurred_at=made.made_at)
        producer.produce(INTERACTIONS.name, encode(event), key=user, partition=partition)
    producer.flush(30.0)


def _events_of(reader: "FeatureReader", user_id: str) -> int:
    activity = reader.viewer(user_id).activity
    return 0 if activity is None else activity.events


def _push(settings: "Settings", polls: "Sequence[list[FeatureRow]]") -> float:
    """Return the seconds that Feast's `push` takes for `polls`, each view's rows of a poll in one data frame."""
    import pandas as pd
    from feast.data_source import PushMode
    from msgspec.structs import asdict
    from redis import Redis

    from feature_repo.schema import VIEW_OF
    from feature_repo.store import open_store

    host, port = settings.features.connection_string.split(",")[0].split(":")
    # What the flow wrote would be newer, and `push` would then drop its rows instead of writing them.
    with closing(Redis(host, int(port))) as redis:
        redis.flushall()
    store = open_store(settings.features)
    began = time.monotonic()
    for rows in polls:
        by_struct: defaultdict[type[FeatureRow], list[FeatureRow]] = defaultdict(list)
        for row in rows:
            by_struct[type(row)].append(row)
        for struct, of_view in by_struct.items():
            frame = pd.DataFrame([asdict(row) for row in of_view])
            frame["event_timestamp"] = pd.to_datetime(frame.pop("as_of"), unit="ms", utc=True)
            store.push(f"{VIEW_OF[struct]}_push", frame, to=PushMode.ONLINE)
    return time.monotonic() - began


if __name__ == "__main__":
    typer.run(main)
