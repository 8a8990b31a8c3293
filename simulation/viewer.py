"""How one simulated viewer behaves: taste and traits in, a page in, interactions and perhaps a wish out. No I/O.

Traits follow Agent4Rec (activity, diversity, conformity); the page is gone through item by item, and who is about to leave
says what is wrong, as in RecoWorld. Chance comes only from the generator that is passed in.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from simulation.client import Item, Page
from streams.events import Action, Interaction

# Where a video's length is not known: the median of short videos.
USUAL_DURATION_MS = 15_000
# Interest in what a viewer has no opinion of: some such videos are watched, few are liked.
INDIFFERENT = 0.25


@dataclass(frozen=True)
class Traits:
    """In 0..1 each: how often a viewer comes, how little else than the favourites it takes, how far it follows the crowd."""

    activity: float
    pickiness: float
    conformity: float


@dataclass(frozen=True)
class Reaction:
    """What came of a page: interactions in order, an instruction where the viewer was bored, and whether it left."""

    interactions: tuple[Interaction, ...]
    instruction: str | None
    left: bool


@dataclass
class Viewer:
    """A viewer with likes and dislikes, topic by topic in -1..1; `pages` counts this visit's, for fatigue."""

    user_id: str
    taste: dict[str, float]
    traits: Traits
    session_id: str
    pages: int = field(default=0)

    def interest(self, item: Item) -> float:
        """Return how much this viewer wants to see `item`, 0..1: the strongest opinion on what it is about counts."""
        about = {topic.casefold() for topic in item.topics} | set(item.title.casefold().split())
        opinions = [weight for topic, weight in self.taste.items() if topic.casefold() in about]
        if not opinions:
            crowd = 0.5 if item.source.startswith("popular") else 0.0
            return (INDIFFERENT + self.traits.conformity * crowd) * (1 - 0.5 * self.traits.pickiness)
        strongest = max(opinions, key=abs)
        return min(1.0, max(0.0, 0.5 + 0.5 * strongest))

    def react(self, page: Page, rng: Random, *, now: int) -> Reaction:
        """Return what the viewer does with `page` at `now` (Unix ms). Watching takes no time here, only `watch_ms`."""
        self.pages += 1
        numbers = itertools.count()
        interactions: list[Interaction] = []
        bored, disliked = 0, ""
        # Patience shrinks with the visit: after two and after four pages a person tires.
        patience = (4 if self.pages <= 2 else 3 if self.pages <= 4 else 2) + round(2 * (1 - self.traits.pickiness))
        for item in page.items:
            interest = self.interest(item)
            actions = self._actions(item, interest, rng)
            interactions += (self._event(page, item, *action, now, next(numbers)) for action in actions)
            bored = bored + 1 if actions[-1][0] in ("skip", "not_interested") else 0
            if interest < INDIFFERENT and item.topics:
                disliked = item.topics[0]
            if bored >= patience:
                interactions.append(self._event(page, item, "leave", None, now, next(numbers)))
                return Reaction(tuple(interactions), self._wish(disliked), left=True)
        return Reaction(tuple(interactions), None, left=False)

    def _actions(self, item: Item, interest: float, rng: Random) -> list[tuple[Action, int | None]]:
        duration = item.duration_ms or USUAL_DURATION_MS
        # Beta with mean `interest`: taste decides, a mood blurs it.
        share = rng.betavariate(0.2 + 4 * interest, 0.2 + 4 * (1 - interest))
        watch_ms = round(share * duration)
        actions: list[tuple[Action, int | None]] = [("impression", None)]
        if share < 0.15:
            return [*actions, ("not_interested" if interest < 0.1 and rng.random() < 0.3 else "skip", watch_ms)]
        actions.append(("play", None))
        actions.append(("complete", duration) if share > 0.9 else ("progress", watch_ms))
        if rng.random() < 0.5 * interest**2:
            actions.append(("like", None))
        for action, chance in RARER.items():
            if rng.random() < chance * interest**2:
                actions.append((action, None))
        return actions

    def _event(self, page: Page, item: Item, action: Action, watch_ms: int | None, now: int, number: int) -> Interaction:
        return Interaction(
            event_id=f"{page.request_id}-{number}",
            user_id=self.user_id,
            video_id=item.video_id,
            action=action,
            occurred_at=now,
            request_id=page.request_id,
            session_id=self.session_id,
            position=item.position,
            watch_ms=watch_ms,
        )

    def _wish(self, disliked: str) -> str | None:
        favourite = max(self.taste, key=lambda topic: self.taste[topic], default="")
        if not favourite:
            return None
        return f"less {disliked}, more {favourite}" if disliked and disliked != favourite else f"more {favourite}"


RARER: dict[Action, float] = {"share": 0.08, "follow": 0.06, "comment": 0.05}


def draw_viewers(count: int, topics: Sequence[str], rng: Random) -> list[Viewer]:
    """Return `count` viewers named sim-0, sim-1, …, each with two to four favourite topics and up to two disliked ones."""
    viewers = []
    for number in range(count):
        traits = Traits(activity=rng.choice((0.2, 0.5, 1.0)), pickiness=rng.random(), conformity=rng.random())
        chosen = rng.sample(list(topics), min(len(topics), rng.randint(2, 6)))
        loved, disliked = chosen[: max(2, len(chosen) - 2)], chosen[max(2, len(chosen) - 2) :]
        taste = {topic: rng.uniform(0.5, 1.0) for topic in loved} | {topic: rng.uniform(-1.0, -0.5) for topic in disliked}
        viewers.append(Viewer(f"sim-{number}", taste, traits, session_id=f"sim-{number}-0"))
    return viewers
