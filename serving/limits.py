"""How often somebody may do something: for each key and each viewer, never for an address, which many share behind a NAT."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from serving.errors import ApiError, ErrorBody
from serving.settings import ApiSettings
from streams.events import Instruction, Interaction

# Of so many names the last word is remembered, 150 bytes each: more are on line at once only on a node that is too busy anyway.
REMEMBERED = 100_000


class Rate:
    """At most `per_s` a second for each name, up to `burst` of them at once where they were saved up.

    A leaky bucket as one number a name, the time at which all that was taken would have been due (GCRA): exact to the event,
    2 µs a call. Not the window counters of the `limits` library, whose memory walks all its names a hundred times a second.
    """

    def __init__(self, per_s: float, burst: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._every_s = 1.0 / per_s
        self._burst_s = burst / per_s
        self._monotonic = monotonic
        self._due: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def wait_s(self, name: str, count: int = 1) -> float:
        """Return 0 where `name` may do it `count` times now, else after how many seconds; nothing is taken."""
        now = self._monotonic()
        cost_s = count * self._every_s
        # More at once than is ever saved up must wait for all of it, not for ever.
        return max(0.0, max(self._due.get(name, now), now) + cost_s - now - max(self._burst_s, cost_s))

    def take(self, name: str, count: int = 1) -> None:
        """Count what `name` does."""
        now, due = self._monotonic(), self._due
        due[name] = max(due.get(name, now), now) + count * self._every_s
        due.move_to_end(name)
        if len(due) > REMEMBERED:
            due.popitem(last=False)


class Limits:
    """The limits of one API node. Each raises the 429 that says how long to wait."""

    def __init__(self, api: ApiSettings) -> None:
        self._api = api
        # A second's worth saved up would refuse an app's backend that sends in bursts.
        self._requests = Rate(api.key_requests_per_s, 10 * api.key_requests_per_s)
        self._events = Rate(api.user_events_per_minute / 60, api.user_events_per_minute)
        self._pages = Rate(api.user_pages_per_minute / 60, api.user_pages_per_minute)

    def request(self, key: str) -> None:
        """Count a request under a key, by the key's name."""
        if wait_s := self._requests.wait_s(key):
            raise _too_many("this key", f"{self._api.key_requests_per_s:g} requests a second (api.key_requests_per_s)", wait_s)
        self._requests.take(key)

    def page(self, user_id: str) -> None:
        """Count a page of a viewer."""
        if wait_s := self._pages.wait_s(user_id):
            bound = f"{self._api.user_pages_per_minute} pages a minute (api.user_pages_per_minute)"
            raise _too_many("this viewer", bound, wait_s, field="user_id")
        self._pages.take(user_id)

    def events(self, events: Sequence[Interaction | Instruction], *, batch: bool = False) -> None:
        """Count viewers' events: all, or where one viewer sent too many none, and `index` names the first of theirs."""
        counts: dict[str, int] = {}
        for event in events:
            counts[event.user_id] = counts.get(event.user_id, 0) + 1
        for user_id, count in counts.items():
            if wait_s := self._events.wait_s(user_id, count):
                bound = f"{self._api.user_events_per_minute} events a minute (api.user_events_per_minute)"
                index = next(at for at, event in enumerate(events) if event.user_id == user_id)
                raise _too_many("this viewer", bound, wait_s, field="user_id", index=index if batch else None)
        for user_id, count in counts.items():
            self._events.take(user_id, count)


def _too_many(who: str, bound: str, wait_s: float, *, field: str | None = None, index: int | None = None) -> ApiError:
    after_s = math.ceil(wait_s)
    message = f"expected at most {bound} of {who}: come again in {after_s} s"
    return ApiError(429, ErrorBody("too-many", message, field, bound, index), {"Retry-After": str(after_s)})
