"""A new video is servable at once, and a takedown is gone: real clips through a stack with modest traffic on it.

Clips are uploaded one after the other as a creator would, by multipart, while an audience fetches pages and real interactions
are replayed. Times count from the API's 202, the upload event; `from_upload` also has the transfer and the probe of the file.
The first impression is the first page of any simulated viewer with the clip on it, so it depends on how many pages there are.
A takedown is over when neither the catalogue nor any page of anyone has the video, counted from when its DELETE was sent.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from bench import report
from bench.stack import Where, started
from simulation import clips, movielens
from simulation.audience import Account, Audience
from simulation.client import Client
from simulation.clips import Clip
from simulation.datasets import Dataset, open_dataset
from simulation.journey import Journey, follow, send
from simulation.replay import Pace, send_interactions, send_uploads
from simulation.settings import AudienceSettings

# Finer than the budgets by far; each look is a request on the API that is being measured.
LOOK_EVERY_S = 0.005
SHOWN_TIMEOUT_S = 60.0
GONE_TIMEOUT_S = 30.0
# Older than what counts as new, as most of a catalogue is.
CATALOGUE_AGE_MS = 3 * 86_400_000
# Traffic: what one busy viewer community makes, a tenth of what the machine takes.
EVENTS_PER_S = 100.0
PAGES_PER_S = 10.0


def main(
    data: Annotated[
        Path | None, typer.Option(help="folder with microlens/ and clips/ (HEADWATER_DATA); else MovieLens and 3 clips")
    ] = None,
    uploads: Annotated[int, typer.Option(min=1, help="at most so many clips")] = 24,
    takedowns: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    catalogue: Annotated[int, typer.Option(min=10, help="real videos to start with")] = 1_000,
    stack: Where = "own",
) -> None:
    """Measure the way of a new clip to its first impression, and of a takedown out of every feed."""
    machine = report.machine()
    folder = data or (Path(named) if (named := os.environ.get("HEADWATER_DATA")) else None)
    dataset = open_dataset(str(folder / "microlens") if folder else movielens.NAME)
    files = (*clips.installed(), *(clips.in_folder(folder / "clips") if folder else ()))[:uploads]
    with started(stack) as running:
        run = asyncio.run(_measure(running.url, dataset, files, takedowns, catalogue))
    title, frames, shown, takedowns_ms = run.stations_ms("title"), run.stations_ms("frames"), run.shown_ms(), run.takedowns_ms()
    report.histogram(takedowns_ms, unit="ms")
    report.finish(
        "cold_start",
        {
            "title_p50_ms": report.percentile(title, 50),
            "title_p99_ms": report.percentile(title, 99),
            "frames_p50_ms": report.percentile(frames, 50),
            "frames_p99_ms": report.percentile(frames, 99),
            "first_impression_p50_ms": report.percentile(shown, 50),
            "takedown_p50_ms": report.percentile(takedowns_ms, 50),
            "takedown_p99_ms": report.percentile(takedowns_ms, 99),
            "from_upload_title_p50_ms": report.percentile([journey.reached_s["title"] * 1000 for journey in run.journeys], 50),
            "never_shown": len(run.journeys) - len(shown),
        },
        budgets={"title_p50_ms": "≤ 300", "frames_p50_ms": "≤ 3,000 (10 s clip)", "takedown_p99_ms": "≤ 1,000"},
        facts={
            "machine": machine,
            "load": f"{len(files)} clips, {len(takedowns_ms)} takedowns, {catalogue} older videos of {dataset.name}; traffic: "
            f"{EVENTS_PER_S:g} real interactions/s and {PAGES_PER_S:g} pages/s of simulated viewers",
        },
    )


@dataclass
class Run:
    """What was seen of clips and takedowns; times are `time.monotonic()`."""

    journeys: list[Journey] = field(default_factory=list)
    began: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    first_shown: dict[str, float] = field(default_factory=dict)
    last_shown: dict[str, float] = field(default_factory=dict)

    def stations_ms(self, station: str) -> list[float]:
        """Return how long after its acceptance each clip was at `station`."""
        return [(journey.reached_s[station] - journey.reached_s["accepted"]) * 1000 for journey in self.journeys]

    def shown_ms(self) -> list[float]:
        """Return how long after its acceptance each clip that was shown was shown first."""
        accepted = {journey.video_id: journey.began + journey.reached_s["accepted"] for journey in self.journeys}
        return [(self.first_shown[video] - at) * 1000 for video, at in accepted.items() if video in self.first_shown]

    def takedowns_ms(self) -> list[float]:
        """Return how long each takedown took; a page that had the video after it was gone makes it longer."""
        return [(max(at, self.last_shown.get(video, at)) - self.began[video]) * 1000 for video, at in self.gone.items()]


async def _measure(url: str, dataset: Dataset, files: Sequence[Clip], takedowns: int, catalogue: int) -> Run:
    run = Run()
    async with Client(url) as client, _traffic(client, dataset, catalogue) as account:
        run.first_shown, run.last_shown = account.first_shown, account.last_shown
        for file in files:
            journey = Journey(file)
            await send(client, journey, author_id="bench")
            if not journey.failure:
                await follow(client, journey, look_every_s=LOOK_EVERY_S)
            if journey.failure:
                raise RuntimeError(f"{file.path.name}: {journey.failure}")
            run.journeys.append(journey)
        deadline = time.monotonic() + SHOWN_TIMEOUT_S
        while len(run.shown_ms()) < len(files) and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_EVERY_S)
        # What is on pages now: the takedown of a video that nobody is shown would prove nothing.
        for video_id in sorted(account.last_shown, key=lambda video: account.last_shown[video], reverse=True)[:takedowns]:
            await _take_down(client, video_id, run)
        # Whoever is still shown one of them is seen for twice the promised time.
        await asyncio.sleep(2.0)
    return run


async def _take_down(client: Client, video_id: str, run: Run) -> None:
    """Take a video down and look, as viewers who were never there, until neither the catalogue nor a page has it."""
    run.began[video_id] = time.monotonic()
    answer = asyncio.create_task(client.takedown(video_id))
    for number in itertools.count():
        page, known = await asyncio.gather(client.feed(f"bench-{video_id}-{number}"), client.video(video_id))
        if known is None and all(item.video_id != video_id for item in page.items):
            break
        if time.monotonic() > run.began[video_id] + GONE_TIMEOUT_S:
            raise TimeoutError(f"{video_id} was taken down and is still there after {GONE_TIMEOUT_S:g} s")
    run.gone[video_id] = time.monotonic()
    await answer


@asynccontextmanager
async def _traffic(client: Client, dataset: Dataset, catalogue: int) -> AsyncIterator[Account]:
    """Fill the catalogue, then keep events and pages coming while the block runs."""
    videos = dataset.uploads[:catalogue]
    known = {upload.video_id for upload in videos}
    await send_uploads(client, videos, age_ms=CATALOGUE_AGE_MS)
    while await client.video(videos[-1].video_id) is None:
        await asyncio.sleep(0.1)
    audience = Audience(client, AudienceSettings(pages_per_s=PAGES_PER_S, viewers=100))
    events = (event for event in dataset.interactions() if event.video_id in known)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(audience.run()),
            group.create_task(send_interactions(client, events, Pace(rate=EVENTS_PER_S))),
        ]
        yield audience.account
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    typer.run(main)
