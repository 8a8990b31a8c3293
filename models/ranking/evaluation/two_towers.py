"""The towers, judged: all videos scored for each viewer, as an index scores the nearest."""

from collections.abc import Callable, Sequence

import torch

from models.ranking.evaluation.leave_one_out import Held, Scores
from models.retrieval.log import History, WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.training import train
from streams.features import Vector


class TwoTowers:
    """`Recommender` by two towers; `titles` are the embeddings of the videos' titles, (m, d)."""

    def __init__(self, name: str, recipe: Recipe, titles: Vector, *, done: Callable[[float], None] = lambda loss: None) -> None:
        """`done` is told the loss of each step of training."""
        self.name = name
        self._recipe = recipe
        self._titles = titles
        self._done = done

    def fit(self, train_log: WatchLog, validation: Held) -> None:
        """Train both towers."""
        self.towers = train(train_log, self._titles, self._recipe, done=self._done)
        with torch.inference_mode():
            self._videos = self.towers.video()

    @torch.inference_mode()
    def scores(self, histories: Sequence[History]) -> Scores:
        """Return the scores of all m videos, (viewers, m)."""
        viewers, videos = self.towers.compared(self.towers.wanted_next(self._videos, histories), self._videos)
        scores: Scores = (viewers @ videos.T).cpu().numpy()
        return scores
