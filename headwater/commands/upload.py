"""`headwater upload`: real clips through the public API, and each one's way into the feed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.commands.address import Key, Url, connected

if TYPE_CHECKING:
    from simulation.clips import Clip
    from simulation.journey import Journey


def upload(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="video files")],
    title: Annotated[str | None, typer.Option(help="title of all of them (default: from the file's name)")] = None,
    author: Annotated[str, typer.Option(help="who uploads")] = "me",
    tag: Annotated[list[str] | None, typer.Option(help="a tag; may be repeated")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="follow each clip until its frames were perceived")] = True,
    url: Url = None,
    key: Key = "",
) -> None:
    """Upload video files and show when each is accepted, perceived from its title, and from its frames."""
    from rich.console import Console
    from rich.table import Table

    from simulation.clips import Clip, titled
    from simulation.journey import STATIONS

    clips = [Clip(file, title or titled(file)) for file in files]
    console = Console()
    console.print("[dim]seconds since each upload began[/dim]")

    def tell(journey: "Journey", station: str) -> None:
        console.print(f"{journey.reached_s[station]:7.2f} s  {station:<8}  {journey.clip.path.name}  {journey.video_id}")

    journeys = asyncio.run(_upload(url, key, clips, author, tuple(tag or ()), wait, tell))
    table = Table("clip", "video", *STATIONS, "", box=None)
    for journey in journeys:
        times = (f"{journey.reached_s[station]:.2f} s" if station in journey.reached_s else "–" for station in STATIONS)
        table.add_row(journey.clip.path.name, journey.video_id, *times, journey.failure)
    console.print(table)
    if any(journey.failure for journey in journeys):
        raise typer.Exit(1)


async def _upload(
    url: str | None,
    key: str,
    clips: "list[Clip]",
    author: str,
    tags: tuple[str, ...],
    wait: bool,
    tell: "Callable[[Journey, str], None]",
) -> "list[Journey]":
    from simulation.journey import Journey, follow, send

    journeys = [Journey(clip) for clip in clips]
    async with connected(url, key) as client, asyncio.TaskGroup() as group:
        for journey in journeys:
            await send(client, journey, author_id=author, tags=tags)
            if not journey.failure:
                tell(journey, "accepted")
                if wait:
                    group.create_task(follow(client, journey, tell=tell))
    return journeys
