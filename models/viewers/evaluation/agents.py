"""The user simulation agent, judged: asked many questions at once, in bounded time; what does not come is no decision."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from models.ranking.evaluation.drawn_again import Floats
from models.retrieval.log import Rows
from models.viewers.agent import NotDecided, UserAgent
from models.viewers.evaluation.deciders import NONE, compared
from models.viewers.questions import Question
from streams.ports import Count, uncounted

T = TypeVar("T")


class Agent:
    """A `Decider` by a language model."""

    def __init__(
        self,
        name: str,
        agent: UserAgent,
        *,
        together: int,
        within_s: float = math.inf,
        calibrated: Callable[[float], float] = lambda logit: logit,
        count: Count = uncounted,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """So many questions are asked at once, and none any more after `within_s` from the first on: those are counted.

        `calibrated` makes honest odds, as a logit, of the agent's; `done` is told of each answer, or that there is none.
        """
        self.name = name
        self._agent = agent
        self._together = together
        self._within_s = within_s
        self._calibrated = calibrated
        self._count = count
        self._done = done
        self._until: float | None = None

    def choose(self, questions: Sequence[Question]) -> Rows:
        return np.array(self._each(lambda q: self._agent.choose(q.viewer, q.videos)[0], questions, none=NONE), np.int64)

    def likes(self, questions: Sequence[Question]) -> Floats:
        asked = [(question.viewer, question.videos[row]) for question in questions for row in compared(question)]
        odds = self._each(lambda of: self._liked(*of), asked, none=math.nan)
        return np.array(odds, np.float64).reshape(-1, 2)

    def _liked(self, viewer: str, video: str) -> float:
        (likely,) = self._agent.judge(viewer, [video])
        likely = min(max(likely, 1e-12), 1.0 - 1e-12)
        return 1.0 / (1.0 + math.exp(-self._calibrated(math.log(likely / (1.0 - likely)))))

    def _each(self, decide: Callable[[T], float], asked: Sequence[T], *, none: float) -> list[float]:
        if self._until is None:
            self._until = time.monotonic() + self._within_s
        until = self._until

        def decided(each: T) -> float:
            try:
                if time.monotonic() > until:
                    self._count("agent/not_asked")
                    return none
                return decide(each)
            except NotDecided:
                return none
            finally:
                self._done()

        with ThreadPoolExecutor(self._together, thread_name_prefix="asking") as threads:
            return list(threads.map(decided, asked))
