"""Remember what was served: for this viewer, not to repeat it; for each video, against its exploration budget."""

from dataclasses import dataclass

from serving.catalogue import Catalogue
from serving.columns import among
from serving.feed.page import Page
from serving.viewers import LastPages


@dataclass(frozen=True)
class RememberServed:
    catalogue: Catalogue
    last_pages: LastPages
    name: str = "remember-served"

    def follow(self, page: Page) -> None:
        query = page.query
        # Once for each viewer: one who asks for pages all day must not use up what new videos have of exploration.
        self.catalogue.columns.served[page.rows[~among(page.rows, query.seen)]] += 1
        self.last_pages.add(query.user_id, [item.card.video.video_id for item in page.items], now_ms=query.now_ms)
