"""The towers as one that learns while viewers watch."""

import numpy as np
import torch

from models.ranking.learner import Asked, Scores
from models.retrieval.incremental import Refresh, RunningTowers, Updated
from models.retrieval.log import WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.windows import Chosen
from streams.features import Vector


class LearningTowers:
    """`Learner` by running towers; `titles` are the embeddings of the titles of all videos that may come, (m, d)."""

    def __init__(self, name: str, recipe: Recipe, refresh: Refresh, titles: Vector) -> None:
        self.name = name
        self.updates: list[Updated] = []
        self._titles = titles
        self._running = RunningTowers(recipe, refresh)
        self._started = False

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Train from nothing at first, then on."""
        titles = self._titles[: len(log.video_ids)]
        if self._started:
            self.updates.append(self._running.update(log, titles, new))
        else:
            self._running.start(log, titles)
            self._started = True
        counts = log.counts() + 0.5
        self._popular = np.log(counts / counts.sum()).astype(np.float32)
        with torch.inference_mode():
            self._videos = self._running.towers.video()

    @torch.inference_mode()
    def scores(self, asked: Asked) -> Scores:
        """Return the logarithms of the softmax over all m videos, (n, m); of nothing watched, those of how popular they are."""
        scores = np.tile(self._popular, (len(asked), 1))
        if len(some := asked.with_history()):
            towers = self._running.towers
            wanted = towers.wanted_next(self._videos, asked.chosen(some).histories)
            viewers, videos = towers.compared(wanted, self._videos)
            scores[some] = torch.log_softmax(viewers @ videos.T, -1).cpu().numpy()
        return scores
