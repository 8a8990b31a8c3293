"""What a viewer notices of the loop, measured from outside: how soon a tap is in the next page, and what it changes there."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from simulation.client import Client, Item, Page
from streams.events import Action, Interaction

# A page is asked for, again and again, until it knows of the tap; a shorter pause would be load on what is measured.
LOOK_EVERY_S = 0.004
TIMEOUT_S = 10.0
LIKED_AT_ONCE = 3


async def freshness_s(client: Client, user_id: str) -> float | None:
    """Return the seconds from a tap's acceptance to a page that knows of it; None where there is no page to tap on.

    Raises:
        TimeoutError: no page knew of it in time.
    """
    page = await client.feed(user_id, limit=1)
    return await tap(client, page, [(page.items[0], "play")]) if page.items else None


@dataclass(frozen=True)
class Change:
    """A viewer's page before and after liking the videos of one topic, and the ms from the likes to the page that knows."""

    topic: str
    liked: tuple[Item, ...]
    before: Page
    after: Page
    took_ms: float

    def share(self, page: Page) -> str:
        """Return how many videos of `page` are about the topic."""
        return f"{sum(self.topic in item.topics for item in page.items)} of {len(page.items)}"


async def like_a_topic(client: Client, user_id: str) -> Change | None:
    """Like up to three videos of one topic on the viewer's page and return what that did; None where no video has a topic."""
    before = await client.feed(user_id)
    topics = Counter(topic for item in before.items for topic in item.topics)
    if not topics:
        return None
    # Of the rarest topic there is the most to see: a page full of comedy can't show more of it. But of one that is on the page
    # once there may be no other video.
    topic = min(topics, key=lambda name: (topics[name] == 1, topics[name]))
    liked = tuple(item for item in before.items if topic in item.topics)[:LIKED_AT_ONCE]
    done: list[tuple[Item, Action]] = [(item, "impression") for item in before.items]
    done += [(item, action) for item in liked for action in ("play", "complete", "like")]
    took_s = await tap(client, before, done)
    return Change(topic, liked, before, await client.feed(user_id), took_s * 1000)


async def tap(client: Client, page: Page, done: list[tuple[Item, Action]]) -> float:
    """Report what was done on `page` and return the seconds from the API's 202 to the first page that knows of it.

    Raises:
        TimeoutError: no page knew of it in time.
    """
    now = time.time_ns() // 1_000_000
    await client.interact(
        [
            Interaction(
                event_id=f"{page.request_id}-{number}",
                user_id=page.user_id,
                video_id=item.video_id,
                action=action,
                occurred_at=now,
                request_id=page.request_id,
                position=item.position,
            )
            for number, (item, action) in enumerate(done)
        ]
    )
    accepted = time.monotonic()
    async with asyncio.timeout(TIMEOUT_S):
        while (await client.feed(page.user_id, limit=1)).as_of < now:
            await asyncio.sleep(LOOK_EVERY_S)
    return time.monotonic() - accepted
