"""The ranker's features of a page's candidates, made in a few numpy calls: what is scored, and what the slate tells of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranking.features import (
    AT,
    FRESH_HALF_LIFE_H,
    LONGEST_IDLE_S,
    NAMES,
    PRIOR_RATES,
    RECENT,
    VIDEO_PRIOR,
    VIEWER_PRIOR,
    Matrix,
    bounded,
)
from serving.catalogue import Catalogue
from serving.columns import Floats, among
from serving.feed.candidates import Candidates
from serving.feed.query import Query
from serving.feed.scorers.plan_rank import ranks
from serving.feed.scorers.wanted import wanted
from streams.state.decay import Decay
from streams.state.history import KEPT
from streams.state.interests import DIMENSIONS, SHORT_HALF_LIFE_MS

_HOUR_MS = 3_600_000
# Features that are a rate of a video's counts, in the order in which they stand side by side, and the counts.
_RATES = {
    "video_play_rate": "plays", "video_complete_rate": "completions", "video_watch_share": "watch_share",
    "video_like_rate": "likes", "video_share_rate": "shares", "video_comment_rate": "comments", "video_skip_rate": "skips",
    "video_report_rate": "reports",
}  # fmt: skip
_FIRST_RATE = AT["video_play_rate"]
_SHARE = list(_RATES).index("video_watch_share")
_PRIOR = np.array([[PRIOR_RATES[name]] for name in _RATES.values()], np.float32)


@dataclass(frozen=True)
class RankingFeatures:
    """Makes the features. Each row is of its candidate alone: which others there are changes nothing."""

    catalogue: Catalogue
    name: str = "features"

    def of(self, query: Query, candidates: Candidates) -> Matrix:
        """Return the features, (n, f), of candidates whose vectors were looked up."""
        # A row a feature while they are made: what is written at once lies side by side.
        made = np.zeros((len(NAMES), len(candidates)), np.float32)
        for name, value in _viewer(query).items():
            made[AT[name]] = value
        self._video(query, candidates, made)
        self._interest(query, candidates, made)
        self._author(query, candidates, made)
        made[AT["plan_rank"]] = ranks(self.catalogue, query, candidates)
        made[AT["tower"]] = wanted(query, candidates)
        return bounded(made)

    def _video(self, query: Query, candidates: Candidates, made: Matrix) -> None:
        columns, rows = self.catalogue.columns, candidates.rows
        impressions, counts, watch_share = columns.counts(rows, query.now_ms, tuple(_RATES.values()))
        # Of the share watched there is no count, but a mean.
        counts[_SHARE] = watch_share * impressions
        made[_FIRST_RATE : _FIRST_RATE + len(_RATES)] = (counts + VIDEO_PRIOR * _PRIOR) / (impressions + VIDEO_PRIOR)
        age_h = np.maximum(0, query.now_ms - columns.uploaded_at[rows]).astype(np.float32) / np.float32(_HOUR_MS)
        made[AT["video_impressions"]] = np.log1p(impressions)
        made[AT["video_shown"]] = np.log1p(columns.shown(rows).astype(np.float32))
        made[AT["video_age"]] = np.log1p(age_h)
        made[AT["video_freshness"]] = np.exp2(-age_h / np.float32(FRESH_HALF_LIFE_H))
        made[AT["video_duration"]] = np.log1p(columns.duration_ms[rows].astype(np.float32) / 1000)
        made[AT["video_live"]] = columns.live[rows]
        made[AT["video_unsafe"]] = columns.unsafe[rows]

    def _interest(self, query: Query, candidates: Candidates, made: Matrix) -> None:
        taste, interests = query.taste, query.viewer.interests
        likes = len(taste.liked_vectors)
        towards = [*taste.liked_vectors]
        if interests is not None:
            towards += [interests.short, interests.long]
        if len(taste.interests):
            towards.append(taste.weights @ taste.interests)
        if not towards:
            return
        # One product for all of them, in whole eights: with seven the matrix kernels take twice the time.
        directions = np.zeros((-(-len(towards) // 8) * 8, DIMENSIONS), np.float32)
        directions[: len(towards)] = towards
        near = (candidates.embedded() @ directions.T).T
        if likes:
            made[AT["nearest_liked"]] = near[:likes].max(axis=0)
        if interests is not None:
            made[AT["interest_short"]], made[AT["interest_long"]] = near[likes], near[likes + 1]
        if len(taste.interests):
            made[AT["interest"]] = near[len(towards) - 1]

    def _author(self, query: Query, candidates: Candidates, made: Matrix) -> None:
        history = query.viewer.history
        if history is None:
            return
        authors = self.catalogue.columns.author[candidates.rows]
        if history.followed:
            made[AT["author_followed"]] = among(authors, self.catalogue.authors(history.followed))
        seen, liked = self._of_authors(history.video_ids, history.weights, authors)
        made[AT["author_seen"]] = np.log1p(seen)
        made[AT["author_liked"]] = liked

    def _of_authors(self, video_ids: list[str], weights: list[float], authors: NDArray[np.int32]) -> tuple[Floats, Floats]:
        """Return how many of those videos are by each of `authors`, (n,), and the sum of their weights."""
        known = self.catalogue
        found = [(known.row(video_id), weight) for video_id, weight in zip(video_ids, weights, strict=True)]
        rows = [(row, weight) for row, weight in found if row is not None]
        if not rows:
            return np.zeros(len(authors), np.float32), np.zeros(len(authors), np.float32)
        by = known.columns.author[np.array([row for row, _ in rows], np.int64)]
        order = np.argsort(by)
        begin, end = (np.searchsorted(by[order], authors, side) for side in ("left", "right"))
        so_far = np.concatenate([[0.0], np.cumsum([rows[at][1] for at in order.tolist()])])
        return (end - begin).astype(np.float32), (so_far[end] - so_far[begin]).astype(np.float32)


def _viewer(query: Query) -> dict[str, float]:
    viewer, found = query.viewer, {"viewer_idle": float(np.log1p(LONGEST_IDLE_S))}
    activity, interests, history = viewer.activity, viewer.interests, viewer.history
    if viewer.as_of:
        idle_s = min(LONGEST_IDLE_S, max(0, query.now_ms - viewer.as_of) / 1000)
        found |= {"viewer_known": 1.0, "viewer_idle": float(np.log1p(idle_s))}
    counts = (0, 0, 0, 0)
    if activity is not None:
        counts = (activity.impressions, activity.completes, activity.likes, activity.skips)
        found |= {
            "viewer_events": float(np.log1p(activity.events)),
            "viewer_session_events": float(np.log1p(activity.session_events)),
            "viewer_session_watch": float(np.log1p(activity.session_watch_ms / 1000)),
            "viewer_skip_streak": float(activity.skip_streak),
        }
    rates = ("complete", "completions"), ("like", "likes"), ("skip", "skips")
    for (name, prior), count in zip(rates, counts[1:], strict=True):
        found[f"viewer_{name}_rate"] = (count + VIEWER_PRIOR * PRIOR_RATES[prior]) / (counts[0] + VIEWER_PRIOR)
    if interests is not None:
        mass = Decay(SHORT_HALF_LIFE_MS, interests.as_of).value(interests.short_weight, query.now_ms)
        found["viewer_mood"] = float(np.log1p(max(0.0, mass)))
    if history is not None and history.weights:
        recent = history.weights[-RECENT:]
        found |= {"viewer_history": len(history.weights) / KEPT, "viewer_recent": sum(recent) / len(recent)}
    return found
