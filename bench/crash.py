"""Nothing is lost, nothing counts twice: traffic through the API while every process but the broker is killed in turn.

A whole `headwater up` runs, in a folder of its own. Viewers fetch pages and report what they did, creators upload; what met a
503 or a broken connection is sent again with its ids, and some is sent twice. Each flow, the API, Redis and Triton get SIGKILL
(`--graceful`: SIGTERM), one after the other, and the house's supervisor starts them again. Afterwards every count of every
viewer and video, the feedback of every page, the dead letters and the uploads are held against what was accepted.

Recovery is the time from the signal until the process' work is seen again from outside: an event accepted after it is in the
features (profile), a title is perceived (perceive, Triton), a wish has become a plan (rerank), an erasure is proven (feedback),
a page is served (API), a page knows the last event again (Redis).
"""

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import audit, report
from bench.house import MORTAL, Up, up
from bench.kills import Kill, Killer, Seen
from bench.traffic import App, Audience, Ledger, Pace, Unaccepted, titles
from simulation import clips
from streams.follower import Follower
from streams.topics import DEAD_LETTERS, INTERACTIONS, PLANS, PURGES, UPLOADS

# Windows as short as a visit, so that all of them close while we look. With the usual minute nothing else would change.
SILENCE_S, FILE_S = 10.0, 5.0
VIDEOS = 300
VIEWERS = 400
AT_ONCE = 24
UPLOAD_EVERY_S, CLIP_EVERY_S = 2.0, 15.0
# What does not change for this long will not change any more.
SETTLED_S = 45.0
# Input that no flow can use, sent past the API: each must become one dead letter.
BAD = 20


@dataclass
class Run:
    """What happened while the load ran."""

    ledger: Ledger
    kills: list[Kill]
    took_s: float = 0.0
    stop_s: float = 0.0


def main(
    events: Annotated[int, typer.Option(min=100, help="interactions that are accepted, at least")] = 100_000,
    kills_each: Annotated[int, typer.Option(min=0, max=50, help="kills of each process")] = 3,
    rate: Annotated[float, typer.Option(min=10, max=10_000, help="events a second")] = 300.0,
    seed: int = 1,
    kill: Annotated[list[str] | None, typer.Option(help=f"only these: {', '.join(MORTAL)}")] = None,
    graceful: Annotated[bool, typer.Option(help="SIGTERM instead of SIGKILL")] = False,
) -> None:
    """Kill everything in turn under load, and count what is lost and what counts twice."""
    names = tuple(kill or MORTAL)
    if unknown := set(names) - set(MORTAL):
        raise typer.BadParameter(f"--kill {', '.join(sorted(unknown))}: expected some of {', '.join(MORTAL)}")
    sign = signal.SIGTERM if graceful else signal.SIGKILL
    # The bad input that is sent below would be told of at each look.
    logging.getLogger("streams.follower").setLevel(logging.ERROR)
    machine = report.machine()
    options = {
        "flows.feedback_silence_s": SILENCE_S,
        "flows.feedback_file_s": FILE_S,
    }
    with up(options) as house:
        report.console.print(f"[dim]{house.running.url} is up; its processes are ended with {sign.name}[/dim]")
        for name, value in options.items():
            section, option = name.split(".")
            setattr(getattr(house.running.settings, section), option, value)
        topics = audit.Topics(house.running.settings.kafka)
        with closing(topics.follower.start()):
            run = asyncio.run(_run(house, names, kills_each, events, rate, seed, sign))
            figures, facts = _audit(house, topics, run)
        run.stop_s = house.stop()
    report.finish(
        "crash",
        figures | {"stop_s": round(run.stop_s, 2)},
        budgets={
            "lost": "0", "doubled": "0", "slates_without_feedback": "0", "feedback_wrong": "0", "log_missing": "0",
            "log_doubled": "0", "dead_letters_without_cause": "0", "bad_without_dead_letter": "0", "uploads_not_perceived": "0",
            "not_recovered": "0", "stop_s": "≤ 10", **({"ended_max_s": "≤ 10"} if graceful else {}),
        },
        facts={
            "machine": machine,
            "load": f"{rate:g} events/s of {VIEWERS} viewers in visits of a page each, an upload every {UPLOAD_EVERY_S:g} s, "
            f"a clip every {CLIP_EVERY_S:g} s, {run.took_s:.0f} s; pages close after {SILENCE_S:g} s of silence "
            f"(flows.feedback_silence_s, 60 s by default)",
            "signal": sign.name,
        } | facts,
    )  # fmt: skip


async def _run(
    house: Up, names: tuple[str, ...], kills_each: int, events: int, rate: float, seed: int, sign: signal.Signals
) -> Run:
    from feature_repo.reader import FeatureReader

    ledger, seen, wanted = Ledger(), Seen(), kills_each * len(names)
    kafka = house.running.settings.kafka
    follower = Follower(kafka, [PLANS, PURGES], seen.take_in, wait_ms=50, name="bench-seen").start()
    features = await asyncio.to_thread(FeatureReader, house.running.settings.features)
    began = time.monotonic()
    with closing(follower), _progress() as bars:
        async with App(house.running.url, ledger) as app:
            await _fill(app, bars, seed)
            await asyncio.to_thread(_send_bad, house)
            killer = Killer(house, app, features, seen, sign=sign)
            ended, sent = bars.add_task("kills", total=wanted), bars.add_task("events", total=events)

            def due(number: int) -> bool:
                bars.update(sent, completed=len(ledger.events))
                bars.update(ended, completed=len(killer.kills))
                return len(ledger.events) >= events * (number + 1) / (wanted + 2)

            killing = asyncio.create_task(killer.run(names, kills_each, due=due))
            async with _creators(app, seed):
                audience = Audience(app, viewers=VIEWERS, seed=seed)
                await audience.run(Pace(rate), lambda: killing.done() and len(ledger.events) >= events, at_once=AT_ONCE)
            await killing
            due(wanted)
    return Run(ledger, killer.kills, took_s=time.monotonic() - began)


async def _fill(app: App, bars: Progress, seed: int) -> None:
    """Give the catalogue its first videos."""
    named = titles(seed)
    task = bars.add_task("videos", total=VIDEOS)
    for _ in range(VIDEOS // 10):
        await asyncio.gather(*(app.upload(next(named)) for _ in range(10)))
        bars.advance(task, 10)


@asynccontextmanager
async def _creators(app: App, seed: int) -> AsyncIterator[None]:
    """Keep uploads coming while the block runs; those begun are accepted in the end."""
    stopping = asyncio.Event()
    named, files = titles(seed + 1), clips.installed()

    async def upload(every_s: float, with_media: bool) -> None:
        number = 0
        while not stopping.is_set():
            try:
                if with_media:
                    await app.upload_clip(files[number % len(files)])
                else:
                    await app.upload(next(named))
            except Unaccepted:
                pass
            number += 1
            try:
                await asyncio.wait_for(stopping.wait(), every_s)
            except TimeoutError:
                continue

    async with asyncio.TaskGroup() as group:
        group.create_task(upload(UPLOAD_EVERY_S, with_media=False))
        if files:
            group.create_task(upload(CLIP_EVERY_S, with_media=True))
        yield
        stopping.set()


def _send_bad(house: Up) -> None:
    """Write to the topics, past the API, what no flow can use."""
    from confluent_kafka import Producer

    from streams.kafka import producer_config

    producer = Producer(producer_config(house.running.settings.kafka))
    for number in range(BAD):
        topic = (INTERACTIONS, UPLOADS)[number % 2]
        producer.produce(topic.name, b'{"type": "Interaction", "event_id": %d}' % number, key=b"bad")
    producer.flush(10.0)


def _audit(house: Up, topics: audit.Topics, run: Run) -> tuple[dict[str, float | dict[str, float]], dict[str, object]]:
    """Return the figures, and what is behind them, once nothing changes any more."""
    from feature_repo.reader import FeatureReader
    from feature_repo.store import open_store

    settings, ledger = house.running.settings, run.ledger
    reader, store = FeatureReader(settings.features), open_store(settings.features)
    unsure = {event.user_id for event in ledger.maybe.values()}, {event.video_id for event in ledger.maybe.values()}
    viewers = {user: of for user, of in audit.viewers_of(ledger.events.values()).items() if user not in unsure[0]}
    videos = {video: of for video, of in audit.videos_of(ledger.events.values()).items() if video not in unsure[1]}
    with report.console.status("waiting until all is in the features, the feedback and its log"):
        of_viewers = audit.settled(
            lambda: audit.difference(viewers, audit.read_viewers(reader, viewers)),
            lambda seen: seen.lost == 0,
            timeout_s=SETTLED_S,
        )
        of_videos = audit.settled(
            lambda: audit.difference(videos, audit.read_videos(store, videos)), lambda seen: seen.lost == 0, timeout_s=SETTLED_S
        )
        unanswered = audit.settled(
            lambda: set(topics.slates()) - set(topics.feedback()), lambda left: not left, timeout_s=SETTLED_S
        )
        log = audit.settled(
            lambda: audit.log_rows(settings.var / "feedback_log"),
            lambda rows: len(rows) >= sum(bool(slate.items) for slate, _ in topics.slates().values()),
            timeout_s=SETTLED_S,
        )
        unperceived = asyncio.run(_unperceived(house, ledger))
    slates, feedback = topics.slates(), topics.feedback()
    wrong = audit.wrong(feedback, audit.outcomes(topics, settings.flows))
    letters = {each.event.letter_id: each.event for each in topics.events[DEAD_LETTERS]}
    causeless = audit.causeless(letters.values())
    back = [kill.back_s for kill in run.kills if kill.back_s is not None]
    by_name = {name: [kill.back_s for kill in run.kills if kill.name == name and kill.back_s is not None] for name in MORTAL}
    shown = [request_id for request_id, (slate, _) in slates.items() if slate.items]
    return (
        {
            "events": len(ledger.events),
            "kills": len(run.kills),
            "lost": of_viewers.lost + of_videos.lost,
            "doubled": of_viewers.doubled + of_videos.doubled,
            "recovery_p50_s": report.percentile(back, 50),
            "recovery_max_s": round(max(back, default=float("nan")), 2),
            "recovery_s": {name: round(fmean(times), 2) for name, times in by_name.items() if times},
            "not_recovered": sum(kill.back_s is None for kill in run.kills),
            "ended_max_s": round(max((kill.ended_s for kill in run.kills), default=0.0), 2),
            "slates": len(slates),
            "pages_without_slate": len(audit.expected_pages(ledger, slates)),
            "slates_without_feedback": len(unanswered),
            "feedback_wrong": len(wrong),
            "feedback_published_again": sum(len(several) - 1 for several in feedback.values()),
            "log_missing": sum(request_id not in log for request_id in shown),
            "log_doubled": sum(count - 1 for count in log.values()),
            "dead_letters": len(letters),
            "dead_letters_without_cause": len(causeless),
            "bad_without_dead_letter": BAD - sum(letter.key == b"bad" for letter in letters.values()),
            "uploads": len(ledger.uploads),
            "uploads_not_perceived": len(unperceived),
            "maybe_accepted": len(ledger.maybe),
        },
        {
            "kills_by_process": dict(Counter(kill.name for kill in run.kills)),
            "answers": dict(ledger.answers),
            "examples": [
                *of_viewers.examples, *of_videos.examples, *sorted(unanswered)[:3], *wrong[:3], *causeless[:3], *unperceived[:3]
            ],
        },
    )  # fmt: skip


async def _unperceived(house: Up, ledger: Ledger) -> list[str]:
    """Return the uploads that are not in the catalogue as they should be, once nothing changes: clips from their frames."""

    async def look() -> list[str]:
        async with App(house.running.url, Ledger()) as app:
            left = []
            for video_id, with_media in ledger.uploads.items():
                known = await app.video(video_id)
                if known is None or (with_media and known["stage"] != "frames"):
                    left.append(video_id)
            return left

    last, since = await look(), time.monotonic()
    while last and time.monotonic() < since + SETTLED_S:
        await asyncio.sleep(1.0)
        if (seen := await look()) != last:
            last, since = seen, time.monotonic()
    return last


def _progress() -> Progress:
    columns = TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=report.console, transient=True)


if __name__ == "__main__":
    typer.run(main)
