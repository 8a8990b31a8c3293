"""What a demo has seen so far, and how that looks in a terminal."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulation.audience import Account
from simulation.client import Item
from simulation.journey import STATIONS, Journey
from simulation.probe import Change
from simulation.replay import Tally

# The span of "events a second": shorter jumps about, longer says what was.
RATE_OVER_S = 5.0
# As many as fit on a terminal of 50 lines.
JOURNEYS_SHOWN = 12


@dataclass
class Scene:
    """Written by the demo's actors, read when it is drawn."""

    dataset: str
    clips: int
    address: str = ""
    catalogue: int = 0
    replayed: Tally = field(default_factory=Tally)
    audience: Account = field(default_factory=Account)
    journeys: list[Journey] = field(default_factory=list)
    freshness_ms: deque[float] = field(default_factory=lambda: deque(maxlen=500))
    change: Change | None = None
    trouble: str = ""
    began: float = field(default_factory=time.monotonic)
    _counts: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def complete(self) -> bool:
        """Whether the loop has come full circle: real events in, every clip perceived and shown, a like in the next page."""
        shown = all(journey.video_id in self.audience.first_shown for journey in self.journeys)
        perceived = all("frames" in journey.reached_s for journey in self.journeys)
        return len(self.journeys) == self.clips and shown and perceived and self.change is not None and self.replayed.sent > 0

    def tick(self, catalogue: int) -> None:
        """Take note of what was counted until now."""
        self.catalogue = catalogue
        now = time.monotonic()
        self._counts.append((now, self.events))
        while self._counts[0][0] < now - RATE_OVER_S:
            self._counts.popleft()

    @property
    def events(self) -> int:
        """How many interactions were accepted so far: real ones and the audience's."""
        return self.replayed.sent + self.audience.interactions

    @property
    def events_per_s(self) -> float:
        if len(self._counts) < 2:
            return 0.0
        (since, before), (now, after) = self._counts[0], self._counts[-1]
        return (after - before) / (now - since)

    def line(self) -> str:
        """Return the scene in one line, for a log."""
        shown = sum(journey.video_id in self.audience.first_shown for journey in self.journeys)
        return (
            f"{time.monotonic() - self.began:5.0f} s  {self.events_per_s:6,.0f} events/s  fresh after {self._freshness()}  "
            f"{self.catalogue:,} videos  {shown}/{len(self.journeys)} new clips shown  {self.audience.pages:,} pages"
            + (f"  last like: {self._effect(self.change)}" if self.change else "")
            + (f"  trouble: {self.trouble}" if self.trouble else "")
        )

    def render(self) -> RenderableType:
        """Return the scene for a terminal."""
        return Group(self._numbers(), Text(), self._clips_table(), Text(), *self._pages(), Text(self.trouble, style="red"))

    def summary(self) -> RenderableType:
        """Return what there was to see, for the end."""
        return Group(
            self._clips_table(),
            Text(),
            *self._pages(),
            Text(
                f"{self.events:,} interactions ({self.replayed.sent:,} real from {self.dataset}, "
                f"{self.audience.interactions:,} simulated), {self.replayed.failed + self.audience.failures} failed; "
                f"a tap was in the next page after {self._freshness()}; {self.catalogue:,} videos; "
                f"{self.audience.pages:,} pages for simulated viewers, {self.audience.instructions} instructions"
            ),
        )

    def _numbers(self) -> RenderableType:
        table = Table.grid(padding=(0, 3))
        table.add_row(
            f"[bold]{self.events_per_s:,.0f}[/bold] events/s",
            f"a tap is in the next page after [bold]{self._freshness()}[/bold]",
            f"[bold]{self.catalogue:,}[/bold] videos",
            f"[bold]{self.audience.pages:,}[/bold] pages for simulated viewers",
        )
        where = Text(f"{self.address}/docs   real events: {self.dataset}   viewers named sim-… are simulated", style="dim")
        return Group(table, where)

    def _freshness(self) -> str:
        if not self.freshness_ms:
            return "–"
        middle, worst = np.percentile(self.freshness_ms, [50, 99])
        return f"{middle:.0f} ms (p99 {worst:.0f} ms)"

    def _clips_table(self) -> RenderableType:
        table = Table(
            "new video",
            *STATIONS,
            "first shown",
            title="seconds since each clip's upload began",
            title_justify="left",
            box=None,
        )
        for journey in self.journeys[-JOURNEYS_SHOWN:]:
            times = [f"{journey.reached_s[station]:.2f} s" if station in journey.reached_s else "…" for station in STATIONS]
            shown = self.audience.first_shown.get(journey.video_id)
            times.append(journey.failure or ("…" if shown is None else f"{shown - journey.began:.2f} s"))
            table.add_row(journey.clip.title, *times)
        return table

    def _pages(self) -> Iterator[RenderableType]:
        if self.change is None:
            return
        change = self.change
        yield Text(
            f"{change.before.user_id} liked {', '.join(repr(item.title) for item in change.liked)}: {self._effect(change)}"
        )
        table = Table("before", "after", "because", box=None, expand=True)
        for column in table.columns:
            column.no_wrap, column.overflow, column.ratio = True, "ellipsis", 1
        for before, after in zip_longest(change.before.items, change.after.items):
            table.add_row(_titled(before, change.topic), _titled(after, change.topic), Text(after.reason if after else ""))
        yield table

    def _effect(self, change: Change) -> str:
        return f"{change.topic} {change.share(change.before)} → {change.share(change.after)} after {change.took_ms:.0f} ms"


def _titled(item: Item | None, topic: str) -> Text:
    if item is None:
        return Text()
    return Text(item.title, style="bold green" if topic in item.topics else "")
