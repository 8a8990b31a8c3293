"""Recommenders compared on a data set, for the command and the bench: read, embedded, fitted and judged, with progress."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from headwater.encoders import perception_of, wordless
from headwater.settings import Settings
from models.ranking.evaluation.comparison import Judged, compare
from models.ranking.evaluation.contenders import contenders, recipes
from models.ranking.evaluation.learners import learners
from models.ranking.evaluation.leave_one_out import Split, split
from models.ranking.evaluation.prequential import WARM_UP, Replayed, blocks, replay
from models.retrieval.log import WatchLog, watch_log
from models.retrieval.training import steps
from simulation.datasets import BadDataset, open_dataset
from streams.features import Vector

# More, and the bar stands still for seconds.
TITLES_AT_ONCE = 256


@dataclass(frozen=True)
class Task:
    """What is to be found: a data set by its name, its log and the cut."""

    data: str
    log: WatchLog
    cut: Split


def task_of(data: str, console: Console, *, viewers: int, seed: int) -> Task:
    """Return what is to be found on a data set, for `viewers` of it drawn by the seed, 0 for all.

    Raises:
        BadDataset: there is none, or nobody in it watched three videos.
    """
    name, log = log_of(data, console, viewers=viewers, seed=seed)
    cut = split(log)
    if not len(cut.test.wanted):
        raise BadDataset(f"{name}: expected viewers who watched three videos or more, got none")
    return Task(name, log, cut)


def compared(task: Task, settings: Settings, console: Console, *, negatives: int, seed: int, libraries: bool) -> list[Judged]:
    """Fit all contenders to a task and judge them; `negatives` 0 takes all videos in each step's softmax."""
    titles = embedded(task.log.texts, settings, console)
    learned = recipes(len(task.cut.train), negatives=negatives or None, seed=seed)
    with _bars(console) as bars:
        learning = {name: bars.add_task(name, total=steps(task.cut.train, recipe)) for name, recipe in learned.items()}
        field = contenders(
            titles, learned, seed=seed, libraries=libraries, told=lambda name, loss: bars.advance(learning[name])
        )
        return compare(field, task.cut, told=bars.console.print)


def log_of(data: str, console: Console, *, viewers: int, seed: int, by_id: bool = False) -> tuple[str, WatchLog]:
    """Return a data set's name, and the log of `viewers` of it drawn by the seed, 0 for all.

    Its videos are as in the data, or in the order of their ids, which tells nothing of what is to come.

    Raises:
        BadDataset: there is none.
    """
    dataset = open_dataset(data)
    with console.status(f"reading {dataset.name}"):
        uploads = sorted(dataset.uploads, key=lambda upload: upload.video_id) if by_id else dataset.uploads
        log = watch_log(uploads, dataset.interactions())
    if viewers:
        log = log.chosen(np.sort(np.random.default_rng(seed).permutation(len(log.viewer_ids))[:viewers]))
    return dataset.name, log


def replayed(
    log: WatchLog,
    settings: Settings,
    console: Console,
    *,
    sync_ms: int,
    until: float,
    negatives: int,
    seed: int,
    libraries: bool,
) -> list[Replayed]:
    """Replay a log, `until` a share of its watches, for every learner; `negatives` 0 takes all videos in each step's softmax.

    Raises:
        BadDataset: too little was watched to learn from and to judge by.
    """
    judged = (WARM_UP, until)
    try:
        watches = sum(len(block.watches) for block in blocks(log, sync_ms=sync_ms, judged=judged))
    except ValueError as error:
        raise BadDataset(str(error)) from error
    titles = embedded(log.texts, settings, console)
    results = []
    with _bars(console) as bars:
        for learner in learners(titles, negatives=negatives or None, seed=seed, libraries=libraries):
            bar = bars.add_task(learner.name, total=watches)
            results.append(replay(learner, log, sync_ms=sync_ms, judged=judged, done=partial(bars.advance, bar)))
    return results


def embedded(texts: tuple[str, ...], settings: Settings, console: Console) -> Vector:
    """Return the embeddings of titles, (m, d), by the servers that run or are configured, or by some of its own."""
    with perception_of(wordless(settings), console) as (encoders, _), _bars(console) as bars:
        batches = [texts[start : start + TITLES_AT_ONCE] for start in range(0, len(texts), TITLES_AT_ONCE)]
        return np.concatenate([encoders.texts(batch) for batch in bars.track(batches, description="titles")])


def _bars(console: Console) -> Progress:
    return Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console)
