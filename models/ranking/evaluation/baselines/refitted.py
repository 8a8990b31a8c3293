"""Recommenders made for a whole log as ones that learn while viewers watch: fitted again now and then, or in part."""

import numpy as np

from models.ranking.evaluation.baselines.libraries import Rtrec
from models.ranking.evaluation.leave_one_out import Held, Recommender
from models.ranking.learner import Asked, Learner, Scores
from models.retrieval.log import WatchLog
from models.retrieval.windows import Chosen

NOTHING = Held((), np.zeros(0, np.int64), np.zeros(0, np.bool_))


class Refitted:
    """`Learner` that fits a recommender to the whole log at the first sync after `every_ms` of event time."""

    def __init__(self, recommender: Recommender, *, every_ms: int) -> None:
        self.name = recommender.name
        self._recommender, self._every_ms = recommender, every_ms
        self._due: int | None = None

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Fit to the log, if it is time."""
        now = int(log.at.max())
        if self._due is None or now >= self._due:
            self._recommender.fit(log, NOTHING)
            self._due = now + self._every_ms

    def scores(self, asked: Asked) -> Scores:
        """Return the recommender's scores, (n, m)."""
        return self._recommender.scores(asked.histories)


class OnlineRtrec:
    """`Learner` by rtrec, which solves only the problems of videos that were watched since."""

    name = "rtrec"

    def __init__(self) -> None:
        self._model = Rtrec()
        self._started = False

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Solve all problems at first, then those of the new watches."""
        if self._started:
            self._model.update(log, np.unique(log.videos[new]))
        else:
            self._model.fit(log, NOTHING)
        self._started = True

    def scores(self, asked: Asked) -> Scores:
        """Return the sums, (n, m)."""
        return self._model.scores(asked.histories)


class OrPopular:
    """`Learner` as another; who watched nothing gets what is watched most, as any platform would show."""

    def __init__(self, learner: Learner) -> None:
        self.name = learner.name
        self._learner = learner

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Let the other learn, and count."""
        self._learner.learn(log, new)
        self._counts = log.counts().astype(np.float32)

    def scores(self, asked: Asked) -> Scores:
        """Return the other's scores or the counts, (n, m)."""
        scores = np.tile(self._counts, (len(asked), 1))
        if len(some := asked.with_history()):
            scores[some] = self._learner.scores(asked.chosen(some))
        return scores
