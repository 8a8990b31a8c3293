"""The towers, learned from the logs of a running house: cut by time, trained on what came first, judged on what came last."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.learning.gate import LEAST_CASES, Learned, TooLittle, judged
from models.learning.watches import Watches
from models.ranking.evaluation.baselines.popular import Popular
from models.ranking.evaluation.leave_one_out import COLD, Held, Recommender, Scores, judge
from models.ranking.evaluation.two_towers import TwoTowers
from models.retrieval.export import export
from models.retrieval.log import Rows, WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.served import ServedTowers
from models.retrieval.training import steps

NAME = "towers"
# Of all watches, the newest: fewer judge worse, more teach less.
HELD_OUT = 0.1
# The page's size twice over: what retrieval brings is ranked again, so that places within it count for nothing.
FIRST = 20
# Steps of an epoch, where there are enough watches: with the batches of a large log, a small one would be left after a few.
STEPS = 64
LEAST_PLACES = 256


def recipe_for(watches: int, *, seed: int = 0) -> Recipe:
    """Return the recipe for a log of so many watches: batches no larger than lets it take its steps."""
    usual = Recipe(seed=seed, negatives=4_096)
    return replace(usual, places=min(usual.places, max(LEAST_PLACES, watches // STEPS // LEAST_PLACES * LEAST_PLACES)))


class Running:
    """`Recommender` by the towers that serve now: what came after them is new to them."""

    name = "running"

    def __init__(self, folder: Path, watches: Watches) -> None:
        self._towers = ServedTowers(folder, dimensions=watches.embeddings.shape[1])
        self._videos = self._towers.videos(watches.log.video_ids, watches.log.texts, watches.embeddings)

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Do nothing: they serve as they are."""

    def scores(self, histories: Sequence[Rows]) -> Scores:
        """Return the scores of all m videos, (viewers, m)."""
        return np.stack([self._videos @ self._towers.wanted(self._videos[history]) for history in histories])


def steps_of(watches: Watches, recipe: Recipe) -> int:
    """Return how many steps `learn` takes."""
    return steps(cut_by_time(watches.log)[0], recipe)


def learn(
    watches: Watches, recipe: Recipe, *, running: Path | None, done: Callable[[float], None] = lambda loss: None
) -> Learned:
    """Train towers on all but the newest watches and judge them by those; `running` is the folder of the ones that serve.

    `done` is told the loss of each step.

    Raises:
        TooLittle: too few to learn from and be judged by.
    """
    train, held = cut_by_time(watches.log)
    if len(held.wanted) < LEAST_CASES:
        raise TooLittle(
            f"{len(watches.log)} watches: expected {LEAST_CASES} viewers or more who watched both before and after the cut, "
            f"got {len(held.wanted)}"
        )
    candidate = TwoTowers(NAME, recipe, watches.embeddings, done=done)
    contenders: dict[str, Recommender] = {NAME: candidate, "popular": Popular()}
    if running is not None:
        contenders["running"] = Running(running, watches)
    hits = {}
    for name, contender in contenders.items():
        contender.fit(train, held)
        hits[name] = judge(contender, held).hits(FIRST)
    verdict = judged(hits[NAME], baseline=hits["popular"], running=hits.get("running"), name=f"hr_at_{FIRST}")
    return Learned(export(candidate.towers, train), verdict)


def cut_by_time(log: WatchLog) -> tuple[WatchLog, Held]:
    """Return the log before its newest watches, and of those each viewer's first, to be found by what is before the cut."""
    cut = int(np.quantile(log.at, 1 - HELD_OUT))
    before = np.array([np.searchsorted(log.at[a:b], cut, "right") for a, b in zip(log.bounds, log.bounds[1:], strict=False)])
    train = log.first(before)
    judged_viewers = np.flatnonzero((before > 0) & (before < log.lengths))
    histories = [log.of(int(viewer)) for viewer in judged_viewers]
    wanted = np.array([h[before[v]] for h, v in zip(histories, judged_viewers, strict=True)], np.int64)
    seen = tuple(h[: before[v]] for h, v in zip(histories, judged_viewers, strict=True))
    return train, Held(seen, wanted, train.counts()[wanted] <= COLD)
