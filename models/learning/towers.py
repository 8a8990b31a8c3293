"""The towers, learned from the logs of a running house: cut by time, trained on what came first, judged on what came last."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.learning.gate import LEAST_CASES, Learned, TooLittle, judged
from models.learning.watches import Watches
from models.ranking.evaluation.baselines.popular import Popular
from models.ranking.evaluation.leave_one_out import COLD, Held, Scores, judge
from models.retrieval.export import export
from models.retrieval.log import History, WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.served import BadTowers, ServedTowers
from models.retrieval.training import steps
from models.retrieval.training import train as trained

log = logging.getLogger(__name__)

NAME = "towers"
# Of all watches, the newest: fewer judge worse, more teach less.
HELD_OUT = 0.1
# The page's size twice over: what retrieval brings is ranked again, so that places within it count for nothing.
FIRST = 20
# Videos of each step's softmax beside those wanted: more learn better and take longer.
NEGATIVES = 4_096


def recipe_for(watches: int, *, seed: int = 0) -> Recipe:
    """Return the recipe for a log of so many watches."""
    return Recipe(seed=seed, negatives=NEGATIVES).sized(watches)


class Served:
    """`Recommender` by the files of towers, as a node serves them: what they did not learn from is new to them."""

    def __init__(self, name: str, folder: Path, watches: Watches) -> None:
        self.name = name
        self._towers = ServedTowers(folder, dimensions=watches.embeddings.shape[1])
        self._videos = self._towers.videos(watches.log.video_ids, watches.log.texts, watches.embeddings)

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Do nothing: they serve as they are."""

    def scores(self, histories: Sequence[History]) -> Scores:
        """Return the scores of all m videos, (viewers, m)."""
        return np.stack([self._videos @ self._towers.wanted(self._videos, history) for history in histories])


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
    files = export(trained(train, watches.embeddings, recipe, done=done), train)
    popular = Popular()
    popular.fit(train, held)
    hits = {"popular": judge(popular, held).hits(FIRST)}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        # What is judged is what would serve: the files, not what they were made from.
        hits[NAME] = judge(Served(NAME, Path(folder), watches), held).hits(FIRST)
    if running is not None:
        try:
            hits["running"] = judge(Served("running", running, watches), held).hits(FIRST)
        except BadTowers as error:
            # Of another version, say: no node serves them, so that there is nothing to be compared with.
            log.warning("compared with nothing: %s", error)
    verdict = judged(hits[NAME], baseline=hits["popular"], running=hits.get("running"), name=f"hr_at_{FIRST}")
    return Learned(files, verdict)


def cut_by_time(log: WatchLog) -> tuple[WatchLog, Held]:
    """Return the log before its newest watches, and of those each viewer's first, to be found by what is before the cut."""
    cut = int(np.quantile(log.at, 1 - HELD_OUT))
    before = np.array([np.searchsorted(log.at[a:b], cut, "right") for a, b in zip(log.bounds, log.bounds[1:], strict=False)])
    train = log.first(before)
    judged_viewers = np.flatnonzero((before > 0) & (before < log.lengths))
    histories = [log.history(int(viewer)) for viewer in judged_viewers]
    wanted = np.array([h.videos[before[v]] for h, v in zip(histories, judged_viewers, strict=True)], np.int64)
    seen = tuple(h[: before[v]] for h, v in zip(histories, judged_viewers, strict=True))
    return train, Held(seen, wanted, train.counts()[wanted] <= COLD)
