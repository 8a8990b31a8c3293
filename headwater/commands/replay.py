"""`headwater replay`: real events through the public API, as if they happened now."""

import asyncio
import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.commands.address import Key, Url, connected

if TYPE_CHECKING:
    from rich.progress import Progress

    from simulation.client import Client
    from simulation.datasets import Dataset
    from simulation.replay import Pace, Tally

# Fast enough to fill a store in minutes, slow enough to leave the feed its CPU.
DEFAULT_RATE = 500.0
# A catalogue of 20,000 titles takes about this long to be perceived on two cores, twice over.
KNOWN_TIMEOUT_S = 300.0


def replay(
    source: Annotated[str, typer.Argument(help="movielens-100k, or a folder with `videos` and `interactions` files")],
    speed: Annotated[float | None, typer.Option(min=0.001, help="the data's own rhythm, so many times faster")] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="an even rate, events a second (default 500)")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many interactions, and their videos")] = None,
    uploads_only: Annotated[bool, typer.Option("--uploads-only", help="only the catalogue")] = False,
    url: Url = None,
    key: Key = "",
) -> None:
    """Stream real events: first the catalogue, then the interactions in the order in which they happened.

    Every event's time is the moment at which it is sent: the data's past becomes now. Replayed again, an event keeps its id,
    and counts once if it is among the last 1,024 of its viewer.
    """
    from rich.console import Console

    from headwater.commands.progress import bars
    from simulation.datasets import BadDataset, open_dataset
    from simulation.replay import Pace

    if speed is not None and rate is not None:
        raise typer.BadParameter("--speed and --rate exclude each other")
    console = Console()
    try:
        dataset = open_dataset(source)
    except BadDataset as error:
        raise typer.BadParameter(str(error)) from error
    for note in dataset.notes:
        console.print(f"[dim]{dataset.name}: {note}[/dim]")
    pace = Pace(speed=speed) if speed is not None else Pace(rate=rate or DEFAULT_RATE)
    with bars(console) as progress:
        tallies = asyncio.run(_replay(url, key, dataset, pace, limit, uploads_only, progress))
    for what, tally in tallies.items():
        console.print(f"{what}: {tally.sent:,} sent, {tally.failed:,} failed {tally.last_failure}".rstrip())
    if any(tally.failed for tally in tallies.values()):
        raise typer.Exit(1)


async def _replay(
    url: str | None, key: str, dataset: "Dataset", pace: "Pace", limit: int | None, uploads_only: bool, progress: "Progress"
) -> "dict[str, Tally]":
    from simulation.replay import needed, send_interactions, send_uploads

    async with connected(url, key) as client:
        uploads = needed(dataset, limit)
        tallies = {"uploads": await send_uploads(client, uploads, tell=_told(progress, "uploads", len(uploads)))}
        if not uploads_only:
            if uploads and not tallies["uploads"].failed:
                await _until_known(client, uploads[-1].video_id, progress)
            events = itertools.islice(dataset.interactions(), limit)
            total = dataset.count if limit is None else min(limit, dataset.count)
            tell = _told(progress, "interactions", total)
            tallies["interactions"] = await send_interactions(client, events, pace, tell=tell)
        return tallies


async def _until_known(client: "Client", video_id: str, progress: "Progress") -> None:
    """Wait until the catalogue has the last upload: a tap on a video that is known says what its viewer likes at once."""
    task = progress.add_task("perceiving", total=None)
    try:
        async with asyncio.timeout(KNOWN_TIMEOUT_S):
            while await client.video(video_id) is None:
                await asyncio.sleep(0.2)
    except TimeoutError:
        progress.console.print(f"{video_id} was not perceived within {KNOWN_TIMEOUT_S:g} s; the interactions go on without it")
    progress.remove_task(task)


def _told(progress: "Progress", what: str, total: int) -> Callable[[int], None]:
    task = progress.add_task(what, total=total)
    return functools.partial(progress.advance, task)
