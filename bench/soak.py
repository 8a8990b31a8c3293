"""It runs on: an hour of steady load on a whole house, in which no process grows and nothing becomes slower.

Pages are asked for at a steady rate, whether or not earlier ones came back, each followed by what its viewer does with it; now
and then a video is uploaded and a viewer says what to show. Latency counts from when a page was due. Freshness is the time from
an event's acceptance until its viewer's features, read through Feast, know it.

Memory is `uss` of each process with its helpers. Flows and API keep their viewers and videos, so growth is judged after a
warm-up in which every viewer has come.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench import plot, report
from bench.house import Up, up
from bench.samples import MB, Samples, by_window, cores, growth_mb_per_h, look, sampled
from bench.traffic import App, Audience, Ledger, Unaccepted, titles
from simulation import clips
from streams.clock import now_ms
from streams.events import Heartbeat, Interaction
from streams.follower import Followed, Follower
from streams.topics import HEARTBEATS, INTERACTIONS

if TYPE_CHECKING:
    from feature_repo.reader import FeatureReader

VIDEOS = 500
UPLOAD_EVERY_S, CLIP_EVERY_S, INSTRUCT_EVERY_S, FOLLOW_EVERY_S = 5.0, 30.0, 2.0, 0.5
IDLE_S = 15.0
# Less can't be told from the noise of an hour; as much would fill a small machine's memory in a month.
FLAT_MB_PER_H = 10.0
# A last third slower than the first by more than this is a trend, not the machine's mood.
STABLE_RATIO, STABLE_MS = 1.5, 5.0
LOST_AFTER_S = 30.0


@dataclass
class Seen:
    """What the load saw: (seconds since it began, ms) of pages and followed events, and what failed."""

    pages: list[tuple[float, float]] = field(default_factory=list)
    fresh: list[tuple[float, float]] = field(default_factory=list)
    never_fresh: int = 0
    failures: list[str] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    took_s: float = 0.0


def main(
    minutes: Annotated[float, typer.Option(min=0.5, max=1440)] = 60.0,
    pages: Annotated[float, typer.Option(min=1, max=1000, help="pages a second, each followed by some 26 events")] = 20.0,
    viewers: Annotated[int, typer.Option(min=10, max=100_000)] = 1_000,
    warm_up: Annotated[float, typer.Option(min=0, max=0.8, help="share of the time before growth is judged")] = 0.25,
    folder: Annotated[Path, typer.Option(help="where the samples and their plot are written")] = Path("var/bench"),
    seed: int = 1,
) -> None:
    """Measure growth and drift under a steady load."""
    machine = report.machine()
    with up({}) as house:
        idle = _idle(house)
        before = look(house)
        with sampled(house) as samples:
            seen, ledger = asyncio.run(_load(house, minutes * 60, pages, viewers, seed))
        busy = cores(before, look(house), seen.took_s)
        stop_s = house.stop()
    window_s = min(300.0, seen.took_s / 6)
    feed, fresh = by_window(seen.pages, window_s), by_window(seen.fresh, window_s)
    folder.mkdir(parents=True, exist_ok=True)
    samples.write(folder / "soak.csv")
    plot.write(folder / "soak.html", samples, {"page": feed, "freshness": fresh}, window_s)
    _table(samples, warm_up * seen.took_s)
    growth = {name: _growth(samples, name, warm_up * seen.took_s) for name in samples.processes()}
    certain = [slope for slope, low in growth.values() if low > 0]
    report.finish(
        "soak",
        {
            "grows_mb_per_h": {name: slope for name, (slope, _) in growth.items()},
            "flat": int(all(slope <= FLAT_MB_PER_H for slope in certain)),
            "feed_p50_ms": report.percentile([ms for _, ms in seen.pages], 50),
            "feed_p99_ms": report.percentile([ms for _, ms in seen.pages], 99),
            "fresh_p50_ms": report.percentile([ms for _, ms in seen.fresh], 50),
            "fresh_p99_ms": report.percentile([ms for _, ms in seen.fresh], 99),
            "stable": int(_is_stable(seen.pages) and _is_stable(seen.fresh)),
            "fresh_never": seen.never_fresh,
            "behind_max_events": max(seen.behind, default=0),
            "errors": len(seen.failures) + sum(count for kind, count in ledger.answers.items() if kind not in NO_ERROR),
            "cores_idle": idle,
            "cores_busy": busy,
            "stop_s": round(stop_s, 2),
        },
        budgets={
            "flat": f"1: each ≤ {FLAT_MB_PER_H:g} MB/h", "stable": "1", "errors": "0", "fresh_never": "0",
            "stop_s": "≤ 10",
        },
        facts={
            "machine": machine,
            "load": f"{seen.took_s / 60:.1f} min: {ledger.accepted / seen.took_s:.0f} events/s, {pages:g} pages/s of {viewers} "
            f"viewers, an upload every {UPLOAD_EVERY_S:g} s, a clip every {CLIP_EVERY_S:g} s, "
            f"a wish every {INSTRUCT_EVERY_S:g} s",
            "windows": {
                f"{number * window_s / 60:g} min": {
                    "feed_p50_ms": report.percentile(feed[number], 50),
                    "feed_p99_ms": report.percentile(feed[number], 99),
                    "fresh_p50_ms": report.percentile(fresh.get(number, []), 50),
                    "fresh_p99_ms": report.percentile(fresh.get(number, []), 99),
                }
                for number in feed
            },
            "samples": str(folder / "soak.csv"),
            "plot": str(folder / "soak.html"),
            "answers": dict(ledger.answers),
            "examples": seen.failures[:3],
        },
    )  # fmt: skip


NO_ERROR = ("200", "202", "404", "sent twice", "sent again")


def _growth(samples: Samples, process: str, after_s: float) -> tuple[float, float]:
    return growth_mb_per_h([sample for sample in samples.of(process) if sample.at_s >= after_s])


def _is_stable(values: list[tuple[float, float]]) -> bool:
    """Tell whether the p99 of the last third is that of the middle one: the first is the warm-up."""
    if not values:
        return False
    third = max(at_s for at_s, _ in values) / 3
    middle = report.percentile([ms for at_s, ms in values if third <= at_s < 2 * third], 99)
    last = report.percentile([ms for at_s, ms in values if at_s >= 2 * third], 99)
    return last <= max(middle * STABLE_RATIO, middle + STABLE_MS)


def _idle(house: Up) -> dict[str, float]:
    """Return the share of a core that each process uses while nothing happens."""
    with report.console.status(f"looking at an idle house for {IDLE_S:g} s"):
        time.sleep(5.0)
        before = look(house)
        time.sleep(IDLE_S)
        return cores(before, look(house), IDLE_S)


class Behind:
    """How many interactions each flow is behind the one that is furthest, as their heartbeats say."""

    def __init__(self, behind: list[int]) -> None:
        self._behind = behind
        self._at: dict[str, int] = {}

    def take_in(self, batch: list[Followed]) -> None:
        """Take over a batch, as a Follower hands it over."""
        for followed in batch:
            if isinstance(followed.event, Heartbeat) and INTERACTIONS.name in followed.event.positions:
                self._at[followed.event.process] = sum(followed.event.positions[INTERACTIONS.name].values())
                self._behind.append(max(self._at.values()) - min(self._at.values()))


async def _load(house: Up, seconds: float, pages: float, viewers: int, seed: int) -> tuple[Seen, Ledger]:
    from feature_repo.reader import FeatureReader

    seen, ledger, named, files = Seen(), Ledger(keep=False), titles(seed), clips.installed()
    reader = await asyncio.to_thread(FeatureReader, house.running.settings.features)
    behind = Behind(seen.behind)
    follower = Follower(house.running.settings.kafka, [HEARTBEATS], behind.take_in, from_end=True, wait_ms=500, name="soak")
    async with App(house.running.url, ledger) as app:
        for _ in range(VIDEOS // 10):
            await asyncio.gather(*(app.upload(next(named)) for _ in range(10)))
        audience = Audience(app, viewers=viewers, seed=seed)
        now_and_then: list[tuple[float, Callable[[int], Awaitable[object]]]] = [
            (UPLOAD_EVERY_S, lambda _: app.upload(next(named))),
            (INSTRUCT_EVERY_S, lambda _: app.instruct(audience.anyone(), "less politics, more cooking")),
            (FOLLOW_EVERY_S, lambda number: _follow(app, reader, seen, f"followed-{number % 50}", began)),
        ]
        if files:
            now_and_then.append((CLIP_EVERY_S, lambda number: app.upload_clip(files[number % len(files)])))
        began = time.monotonic()
        with closing(follower.start()), _progress() as bars:
            task = bars.add_task("soak", total=seconds)
            async with asyncio.TaskGroup() as group:
                for every_s, make in now_and_then:
                    group.create_task(_every(every_s, began + seconds, make, seen))
                number = 0
                while (due := began + number / pages) < began + seconds:
                    await asyncio.sleep(due - time.monotonic())
                    group.create_task(_visit(app, audience, seen, due, began))
                    number += 1
                    bars.update(task, completed=time.monotonic() - began)
        seen.took_s = time.monotonic() - began
    return seen, ledger


async def _visit(app: App, audience: Audience, seen: Seen, due: float, began: float) -> None:
    """Fetch the page that is due, and do something with it."""
    try:
        page = await app.page(audience.anyone())
        seen.pages.append((due - began, (time.monotonic() - due) * 1000))
        await audience.watch(page, before_each=_look)
    except (Unaccepted, OSError) as error:
        seen.failures.append(repr(error))


async def _look(_events: int) -> None:
    # Watching takes time; as much as spreads the batches of a second's pages evenly.
    await asyncio.sleep(random.uniform(0.2, 1.0))


async def _every(every_s: float, end: float, make: Callable[[int], Awaitable[object]], seen: Seen) -> None:
    number = 0
    while time.monotonic() < end:
        try:
            await make(number)
        except (Unaccepted, OSError) as error:
            seen.failures.append(repr(error))
        number += 1
        await asyncio.sleep(min(every_s, max(0.0, end - time.monotonic())))


async def _follow(app: App, reader: "FeatureReader", seen: Seen, user_id: str, began: float) -> None:
    """Report one event of a viewer of our own, and look until the viewer's features know it."""
    event = Interaction(event_id=f"{user_id}-{now_ms()}", user_id=user_id, video_id="v", action="play", occurred_at=now_ms())
    await app.report([event])
    accepted = time.monotonic()
    while (await asyncio.to_thread(reader.viewer, user_id)).as_of < event.occurred_at:
        if time.monotonic() > accepted + LOST_AFTER_S:
            seen.never_fresh += 1
            return
        await asyncio.sleep(0.001)
    seen.fresh.append((accepted - began, (time.monotonic() - accepted) * 1000))


def _table(samples: Samples, after_s: float) -> None:
    """Print each process' memory over time."""
    for name in samples.processes():
        sizes = [sample.uss / MB for sample in samples.of(name)]
        line, slope = plot.sparkline(sizes), _growth(samples, name, after_s)[0]
        report.console.print(
            f"{name:<14} {line} {sizes[0]:7.1f} → {sizes[-1]:7.1f} MB, mean {fmean(sizes):7.1f}, {slope:+.1f} MB/h"
        )


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    return Progress(*columns, console=report.console, transient=True)


if __name__ == "__main__":
    typer.run(main)
