"""What is in the features, the feedback and the topics, held against what was accepted: each event once, each page answered.

The counts are made anew from the accepted events, without the flows' code. What became of a page depends on when the broker had
each event, so it is computed from the topics of slates and interactions.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow.compute as pc
import pyarrow.dataset as ds

from bench.traffic import Ledger
from streams.codec import BadEvent, check_time, decode
from streams.events import DeadLetter, Feedback, Interaction, Slate
from streams.follower import Followed, Follower
from streams.kafka import KafkaSettings
from streams.settings import FlowSettings
from streams.topics import BY_NAME, DEAD_LETTERS, FEEDBACK, INTERACTIONS, SLATES, Topic

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.reader import FeatureReader

T = TypeVar("T")

# The columns of `user_activity` that are plain counts, and the action of each; `events` counts all.
VIEWER_COUNTS = {"impressions": "impression", "plays": "play", "completes": "complete", "likes": "like", "skips": "skip"}
# Those of `video_engagement`, each decayed with a half-life of a day since the event; of one viewer each counts once a day.
VIDEO_COUNTS = {"impressions": "impression", "plays": "play", "completions": "complete", "likes": "like", "skips": "skip"}
HALF_LIFE_MS = 86_400_000
# Sums of the same numbers in another order differ by rounding.
ROUNDING = 1e-6

Counts = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Difference:
    """How much is missing and how much is too much, and of whom the first few are."""

    lost: float
    doubled: float
    examples: tuple[str, ...] = ()


def viewers_of(events: Iterable[Interaction]) -> Counts:
    """Return what `user_activity` must say of each viewer."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    names = {action: name for name, action in VIEWER_COUNTS.items()}
    for event in events:
        of_viewer = counts[event.user_id]
        of_viewer["events"] += 1
        if event.action in names:
            of_viewer[names[event.action]] += 1
    return {user: {name: of_viewer[name] for name in ("events", *VIEWER_COUNTS)} for user, of_viewer in counts.items()}


def videos_of(events: Iterable[Interaction]) -> Counts:
    """Return what `video_engagement` must say of each video, for events of less than a day."""
    names = {action: name for name, action in VIDEO_COUNTS.items()}
    first: dict[tuple[str, str, str], int] = {}
    newest: dict[str, int] = {}
    for event in events:
        if event.action not in names and event.action not in ("leave", "report", "share", "comment"):
            continue
        key = event.video_id, event.user_id, event.action
        if key not in first:
            newest[event.video_id] = max(newest.get(event.video_id, 0), event.occurred_at)
        first.setdefault(key, event.occurred_at)
    counts: Counts = {video: dict.fromkeys((*VIDEO_COUNTS, "total_impressions"), 0.0) for video in newest}
    for (video, _, action), at in first.items():
        if action in names:
            counts[video][names[action]] += 2.0 ** ((at - newest[video]) / HALF_LIFE_MS)
            counts[video]["total_impressions"] += action == "impression"
    return counts


def read_viewers(reader: "FeatureReader", users: Iterable[str]) -> Counts:
    """Return what `user_activity` says of `users`."""
    found = {}
    for user in users:
        activity = reader.viewer(user).activity
        found[user] = {name: float(getattr(activity, name)) if activity else 0.0 for name in ("events", *VIEWER_COUNTS)}
    return found


def read_videos(store: "FeatureStore", videos: Iterable[str]) -> Counts:
    """Return what `video_engagement` says of `videos`."""
    names = (*VIDEO_COUNTS, "total_impressions")
    found: Counts = {}
    asked = list(videos)
    for start in range(0, len(asked), 100):
        some = asked[start : start + 100]
        answer = store.get_online_features(
            [f"video_engagement:{name}" for name in names], [{"video_id": video} for video in some]
        ).to_dict()
        for place, video in enumerate(some):
            found[video] = {name: float(answer[name][place] or 0.0) for name in names}
    return found


def difference(expected: Counts, found: Counts) -> Difference:
    """Compare counts, column by column."""
    lost = doubled = 0.0
    examples = []
    for whose, counts in expected.items():
        for name, count in counts.items():
            got = found[whose][name]
            if abs(got - count) > ROUNDING * max(1.0, count):
                lost, doubled = lost + max(0.0, count - got), doubled + max(0.0, got - count)
                examples.append(f"{whose}: {name} {got:g}, not {count:g}")
    return Difference(round(lost, 3), round(doubled, 3), tuple(examples[:5]))


class Topics:
    """All that is in the topics that the audit needs, read as it comes."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.events: dict[Topic, list[Followed]] = {topic: [] for topic in (INTERACTIONS, SLATES, FEEDBACK, DEAD_LETTERS)}
        self.follower = Follower(kafka, list(self.events), self._take_in, wait_ms=200, name="bench-audit")

    def _take_in(self, batch: list[Followed]) -> None:
        for followed in batch:
            self.events[followed.topic].append(followed)

    def feedback(self) -> dict[str, list[Feedback]]:
        """Return the feedback of each page; several where it was published again after a crash."""
        found: defaultdict[str, list[Feedback]] = defaultdict(list)
        for followed in list(self.events[FEEDBACK]):
            found[followed.event.request_id].append(followed.event)
        return dict(found)

    def slates(self) -> dict[str, tuple[Slate, int]]:
        """Return the pages that the broker has, each with when it had them, Unix ms."""
        return {each.event.request_id: (each.event, each.appended_at) for each in list(self.events[SLATES])}


def outcomes(topics: Topics, settings: FlowSettings) -> dict[str, dict[str, tuple[frozenset[str], int]]]:
    """Return what must have become of each page: by video, the actions within its window, and the longest time watched."""
    by_page: defaultdict[str, list[tuple[int, Interaction]]] = defaultdict(list)
    known: set[str] = set()
    for followed in topics.events[INTERACTIONS]:
        event = followed.event
        if isinstance(event, Interaction) and event.request_id is not None and event.event_id not in known:
            known.add(event.event_id)
            by_page[event.request_id].append((followed.appended_at, event))
    found = {}
    for request_id, (slate, opened_at) in topics.slates().items():
        last_at, longest = opened_at, slate.served_at + settings.feedback_max_s * 1000
        done: dict[str, tuple[frozenset[str], int]] = {item.video_id: (frozenset(), 0) for item in slate.items}
        for at, event in by_page[request_id]:
            if at >= min(last_at + settings.feedback_silence_s * 1000, longest):
                break
            last_at = max(last_at, at)
            if event.video_id in done:
                actions, watch_ms = done[event.video_id]
                done[event.video_id] = actions | {event.action}, max(watch_ms, event.watch_ms or 0)
        found[request_id] = done
    return found


def wrong(
    feedback: Mapping[str, list[Feedback]], expected: Mapping[str, Mapping[str, tuple[frozenset[str], int]]]
) -> list[str]:
    """Return what is wrong with each page whose feedback, or one of it where there are several, is not as it must be."""
    found = []
    for request_id, must in expected.items():
        for each in feedback.get(request_id, ()):
            seen = {item.video_id: (frozenset(item.actions), item.watch_ms) for item in each.items}
            if seen != must:
                # The videos of both are those of the slate.
                missing = sum(len(actions - seen[video][0]) for video, (actions, _) in must.items())
                extra = sum(len(seen[video][0] - actions) for video, (actions, _) in must.items())
                closed_s = (each.closed_at - each.served_at) / 1000
                found.append(
                    f"{request_id}: {missing} actions missing, {extra} too many, closed {closed_s:.1f} s after it was served"
                )
                break
    return found


def log_rows(folder: Path) -> Counter[str]:
    """Return how often each page is in the Parquet log of feedback: as often as its first place is."""
    if not any(folder.glob("**/*.parquet")):
        return Counter()
    table = ds.dataset(folder, partitioning="hive").to_table(columns=["request_id", "position"])
    first = table.filter(pc.equal(table["position"], 0))
    return Counter(first["request_id"].to_pylist())


def causeless(letters: Iterable[DeadLetter]) -> list[str]:
    """Return the dead letters whose input is good: they have no cause."""
    found = []
    for letter in letters:
        try:
            event: Any = decode(BY_NAME[letter.origin], letter.payload)
            if letter.origin in (INTERACTIONS.name, "uploads"):
                check_time(event, received_at=letter.failed_at)
        except BadEvent:
            continue
        found.append(f"{letter.letter_id}: {letter.reason}")
    return found


def settled(look: Callable[[], T], done: Callable[[T], bool], *, timeout_s: float) -> T:
    """Return what `look` sees once it is `done`, or when nothing about it changed for `timeout_s`."""
    last, since = look(), time.monotonic()
    while not done(last) and time.monotonic() < since + timeout_s:
        time.sleep(0.5)
        seen = look()
        if seen != last:
            last, since = seen, time.monotonic()
    return last


def expected_pages(ledger: Ledger, slates: Mapping[str, object]) -> list[str]:
    """Return the served pages that the broker does not have: their API died before it had handed them over."""
    return [request_id for request_id in ledger.pages if request_id not in slates]
