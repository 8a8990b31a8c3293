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
from models.retrieval.checkpoint import CHECKPOINT, BadCheckpoint, Checkpoint
from models.retrieval.export import export
from models.retrieval.incremental import Refresh, RunningTowers
from models.retrieval.log import History, WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.served import BadTowers, ServedTowers
from models.retrieval.towers import Towers
from models.retrieval.training import Done, nobody, steps
from models.retrieval.training import train as trained

log = logging.getLogger(__name__)

NAME = "towers"
# Of all watches, the newest: fewer judge worse, more teach less.
HELD_OUT = 0.1
# The page's size twice over: what retrieval brings is ranked again, so that places within it count for nothing.
FIRST = 20
# Videos of each step's softmax beside those wanted: more learn better and take longer.
NEGATIVES = 4_096

REFRESH = Refresh()


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


def learn(
    watches: Watches,
    recipe: Recipe,
    *,
    running: Path | None,
    afresh_ms: int = 0,
    planned: Callable[[int], None] = lambda steps: None,
    done: Done = nobody,
) -> Learned:
    """Train towers on all but the newest watches and judge them by those; `running` is the folder of the ones that serve.

    They go on from the ones that serve with what came since, and some of what was before; or learn from nothing where those
    began `afresh_ms` ago or more, can't be gone on from, or went astray. `planned` is told how many steps there will be, `done`
    the loss of each.

    Raises:
        TooLittle: too few to learn from and be judged by, or nothing since the ones that serve learned.
    """
    before = _checkpoint(running, recipe)
    if before is not None:
        watches = watches.beginning_with(before.video_ids)
    train, held = cut_by_time(watches.log)
    if len(held.wanted) < LEAST_CASES:
        raise TooLittle(
            f"{len(watches.log)} watches: expected {LEAST_CASES} viewers or more who watched both before and after the cut, "
            f"got {len(held.wanted)}"
        )
    newest = int(train.at.max())
    towers, began = None, newest
    if before is not None and newest - before.began < afresh_ms:
        towers, began = _gone_on(before, train, watches, recipe, planned, done), before.began
    if towers is None:
        planned(steps(train, recipe))
        towers, began = trained(train, watches.embeddings, recipe, done=done), newest
    kept = Checkpoint.of(towers, train.video_ids, began=began, until=newest)
    files = export(towers, train) | {CHECKPOINT: kept.written()}
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


def _checkpoint(running: Path | None, recipe: Recipe) -> Checkpoint | None:
    """Return what the towers that serve ended with, None where there is nothing that towers of the recipe could go on from."""
    if running is None:
        return None
    try:
        before = Checkpoint.read(running / CHECKPOINT)
    except BadCheckpoint as error:
        log.warning("learned from nothing: %s", error)
        return None
    return before if before.fits(recipe) else None


def _gone_on(
    before: Checkpoint, train: WatchLog, watches: Watches, recipe: Recipe, planned: Callable[[int], None], done: Done
) -> Towers | None:
    """Return towers that learned what came since, None where they went astray.

    Raises:
        TooLittle: nothing came since.
    """
    new = train.at > before.until
    if not new.any():
        raise TooLittle(f"{len(train)} watches: none is newer than what the towers that serve learned from")
    running = RunningTowers(recipe, REFRESH)
    running.resume(before, train, watches.embeddings)
    planned(running.steps(new))
    updated = running.update(train, watches.embeddings, new, done=done)
    if updated.refused:
        log.warning("learned from nothing, for an update went astray: %s", updated.refused)
        return None
    return running.towers


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
