"""The simulated audience at work: it fetches pages and reports what its viewers do, through the public API only.

Its viewers are called `sim-…`, so what they did can always be told from what people did.
"""

import asyncio
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from random import Random

from simulation.client import Client, Page, Refused
from simulation.settings import AudienceSettings
from simulation.viewer import Reaction, Viewer, draw_viewers

# Pages on their way at once: when the API is slower than the audience, the audience waits instead of piling up.
AT_ONCE = 8


@dataclass
class Account:
    """What the audience did so far. Times are `time.monotonic()`, by video: when one was shown first, and last."""

    pages: int = 0
    interactions: int = 0
    instructions: int = 0
    failures: int = 0
    last_failure: str = ""
    first_shown: dict[str, float] = field(default_factory=dict)
    last_shown: dict[str, float] = field(default_factory=dict)


def topics() -> tuple[str, ...]:
    """Return the names of the topics in the perception agent's taxonomy."""
    return tuple(tomllib.loads(files("models.perception").joinpath("topics.toml").read_text(encoding="utf-8")))


class Audience:
    """A seeded crowd, with favourites among the topics that videos are perceived by. `account` may be read while it runs."""

    def __init__(
        self,
        client: Client,
        settings: AudienceSettings,
        *,
        on_page: Callable[[Viewer, Page, Reaction], None] | None = None,
    ) -> None:
        self.account = Account()
        self._client = client
        self._settings = settings
        self._rng = Random(settings.seed)
        self._viewers = draw_viewers(settings.viewers, topics(), self._rng)
        self._visits = 0
        self._on_page = on_page

    async def run(self) -> None:
        """Visit until cancelled, at most `pages_per_s` pages a second over all viewers."""
        slots = asyncio.Semaphore(AT_ONCE)
        activity = [viewer.traits.activity for viewer in self._viewers]
        busy: set[str] = set()

        async def visit(viewer: Viewer) -> None:
            try:
                await self._visit(viewer)
            finally:
                busy.discard(viewer.user_id)
                slots.release()

        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                viewer = self._rng.choices(self._viewers, activity)[0]
                if viewer.user_id in busy:
                    slots.release()
                else:
                    busy.add(viewer.user_id)
                    group.create_task(visit(viewer))
                await asyncio.sleep(1 / self._settings.pages_per_s)

    async def _visit(self, viewer: Viewer) -> None:
        try:
            page = await self._client.feed(viewer.user_id, limit=self._settings.page_size)
            shown = time.monotonic()
            for item in page.items:
                self.account.first_shown.setdefault(item.video_id, shown)
                self.account.last_shown[item.video_id] = shown
            reaction = viewer.react(page, self._rng, now=time.time_ns() // 1_000_000)
            if reaction.interactions:
                await self._client.interact(reaction.interactions)
            if reaction.instruction is not None and self._settings.instructions:
                await self._client.instruct(viewer.user_id, reaction.instruction)
                self.account.instructions += 1
        except (Refused, ConnectionError) as error:
            # A viewer who meets an error comes again later; the count and the last one are shown.
            self.account.failures += 1
            self.account.last_failure = str(error) or type(error).__name__
            return
        self.account.pages += 1
        self.account.interactions += len(reaction.interactions)
        if reaction.left:
            self._visits += 1
            viewer.pages = 0
            viewer.session_id = f"{viewer.user_id}-{self._visits}"
        if self._on_page is not None:
            self._on_page(viewer, page, reaction)
