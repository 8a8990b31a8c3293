"""Questions out of the feedback log: what each page's viewer took and what they left, with the viewer as they were known then.

A page gives a question for a video that its viewer wanted; the others on it, which the ranker had put beside it and the viewer
did not want, are the hardest candidates there are, and after them what it could have shown instead. Viewers are rebuilt page by
page by what the profile flow itself keeps, so that a model learns from the words that it will be told.
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from models.retrieval.log import WANTED
from models.viewers.memory import about, words_of
from models.viewers.questions import Logged, Question
from streams.events import ACTIONS, Interaction
from streams.features import UserActivity, UserHistory, UserInterests, ViewerFeatures
from streams.flows.feedback_log import FeedbackLog
from streams.ports import Video, Videos
from streams.state.viewer import Viewer

# Questions of one viewer, the newest: more, and who scrolls all day, or a machine, decides for all.
EACH_VIEWER = 50
# Of one page: its viewer is told in the same words each time, and a memory of them is no taste.
EACH_PAGE = 2
# Watches from which on a video is not cold, as in the evaluation of retrieval.
COLD = 5
_COLUMNS = [
    "request_id",
    "user_id",
    "video_id",
    "position",
    "actions",
    "watch_ms",
    "reward",
    "served_at",
    "propensity",
    "rivals",
]
_INTERESTS = frozenset(ACTIONS)


@dataclass(frozen=True)
class FromLog:
    """What the feedback log asks: questions, and choices that were left to chance, the oldest first each."""

    questions: list[Question]
    logged: list[Logged]


def from_log(feedback: Path, videos: Videos, *, memory_tokens: int, candidates: int, seed: int, since: str = "") -> FromLog:
    """Return what the feedback log asks from day `since` on.

    Each question has `candidates`, in any order, by the seed, and its viewer in at most `memory_tokens`. Rows whose video is
    gone, or whose numbers are none, are left out, and so is a page that is logged again. What a page's viewer did on it is
    known from the viewer's next page on.
    """
    read = FeedbackLog(feedback).read(_COLUMNS, since=since).to_pylist()
    rows = [row for row in read if None not in (row["served_at"], row["user_id"], row["request_id"], row["position"])]
    rows.sort(key=lambda row: (row["served_at"], row["user_id"], row["request_id"], row["position"]))
    viewers: dict[str, Viewer] = {}
    popularity: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    asked: list[Question] = []
    logged: list[Logged] = []
    done: set[str] = set()
    for request_id, group in groupby(rows, key=lambda row: row["request_id"]):
        page = list({row["video_id"]: row for row in group if _counts(row, videos)}.values())
        if not page or request_id in done:
            continue
        done.add(request_id)
        viewer = viewers.setdefault(page[0]["user_id"], Viewer())
        rng = np.random.default_rng([seed, zlib.crc32(request_id.encode())])
        of = _Page(page, viewer, videos, memory_tokens, popularity, shown, rng)
        asked += of.questions(candidates)
        logged += of.logged(candidates)
        popularity.update(row["video_id"] for row in page if WANTED.intersection(row["actions"]))
        shown.update(video.author_id for row in page if (video := videos.get(row["video_id"])) is not None)
        viewer.apply(_interactions(page), videos, received_at=_ms(page[0]))
    return FromLog(_fair(asked), logged)


def cut_by_time(
    questions: Sequence[Question], *, held_out: float, apart: bool = False
) -> tuple[list[Question], list[Question]]:
    """Return the questions before the newest share `held_out`, and those; `apart`: none of the first of a viewer of those."""
    ordered = sorted(questions, key=lambda question: question.at)
    first = round(len(ordered) * (1 - held_out))
    # All of one moment are on one side: of one page, one must not teach the other.
    while 0 < first < len(ordered) and ordered[first - 1].at == ordered[first].at:
        first -= 1
    before, after = ordered[:first], ordered[first:]
    if apart:
        judged = {question.user_id for question in after}
        before = [question for question in before if question.user_id not in judged]
    return before, after


def _counts(row: dict[str, Any], videos: Videos) -> bool:
    return videos.get(row["video_id"]) is not None and math.isfinite(math.nan if row["reward"] is None else row["reward"])


@dataclass(frozen=True)
class _Page:
    rows: list[dict[str, Any]]
    viewer: Viewer
    videos: Videos
    memory_tokens: int
    popularity: Counter[str]
    shown: Counter[str]
    rng: np.random.Generator

    def questions(self, candidates: int) -> Iterator[Question]:
        """Yield a question for each of the first that were wanted."""
        wanted = [row for row in self.rows if WANTED.intersection(row["actions"])]
        left = [row for row in self.rows if row["actions"] and not WANTED.intersection(row["actions"])]
        unshown = _unshown(self.rows, self.videos)
        if wanted and len(left) + len(unshown) >= candidates - 1:
            for row in sorted(wanted, key=lambda row: -row["reward"])[:EACH_PAGE]:
                others = [left[place] for place in self.rng.permutation(len(left))] + unshown
                yield self._question([row, *others[: candidates - 1]]).shuffled(self.rng)

    def logged(self, candidates: int) -> Iterator[Logged]:
        """Yield one place, drawn, if what was shown is among the likeliest candidates of it."""
        row = self.rows[int(self.rng.integers(len(self.rows)))]
        chances = {row["video_id"]: row["propensity"]} | dict(row["rivals"] or ())
        likeliest = sorted((video for video in chances if self.videos.get(video)), key=lambda video: (-chances[video], video))
        chosen = likeliest[:candidates]
        if len(chosen) == candidates and row["video_id"] in chosen and row["actions"] and row["propensity"] > 0:
            total = sum(chances[video] for video in chosen)
            others = [_unknown(video, len(self.rows)) for video in chosen if video != row["video_id"]]
            question = self._question([row, *others])
            yield Logged(question, tuple(chances[video] / total for video in question.video_ids), float(row["reward"]))

    @cached_property
    def words(self) -> str:
        """Return the viewer in words, as they were known before the page."""
        features = _features(self.viewer, self.rows[0]["user_id"])
        return words_of(features, self.videos.get, now_ms=_ms(self.rows[0]), tokens=self.memory_tokens)

    def _question(self, chosen: Sequence[dict[str, Any]]) -> Question:
        """Return the question for the first of the chosen."""
        found = [video for one in chosen if (video := self.videos.get(one["video_id"])) is not None]
        return Question(
            user_id=self.rows[0]["user_id"],
            viewer=self.words,
            video_ids=tuple(video.video_id for video in found),
            videos=tuple(about(video) for video in found),
            wanted=0,
            gains=tuple(float(one["reward"]) for one in chosen),
            at=_ms(self.rows[0]),
            known=len(self.viewer.history.videos),
            cold=self.popularity[found[0].video_id] <= COLD,
            columns={
                "popularity": tuple(float(self.popularity[video.video_id]) for video in found),
                "watch_shares": tuple(_watch_share(one, video) for one, video in zip(chosen, found, strict=True)),
                "embeddings": tuple(video.embedding for video in found),
                # Each author's places on pages before, in multiples of the mean author's.
                "exposure": tuple(
                    self.shown[video.author_id] * len(self.shown) / max(1, self.shown.total()) for video in found
                ),
                "authors": tuple(video.author_id for video in found),
                "positions": tuple(one["position"] for one in chosen),
            },
        )


def _unshown(page: list[dict[str, Any]], videos: Videos) -> list[dict[str, Any]]:
    """Return what could have been shown instead, the likeliest first, as rows of which nothing is known."""
    shown = {row["video_id"] for row in page}
    chances: dict[str, float] = {}
    for row in page:
        for video_id, chance in row["rivals"] or ():
            if video_id not in shown and videos.get(video_id) is not None:
                chances[video_id] = max(chance, chances.get(video_id, 0.0))
    return [_unknown(each, len(page)) for each in sorted(chances, key=lambda video_id: (-chances[video_id], video_id))]


def _unknown(video_id: str, position: int) -> dict[str, Any]:
    return {"video_id": video_id, "position": position, "reward": 0.0, "watch_ms": 0, "actions": []}


def _fair(questions: list[Question]) -> list[Question]:
    """Return of each viewer the newest."""
    kept: Counter[str] = Counter()
    newest = []
    for question in reversed(questions):
        kept[question.user_id] += 1
        if kept[question.user_id] <= EACH_VIEWER:
            newest.append(question)
    return newest[::-1]


def _interactions(page: Iterable[dict[str, Any]]) -> Iterator[Interaction]:
    for row in page:
        for action in row["actions"]:
            if action in _INTERESTS:
                yield Interaction(
                    event_id=f"{row['request_id']}/{row['position']}/{action}",
                    user_id=row["user_id"],
                    video_id=row["video_id"],
                    action=action,
                    occurred_at=_ms(row),
                    watch_ms=row["watch_ms"],
                )


def _features(viewer: Viewer, user_id: str) -> ViewerFeatures:
    activity = interests = history = None
    for row in viewer.rows(user_id) if viewer.counts else ():
        match row:
            case UserActivity():
                activity = row
            case UserInterests():
                interests = row
            case UserHistory():
                history = row
    return ViewerFeatures(user_id=user_id, activity=activity, interests=interests, history=history)


def _watch_share(row: dict[str, Any], video: Video) -> float:
    if "complete" in row["actions"]:
        return 1.0
    return min(1.0, row["watch_ms"] / video.duration_ms) if row["watch_ms"] and video.duration_ms else 0.0


def _ms(row: dict[str, Any]) -> int:
    served_at: datetime = row["served_at"]
    return round(served_at.timestamp() * 1000)
