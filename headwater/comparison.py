"""Recommenders compared on a data set, for the command and the bench: read, embedded, fitted and judged, with progress."""

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from headwater.encoders import perception_of, wordless
from headwater.settings import Settings
from models.ranking.evaluation.comparison import Judged, compare
from models.ranking.evaluation.contenders import LEARNED, contenders
from models.ranking.evaluation.leave_one_out import Split, split
from models.retrieval.log import WatchLog, watch_log
from models.retrieval.training import steps
from simulation.datasets import BadDataset, open_dataset

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
    dataset = open_dataset(data)
    with console.status(f"reading {dataset.name}"):
        log = watch_log(dataset.uploads, dataset.interactions())
    if viewers:
        log = log.chosen(np.sort(np.random.default_rng(seed).permutation(len(log.viewer_ids))[:viewers]))
    cut = split(log)
    if not len(cut.test.wanted):
        raise BadDataset(f"{dataset.name}: expected viewers who watched three videos or more, got none")
    return Task(dataset.name, log, cut)


def compared(task: Task, settings: Settings, console: Console, *, negatives: int, seed: int, libraries: bool) -> list[Judged]:
    """Fit all contenders to a task and judge them; `negatives` 0 takes all videos in each step's softmax."""
    texts = task.log.texts
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with perception_of(wordless(settings), console) as (encoders, _), Progress(*columns, console=console) as bars:
        batches = [texts[start : start + TITLES_AT_ONCE] for start in range(0, len(texts), TITLES_AT_ONCE)]
        titles = np.concatenate([encoders.texts(batch) for batch in bars.track(batches, description="titles")])
    with Progress(*columns, console=console) as bars:
        learning = {name: bars.add_task(name, total=steps(task.cut.train, recipe)) for name, recipe in LEARNED.items()}
        field = contenders(
            titles,
            negatives=negatives or None,
            seed=seed,
            libraries=libraries,
            told=lambda name, loss: bars.advance(learning[name]),
        )
        return compare(field, task.cut, told=bars.console.print)
