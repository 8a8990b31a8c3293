"""The towers, learned from the logs of a running house: cut by time, trained on what came first, judged on what came last."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
# Watches since the last time from which going on is worth that every node fills its space anew.
LEAST_NEW = 100


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
    now_ms: int,
    afresh_ms: int = 0,
    planned: Callable[[int], None] = lambda steps: None,
    done: Done = nobody,
) -> Learned:
    """Train towers on all but the newest watches and judge them by those; `running` is the folder of the ones that serve.

    They go on from the ones that serve with what came since, and some of what was before. They learn from nothing where those
    did so `afresh_ms` ago or more, can't be gone on from, or went astray; and where that is refused, they go on after all.
    `planned` is told how many steps there will be, `done` the loss of each.

    Raises:
        TooLittle: too few to learn from and be judged by, or too little since the ones that serve learned.
    """
    train, held = cut_by_time(watches.log)
    if len(held.wanted) < LEAST_CASES:
        raise TooLittle(
            f"{len(watches.log)} watches: expected {LEAST_CASES} viewers or more who watched both before and after the cut, "
            f"got {len(held.wanted)}"
        )
    popular = Popular()
    popular.fit(train, held)
    baseline = judge(popular, held).hits(FIRST)
    newest = int(train.at.max())
    before = _checkpoint(running, recipe, newest=newest)
    if before is not None and 0 <= now_ms - before.began < afresh_ms:
        gone_on = _gone_on(before, watches, recipe, planned, done)
        if gone_on is not None:
            return _judged(*gone_on, watches, held, running, baseline)
    planned(steps(train, recipe))
    towers = trained(train, watches.embeddings, recipe, done=done)
    checkpoint = Checkpoint.of(towers, train.video_ids, began=now_ms, until=newest)
    learned = _judged(towers, train, checkpoint, watches, held, running, baseline)
    if learned.verdict.passed or before is None or int((train.at > before.until).sum()) < LEAST_NEW:
        return learned
    # Those that serve went on for long enough to be better than what begins anew: let them.
    gone_on = _gone_on(before, watches, recipe, planned, done)
    return learned if gone_on is None else _judged(*gone_on, watches, held, running, baseline)


def _judged(
    towers: Towers,
    train: WatchLog,
    checkpoint: Checkpoint,
    watches: Watches,
    held: Held,
    running: Path | None,
    baseline: NDArray[np.float64],
) -> Learned:
    """Return the files of towers that learned from `train`, and the gate's verdict; `baseline` is what popular videos hit."""
    files = export(towers, train) | {CHECKPOINT: checkpoint.written()}
    serving = None
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        # What is judged is what would serve: the files, not what they were made from.
        hits = judge(Served(NAME, Path(folder), watches), held).hits(FIRST)
    if running is not None:
        try:
            serving = judge(Served("running", running, watches), held).hits(FIRST)
        except BadTowers as error:
            # Of another version, say: no node serves them, so that there is nothing to be compared with.
            log.warning("compared with nothing: %s", error)
    verdict = judged(hits, baseline=baseline, running=serving, name=f"hr_at_{FIRST}")
    return Learned(files, replace(verdict, figures={**verdict.figures, "went_on": float(bool(checkpoint.moments))}))


def _checkpoint(running: Path | None, recipe: Recipe, *, newest: int) -> Checkpoint | None:
    """Return what the towers that serve ended with, None where there is nothing that towers of the recipe could go on from."""
    if running is None:
        return None
    try:
        before = Checkpoint.read(running / CHECKPOINT)
    except BadCheckpoint as error:
        log.warning("learned from nothing: %s", error)
        return None
    # What they learned of is later than all that is known now: it was erased since, or a clock was ahead.
    return before if before.fits(recipe) and before.until <= newest else None


def _gone_on(
    before: Checkpoint, watches: Watches, recipe: Recipe, planned: Callable[[int], None], done: Done
) -> tuple[Towers, WatchLog, Checkpoint] | None:
    """Return towers that learned what came since, with the log and where they ended; None where they went astray.

    Raises:
        TooLittle: too little came since.
    """
    arranged = watches.beginning_with(before.video_ids)
    train, _ = cut_by_time(arranged.log)
    new = train.at > before.until
    if new.sum() < LEAST_NEW:
        raise TooLittle(
            f"{len(train)} watches: expected {LEAST_NEW} or more since the towers that serve learned, got {new.sum()}; with "
            "learning.towers_afresh_s = 0 towers learn from nothing each time"
        )
    running = RunningTowers(recipe, REFRESH)
    try:
        running.resume(before, train, arranged.embeddings)
    except BadCheckpoint as error:
        log.warning("learned from nothing: %s", error)
        return None
    planned(running.steps(new))
    updated = running.update(train, arranged.embeddings, new, done=done)
    if updated.refused:
        log.warning("learned from nothing, for an update went astray: %s", updated.refused)
        return None
    return running.towers, train, running.checkpoint(train, began=before.began, until=int(train.at.max()))


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
