"""Questions out of a log cut leave-one-out: which video came next, among those that a recommender finds likeliest (VRAgent-R1).

Negatives are hard: the first of a recommender's whole ranking, or those that it ranks around the wanted video. Among the first
the wanted one is mostly what the recommender likes least, which whoever knows its taste can learn; around it, its ranking tells
nothing. A question knows the past of its viewer only, and the recommender what was watched before the cut.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from models.ranking.evaluation.leave_one_out import TOGETHER, Held, Recommender, Scores, Split
from models.retrieval.log import History, Rows, WatchLog
from models.viewers.evaluation.protocol import Negatives
from models.viewers.memory import about, words_of
from models.viewers.questions import Question
from streams.features import UserHistory, UserInterests, ViewerFeatures
from streams.ports import Video
from streams.state.interests import Interests

# As many as questions choose their others from: more are less hard, fewer are the same few for everybody.
HARD = 10
# Of a viewer's past, as much as the profile flow keeps.
KEPT = 200

Find = Callable[[str], Video | None]


@dataclass(frozen=True)
class Moments:
    """Watches to be asked about: n held-out ones, `held`, whose they are, (n,), and when they were, `at` (n,), Unix ms."""

    held: Held
    viewers: tuple[str, ...]
    at: Rows

    def chosen(self, rows: Rows) -> "Moments":
        """Return these of them, in this order."""
        histories = tuple(self.held.histories[row] for row in rows)
        held = Held(histories, self.held.wanted[rows], self.held.cold[rows])
        return Moments(held, tuple(self.viewers[row] for row in rows), self.at[rows])


@dataclass(frozen=True)
class Asked:
    """A question, and what else is known at its moment: the viewer's features, and each candidate's rank by the recommender.

    Ranks are among all videos that the viewer had not watched, by video id, 0 first.
    """

    question: Question
    viewer: ViewerFeatures
    ranks: Mapping[str, float]


def moments(log: WatchLog, cut: Split) -> tuple[Moments, Moments]:
    """Return what is held out of a log for validation, to learn from, and for the test, to be judged by, viewer by viewer."""
    viewers = np.flatnonzero(log.lengths >= 3)
    names = tuple(log.viewer_ids[viewer] for viewer in viewers)
    ends = log.bounds[viewers + 1]
    return Moments(cut.validation, names, log.at[ends - 2]), Moments(cut.test, names, log.at[ends - 1])


def drawn(viewers: int, *, judged: int, learned: int, taught: int = 0, seed: int) -> tuple[Rows, Rows, Rows]:
    """Return which of so many viewers are judged, and which others are learned from and taught by, in the order of their rows.

    The same seed judges the same viewers, however many others there are.
    """
    order = np.random.default_rng(seed).permutation(viewers)
    others = order[judged:]
    return np.sort(order[:judged]), np.sort(others[:learned]), np.sort(others[learned:][:taught])


def asked(
    moments: Moments,
    log: WatchLog,
    recommender: Recommender,
    find: Find,
    *,
    seed: int,
    negatives: Negatives = Negatives.FIRST,
    most: int = HARD,
    memory_tokens: int = 400,
    done: Callable[[int], None] = lambda questions: None,
) -> list[Asked]:
    """Return a question for each moment, of its video and at most `most` others, in places drawn by the seed.

    `recommender` is fitted to what lies before the cut; `find` knows every video of the log in words. `done` is told of each
    batch of questions.
    """
    found = []
    for start in range(0, len(moments.viewers), TOGETHER):
        rows = range(start, min(start + TOGETHER, len(moments.viewers)))
        scores = recommender.scores([moments.held.histories[row] for row in rows])
        for row, of_viewer in zip(rows, scores, strict=True):
            history, wanted = moments.held.histories[row], int(moments.held.wanted[row])
            rng = np.random.default_rng([seed, zlib.crc32(moments.viewers[row].encode()), int(moments.at[row])])
            before = int(rng.integers(most + 1)) if negatives is Negatives.AROUND else None
            others, ranks = hard(of_viewer, history, wanted, most=most, before=before, rng=rng)
            videos = [wanted, *others]
            viewer = features(moments.viewers[row], history, log, find)
            question = _question(videos, viewer, moments, row, log, find, memory_tokens)
            by_id = {log.video_ids[video]: float(rank) for video, rank in zip(videos, ranks, strict=True)}
            found.append(Asked(question.shuffled(rng), viewer, by_id))
        done(len(rows))
    return found


def hard(
    scores: Scores,
    history: History,
    wanted: int,
    *,
    most: int = HARD,
    before: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[list[int], list[float]]:
    """Return at most `most` other videos by one viewer's scores of all, (m,), best first, and the ranks of wanted and others.

    They are the first of all; or, of those next to the wanted one, `before` that rank before it and the rest after it. What
    was watched before is no candidate. Equals come in an order that `rng` draws: a data set's may tell of what is to come.
    """
    candidates = np.ones(len(scores), np.bool_)
    candidates[history.videos] = False
    candidates[wanted] = True
    rows = np.flatnonzero(candidates)
    rows = rows if rng is None else rng.permutation(rows)
    order = rows[np.argsort(-scores[rows], kind="stable")]
    place = int(np.flatnonzero(order == wanted)[0])
    others = np.delete(order, place)
    first = 0 if before is None else max(0, min(place - before, len(others) - most))
    chosen = range(first, min(first + most, len(others)))
    # Which of equals comes first says nothing: of what it can't tell apart the wanted one is in the middle.
    rank = float(np.flatnonzero(scores[order] == scores[wanted]).mean())
    return [int(others[at]) for at in chosen], [rank, *(float(at + (at >= place)) for at in chosen)]


def features(user_id: str, history: History, log: WatchLog, find: Find) -> ViewerFeatures:
    """Return what the profile flow would keep of a viewer who watched `history`."""
    kept = history[-KEPT:]
    ids = [log.video_ids[video] for video in kept.videos]
    interests = Interests()
    for video_id, weight, at in zip(ids, kept.interest, kept.at, strict=True):
        if (video := find(video_id)) is not None:
            interests.add(video.embedding, video.topics, float(weight), int(at))
    as_of = int(kept.at.max(initial=0))
    return ViewerFeatures(
        user_id=user_id,
        interests=UserInterests(
            user_id=user_id,
            as_of=as_of,
            short=interests.short.unit(),
            long=interests.long.unit(),
            short_weight=interests.short.mass,
            long_weight=interests.long.mass,
            topics=interests.top_topics(),
        ),
        history=UserHistory(
            user_id=user_id,
            as_of=as_of,
            video_ids=ids,
            weights=[float(weight) for weight in kept.interest],
            seen_at=[int(at) for at in kept.at],
            followed=[],
            blocked=[],
        ),
    )


def _question(
    videos: list[int], viewer: ViewerFeatures, moments: Moments, row: int, log: WatchLog, find: Find, memory_tokens: int
) -> Question:
    ids = tuple(log.video_ids[video] for video in videos)
    at = int(moments.at[row])
    return Question(
        user_id=moments.viewers[row],
        viewer=words_of(viewer, find, now_ms=at, tokens=memory_tokens),
        video_ids=ids,
        videos=tuple(about(video) if (video := find(video_id)) is not None else '""' for video_id in ids),
        wanted=0,
        gains=(1.0, *[0.0] * (len(ids) - 1)),
        at=at,
        known=len(moments.held.histories[row]),
        cold=bool(moments.held.cold[row]),
    )
