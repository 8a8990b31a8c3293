"""Viewers that go on through an outage: they page, tap, and send later what was not taken; and what must come of it."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

from feature_repo import store
from feature_repo.reader import FeatureReader
from streams.events import ACTIONS, Feedback, Interaction
from streams.features import UserInterests, ViewerFeatures
from streams.follower import Followed, Follower
from streams.ports import Videos
from streams.state.viewer import Viewer
from streams.topics import FEEDBACK
from tests.faults.world import House, until

VIEWERS = 6
# Far below what the API takes in one request.
AT_ONCE = 100
CATCH_UP_S = 60.0
# Far above what a page takes, and far below what anyone waits for Redis or the broker.
BOUND_S = 3.0


@dataclass
class Refusal:
    """A 503: when to come again, and with which ids."""

    retry_after: str
    event_ids: list[str]


@dataclass
class Page:
    """The answer to a request for a page; status 0: none came."""

    status: int
    took_s: float
    request_id: str | None


@dataclass
class Seen:
    """What the viewers saw. Every event in `accepted` was answered with 202, in this order for each viewer."""

    accepted: dict[str, list[Interaction]] = field(default_factory=lambda: defaultdict(list))
    refusals: list[Refusal] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


class Load:
    """Viewers in threads of their own, each with a page, a few taps and a pause, until `end`. No page waits for a tap."""

    def __init__(self, house: House, videos: list[str], *, name: str) -> None:
        self._house, self._videos = house, videos
        self._ending = threading.Event()
        self.seen = Seen()
        self.errors: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._try_to_live, args=(f"{name}-{number}", random.Random(number)), daemon=True)
            for number in range(VIEWERS)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def accepted(self) -> int:
        assert self.errors == []
        return sum(map(len, self.seen.accepted.values()))

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()

    def end(self) -> Seen:
        """Stop; what was sent and not taken yet is sent until it is."""
        self._ending.set()
        for thread in self._threads:
            thread.join(60.0)
            assert not thread.is_alive(), "a viewer could not hand in the last taps"
        assert self.errors == []
        return self.seen

    def _try_to_live(self, user_id: str, rng: random.Random) -> None:
        try:
            self._live(user_id, rng)
        except Exception as error:
            self.errors.append(error)
            raise

    def _live(self, user_id: str, rng: random.Random) -> None:
        with httpx.Client(timeout=30.0) as http:
            number, again_at = 0, 0.0
            waiting: list[Interaction] = []
            while not self._ending.is_set():
                request_id = self._page(http, user_id)
                for _ in range(rng.randrange(1, 4)):
                    number += 1
                    waiting.append(self._tap(user_id, f"{user_id}-{number}", rng, request_id))
                if time.monotonic() >= again_at:
                    again_at = time.monotonic() + self._hand_in(http, waiting)
                self._ending.wait(0.1)
            while waiting:
                time.sleep(self._hand_in(http, waiting))

    def _page(self, http: httpx.Client, user_id: str) -> str | None:
        began = time.monotonic()
        try:
            page = http.get(f"{self._house.url}/v1/feed", params={"user_id": user_id, "limit": 3})
        except httpx.TransportError:
            self.seen.pages.append(Page(0, time.monotonic() - began, None))
            return None
        request_id = page.json()["request_id"] if page.status_code == 200 else None
        self.seen.pages.append(Page(page.status_code, time.monotonic() - began, request_id))
        return request_id

    def _tap(self, user_id: str, event_id: str, rng: random.Random, request_id: str | None) -> Interaction:
        return Interaction(
            event_id=event_id,
            user_id=user_id,
            video_id=rng.choice(self._videos),
            action=rng.choice(ACTIONS),  # type: ignore[arg-type]
            occurred_at=time.time_ns() // 1_000_000,
            request_id=request_id,
            watch_ms=rng.randrange(20_000),
        )

    def _hand_in(self, http: httpx.Client, waiting: list[Interaction]) -> float:
        """Send the oldest, with the ids they were sent with before, as an app does; return after how many seconds to go on.

        Those that were taken wait no more.
        """
        taps = waiting[:AT_ONCE]
        body = [{key: getattr(tap, key) for key in tap.__struct_fields__} for tap in taps]
        try:
            answer = http.post(f"{self._house.url}/v1/interactions", json=body)
        except httpx.TransportError:
            self.seen.statuses[0] += 1
            return 0.2
        self.seen.statuses[answer.status_code] += 1
        if answer.status_code == 202:
            self.seen.accepted[taps[0].user_id] += taps
            del waiting[: len(taps)]
            return 0.0
        assert answer.status_code == 503, answer.text
        refusal = Refusal(answer.headers["retry-after"], answer.json()["error"]["event_ids"])
        self.seen.refusals.append(refusal)
        return float(refusal.retry_after)


def differences(seen: Seen, read: "dict[str, ViewerFeatures]", videos: Videos) -> list[str]:
    """Return where the features of these viewers are not what their accepted events make of them."""
    wrong = []
    for user_id, events in seen.accepted.items():
        viewer = Viewer()
        viewer.apply(events, videos, max(event.occurred_at for event in events))
        activity, interests, history = viewer.rows(user_id)
        got = read[user_id]
        if got.activity != activity:
            wrong.append(f"{user_id}: {got.activity}, expected {activity}")
        if got.history != history:
            wrong.append(f"{user_id}: {got.history}, expected {history}")
        assert isinstance(interests, UserInterests)
        if got.interests is None or not np.allclose(got.interests.short, interests.short, atol=1e-3):
            wrong.append(f"{user_id}: other interests")
    return wrong


def upload_videos(house: House) -> list[str]:
    """Upload a few videos, and return their ids once they may be shown."""
    named = [f"before-{number}" for number in range(8)]
    words = ("cooking noodles", "jazz guitar", "football goals", "cat robot")
    for number, video_id in enumerate(named):
        upload = {"video_id": video_id, "author_id": f"author-{number}", "title": f"{words[number % 4]} {number}"}
        assert house.http.post("/v1/uploads", json=upload).status_code == 202
    until(lambda: house.videos() >= len(named), what=house.text)
    return named


@contextmanager
def living(house: House, videos: list[str], name: str) -> Iterator[Load]:
    """Give viewers who are at it."""
    with Load(house, videos, name=name) as load:
        until(lambda: load.accepted > 20)
        yield load


def feed_went_on(seen: Seen) -> None:
    """Fail unless every page came, and none after a wait that a viewer would notice as one."""
    assert {page.status for page in seen.pages} == {200}
    assert max(page.took_s for page in seen.pages) < BOUND_S


def catches_up(house: House, seen: Seen, videos: Videos, *, killed: bool = False) -> None:
    """Fail unless every accepted tap is in the features exactly once, and every page has its feedback exactly once.

    Where a process was `killed`, a page that it had just made may have none, and one that it had just closed may have it twice.
    """
    settings, folder = house.settings(), house.folder / "features of the test"
    # Its own registry: the house's may lie on a disk that only the house sees.
    features = settings.features.model_copy(update={"registry": str(folder / "registry.db"), "log": str(folder / "log")})
    store.apply(features)
    reader = FeatureReader(features)
    wrong: list[str] = []

    def equal() -> bool:
        wrong[:] = differences(seen, {user_id: reader.viewer(user_id) for user_id in seen.accepted}, videos)
        return not wrong

    until(equal, within_s=CATCH_UP_S, what=lambda: wrong)
    if killed:
        return
    wanted = {page.request_id for page in seen.pages if page.request_id}
    closed: Counter[str] = Counter()

    def count(batch: list[Followed]) -> None:
        closed.update(f.event.request_id for f in batch if isinstance(f.event, Feedback))

    follower = Follower(settings.kafka, [FEEDBACK], count, name="test-feedback").start(timeout_s=20.0)
    try:
        until(lambda: wanted <= set(closed), within_s=CATCH_UP_S, what=lambda: f"no feedback for {len(wanted - set(closed))}")
    finally:
        follower.close()
    assert {request_id: n for request_id, n in closed.items() if request_id in wanted and n != 1} == {}
