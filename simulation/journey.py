"""One clip's way into the feed, seen from outside: accepted, perceived from its title, perceived from its frames."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from simulation.client import Client, Refused
from simulation.clips import Clip

STATIONS = ("accepted", "title", "frames")
# A clip waits for those before it: this long without its frames means that the perceive flow is away.
FRAMES_TIMEOUT_S = 120.0
# Finer than anything a person notices; each look is a request that the feed's process answers.
LOOK_EVERY_S = 0.02


@dataclass
class Journey:
    """Where one clip is: seconds since its upload began, by station. `failure` says why it got no further."""

    clip: Clip
    video_id: str = ""
    began: float = 0.0
    reached_s: dict[str, float] = field(default_factory=dict)
    failure: str = ""

    def reach(self, station: str) -> bool:
        """Note that the clip is at `station`; return whether it was not there before."""
        new = station not in self.reached_s
        self.reached_s.setdefault(station, time.monotonic() - self.began)
        return new


async def send(client: Client, journey: Journey, *, author_id: str, tags: tuple[str, ...] = ()) -> None:
    """Upload the journey's clip."""
    journey.began = time.monotonic()
    try:
        journey.video_id = await client.upload_file(journey.clip.path, title=journey.clip.title, author_id=author_id, tags=tags)
        journey.reach("accepted")
    except Refused as refused:
        journey.failure = str(refused)


async def follow(
    client: Client, journey: Journey, *, tell: Callable[[Journey, str], None] | None = None, look_every_s: float = LOOK_EVERY_S
) -> None:
    """Watch the catalogue until it has the clip's frames; `tell` is called at each new station."""
    deadline = time.monotonic() + FRAMES_TIMEOUT_S
    while "frames" not in journey.reached_s:
        known = await client.video(journey.video_id)
        reached = STATIONS[1 : STATIONS.index(known["stage"]) + 1] if known is not None else ()
        for station in reached:
            if journey.reach(station) and tell is not None:
                tell(journey, station)
        if time.monotonic() > deadline:
            journey.failure = f"no frames perceived within {FRAMES_TIMEOUT_S:g} s"
            return
        await asyncio.sleep(look_every_s)
