"""One score of several: a weighted sum, its weights learned from each watch before the models that it weighs have seen it."""

from collections.abc import Sequence

import numpy as np

from models.ranking.learner import Asked, Learner, Scores, asked_at, seen_before
from models.retrieval.log import Rows, WatchLog
from models.retrieval.windows import Chosen

# Histories of so many watches are weighed alike: who watched little is known by what everybody watches.
LENGTHS = (1, 8, 25, 60)
# Adagrad's: higher follows faster and is led by a viewer's evening.
RATE = 0.05
# Of the first watches, those that weights are learned from; the models learn from the ones before.
FIRST = 0.2
# One in so many of the later watches is weighed by: a few weights need no more, and each costs a question to every part.
EVERY = 3
# Watches whose scores by all models are held at a time.
TOGETHER = 256


class Blend:
    """`Learner` by the parts' scores: a conditional logit over all candidates (McFadden 1974), learned by Adagrad."""

    def __init__(self, name: str, parts: Sequence[Learner]) -> None:
        """The first part alone is what is scored by before anything is learned."""
        self.name = name
        self._parts = parts
        self.weights = np.zeros((len(LENGTHS) + 1, len(parts)))
        self.weights[:, 0] = 1.0
        self._squares = np.full_like(self.weights, 1e-2)
        self._started = False

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Weigh the parts by the new watches, then let each part learn from them."""
        if self._started:
            self._weigh(log, np.flatnonzero(new)[::EVERY])
        else:
            new = self._start(log)
            self._weigh(log, np.flatnonzero(new))
        for part in self._parts:
            part.learn(log, new)

    def scores(self, asked: Asked) -> Scores:
        """Return the weighted sums, (n, m)."""
        weights = self.weights[_kinds(asked)].astype(np.float32)
        scores = self._parts[0].scores(asked) * weights[:, :1]
        for at, part in enumerate(self._parts[1:], 1):
            scores += weights[:, at, None] * part.scores(asked)
        return scores

    def _start(self, log: WatchLog) -> Chosen:
        """Let the parts learn from the first watches; return which are left: those that no part has learned from."""
        rest = log.at > np.quantile(log.at, 1 - FIRST)
        lengths = np.bincount(log.viewers()[~rest], minlength=len(log.viewer_ids))
        first = log.first(lengths).chosen(np.flatnonzero(lengths))
        for part in self._parts:
            part.learn(first, np.ones(len(first), bool))
        self._started = True
        return rest

    def _weigh(self, log: WatchLog, watches: Rows) -> None:
        seen = seen_before(log)
        watches = watches[np.argsort(log.at[watches], kind="stable")]
        for start in range(0, len(watches), TOGETHER):
            some = watches[start : start + TOGETHER]
            asked = asked_at(log, some, seen[some])
            scores = np.stack([part.scores(asked) for part in self._parts], axis=1)
            for kind, of_parts, history, wanted in zip(_kinds(asked), scores, asked.histories, log.videos[some], strict=True):
                self._step(kind, of_parts, history.videos, int(wanted))

    def _step(self, kind: int, scores: Scores, history: Rows, wanted: int) -> None:
        """Move the weights towards a watch, by the parts' scores, (parts, m)."""
        blended = self.weights[kind] @ scores
        shown = blended[wanted]
        # A video of the history is no candidate, but for the one that was watched again.
        blended[history] = -np.inf
        blended[wanted] = shown
        shares = np.exp(blended - blended.max())
        gradient = scores[:, wanted] - scores @ (shares / shares.sum())
        self._squares[kind] += gradient**2
        self.weights[kind] += RATE * gradient / np.sqrt(self._squares[kind])


def _kinds(asked: Asked) -> Rows:
    return np.searchsorted(LENGTHS, [len(history) for history in asked.histories], side="right")
