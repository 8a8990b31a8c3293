"""Who decides beside the agent: what knows no words. None of them asks anybody, so that they cost nothing."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.ranking.evaluation.drawn_again import Floats
from models.retrieval.log import Rows, WatchLog
from models.viewers.evaluation.asked import Asked, Find
from models.viewers.interest_ranker import SHORT_SHARE
from models.viewers.questions import Question
from streams.features import UserInterests

RECOMMENDER, REVERSED, POPULAR, INTERESTS = "recommender", "reversed order", "popular", "interests"
# In place of a row: no decision came.
NONE = -1


class Decider(Protocol):
    """Decides as viewers would."""

    @property
    def name(self) -> str: ...

    def choose(self, questions: Sequence[Question]) -> Rows:
        """Return which candidate of each of n questions is watched next, as its row, (n,); `NONE` where no decision came."""
        ...

    def likes(self, questions: Sequence[Question]) -> Floats:
        """Return how probably each wanted video is liked, and another one of its question, (n, 2); NaN where nothing came."""
        ...


class Scored:
    """A `Decider` by a score of each candidate, the highest first; of equals the first, whose place says nothing."""

    def __init__(
        self, name: str, scores: Callable[[Question], Floats], *, likely: Callable[[Floats], Floats] = lambda scores: scores
    ) -> None:
        """`scores` are of a question's candidates, (n,); `likely` makes of them how probably each is liked."""
        self.name = name
        self._scores = scores
        self._likely = likely

    def choose(self, questions: Sequence[Question]) -> Rows:
        return np.array([int(np.argmax(self._scores(question))) for question in questions], np.int64)

    def likes(self, questions: Sequence[Question]) -> Floats:
        pairs = [self._likely(self._scores(question))[list(compared(question))] for question in questions]
        return np.array(pairs, np.float64).reshape(-1, 2)


def compared(question: Question) -> tuple[int, int]:
    """Return the rows of the wanted video and of the other one that is asked about."""
    return question.wanted, int(question.wanted == 0)


def wordless(asked: Sequence[Asked], train: WatchLog, find: Find) -> list[Decider]:
    """Return them all for questions that are `asked`, or are cut from these.

    The recommender likes a video as much as the share of all videos that it ranks lower; so do counts of watches. Interests
    are those of the plans that are made without a language model. The recommender's order reversed shows what can be earned by
    knowing how the others were found, and nothing of the viewer.
    """
    of_question = {_key(each.question): each for each in asked}
    videos = len(train.video_ids)
    counts = train.counts()
    count_of = dict(zip(train.video_ids, counts.tolist(), strict=True))
    in_order = np.sort(counts)

    def ranked(question: Question) -> Floats:
        ranks = of_question[_key(question)].ranks
        return np.array([1.0 - ranks[video] / videos for video in question.video_ids])

    def watched(question: Question) -> Floats:
        return np.array([count_of[video] for video in question.video_ids], np.float64)

    def below(counts: Floats) -> Floats:
        both = [np.searchsorted(in_order, counts, side) for side in ("left", "right")]
        return np.asarray(sum(both) / (2 * videos), np.float64)

    def near(question: Question) -> Floats:
        interests = of_question[_key(question)].viewer.interests
        embeddings = [None if (video := find(name)) is None else video.embedding for name in question.video_ids]
        return np.array([0.0 if each is None or interests is None else _liking(interests, each) for each in embeddings])

    return [
        Scored(RECOMMENDER, ranked),
        Scored(REVERSED, lambda question: 1.0 - ranked(question)),
        Scored(POPULAR, watched, likely=below),
        Scored(INTERESTS, near, likely=lambda cosines: (1.0 + cosines) / 2.0),
    ]


def _liking(interests: UserInterests, embedding: NDArray[np.float32]) -> float:
    return float((SHORT_SHARE * interests.short + (1 - SHORT_SHARE) * interests.long) @ embedding)


def _key(question: Question) -> tuple[str, int]:
    return question.user_id, question.at
