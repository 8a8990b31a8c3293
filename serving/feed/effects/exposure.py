"""Count whom a page exposes: its authors, and the new videos on it, in kept places or not."""

from dataclasses import dataclass

from serving.feed.fairness.steering import Fairness
from serving.feed.page import Page
from serving.shelves import Shelves


@dataclass(frozen=True)
class CountExposure:
    """Comes before what was served is taken from new videos' budgets: a video is new on the last page that it is new on."""

    fairness: Fairness
    shelves: Shelves
    name: str = "count-exposure"

    def follow(self, page: Page) -> None:
        rows = page.rows
        self.fairness.count(rows, self.shelves.is_new(rows, now_ms=page.query.now_ms))
