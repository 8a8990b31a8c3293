"""Questions about the viewers of a data set, for the command and benches: read, perceived, ranked and asked, with progress."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from headwater.comparison import TITLES_AT_ONCE
from headwater.encoders import perception_of, wordless
from headwater.settings import Settings
from models.perception.agent import PerceptionAgent
from models.ranking.evaluation.contenders import contenders, recipes
from models.ranking.evaluation.leave_one_out import Recommender, Split, split
from models.retrieval.log import WatchLog, watch_log
from models.retrieval.training import steps
from models.viewers.evaluation.asked import Asked, asked, drawn, moments
from models.viewers.evaluation.judging import CANDIDATES
from models.viewers.evaluation.protocol import Finder, Negatives, Words
from simulation.datasets import BadDataset, open_dataset
from streams.events import Upload
from streams.ports import Video
from streams.videos import video_of

# Of each step's softmax, as `evaluate ranking` has it.
SOFTMAX = 4_096
# Longest wait for some titles: nobody waits for a page, and one that is too late ends the whole run.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Questions:
    """What is asked on a data set: to judge by, and of other viewers to learn from, the same in each kind of words.

    By what is `learned` from, thresholds are found; by what is `taught`, in the first kind of words, an adapter is tuned.
    """

    data: str
    log: WatchLog
    cut: Split
    judged: Mapping[Words, Sequence[Asked]]
    learned: Mapping[Words, Sequence[Asked]]
    taught: Sequence[Asked]
    videos: Mapping[str, Video]


def questions_of(
    data: str,
    settings: Settings,
    console: Console,
    *,
    viewers: int,
    learned: int,
    taught: int = 0,
    log_viewers: int = 0,
    finder: Finder = Finder.SASREC_TITLES,
    negatives: Negatives = Negatives.FIRST,
    words: Sequence[Words] = (Words.PERCEIVED,),
    seed: int = 0,
) -> Questions:
    """Return what is asked about `viewers` of a data set, and about `learned` and `taught` others, of `log_viewers`, 0 for all.

    Raises:
        BadDataset: there is none, or too little was watched in it.
    """
    dataset = open_dataset(data)
    with console.status(f"reading {dataset.name}"):
        log = watch_log(dataset.uploads, dataset.interactions())
    if log_viewers:
        log = log.chosen(np.sort(np.random.default_rng(seed).permutation(len(log.viewer_ids))[:log_viewers]))
    cut = split(log)
    if not len(cut.test.wanted):
        raise BadDataset(f"{dataset.name}: expected viewers who watched three videos or more, got none")
    videos = perceived(dataset.uploads, settings, console)
    recommender = _fitted(finder, log, cut, videos, console, seed=seed)
    chosen, others, teachers = drawn(len(cut.test.wanted), judged=viewers, learned=learned, taught=taught, seed=seed)
    validation, test = moments(log, cut)
    bare = {name: msgspec.structs.replace(video, summary="", topics=()) for name, video in videos.items()}
    told: dict[Words, list[list[Asked]]] = {}
    with _bars(console) as bars:
        for each in words:
            bar = bars.add_task(f"questions in {each.value}", total=len(chosen) + len(others) + len(teachers))
            find = (videos if each is Words.PERCEIVED else bare).get
            told[each] = [
                asked(
                    of,
                    log,
                    recommender,
                    find,
                    seed=seed,
                    negatives=negatives,
                    memory_tokens=settings.agent.memory_tokens,
                    done=partial(bars.advance, bar),
                )
                for of in (test.chosen(chosen), validation.chosen(others), validation.chosen(teachers))
            ]
    few = min(len(each.question.videos) for judged_by, *_ in told.values() for each in judged_by)
    if few < max(CANDIDATES):
        raise BadDataset(f"{dataset.name}: expected {max(CANDIDATES)} videos or more that a viewer had not watched, got {few}")
    return Questions(
        data=dataset.name,
        log=log,
        cut=cut,
        judged={each: of[0] for each, of in told.items()},
        learned={each: of[1] for each, of in told.items()},
        taught=told[words[0]][2],
        videos=videos,
    )


def perceived(uploads: Sequence[Upload], settings: Settings, console: Console) -> dict[str, Video]:
    """Return videos by id, as their titles are perceived, by the servers that run or are configured, or by some of its own."""
    videos: dict[str, Video] = {}
    patient = settings.triton.model_copy(update={"timeout_s": max(settings.triton.timeout_s, PATIENCE_S)})
    settings = settings.model_copy(update={"triton": patient})
    with perception_of(wordless(settings), console) as (encoders, understanding), _bars(console) as bars:
        agent = PerceptionAgent(encoders, understanding, settings.media)
        batches = [uploads[start : start + TITLES_AT_ONCE] for start in range(0, len(uploads), TITLES_AT_ONCE)]
        for batch in bars.track(batches, description="titles"):
            videos |= {found.video.video_id: video_of(found) for found in agent.titles(batch)}
    return videos


def _fitted(
    finder: Finder, log: WatchLog, cut: Split, videos: Mapping[str, Video], console: Console, *, seed: int
) -> Recommender:
    titles = np.stack([videos[video_id].embedding for video_id in log.video_ids])
    learned = recipes(len(cut.train), negatives=SOFTMAX, seed=seed)
    with _bars(console) as bars:
        bar = bars.add_task(finder.value, total=steps(cut.train, learned[finder.value]) if finder.value in learned else 1)
        field = contenders(titles, learned, seed=seed, libraries=False, told=lambda name, loss: bars.advance(bar))
        (recommender,) = (each for each in field if each.name == finder.value)
        recommender.fit(cut.train, cut.validation)
        bars.update(bar, completed=bars.tasks[bar].total)
    return recommender


def _bars(console: Console) -> Progress:
    return Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console)
