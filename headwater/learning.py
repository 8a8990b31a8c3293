"""Learning from the logs of a house: each model in its turn, through the gate, and what passes is released to the nodes."""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from deploy.local.binaries import BinaryMissing
from deploy.local.process import die_with_parent
from headwater import tuning
from headwater.canary import LOOK_EVERY_S, Watch
from headwater.children import log_to_stderr
from headwater.decisions import failed, is_watched, release, standing
from headwater.display import timed
from headwater.settings import BadSettings, Settings
from models.learning import agent, ranker, towers
from models.learning.gate import Learned, TooLittle
from models.learning.record import NOTHING_CHANGED
from models.learning.releases import BadRelease, opened
from models.learning.watches import size_of, watches_of
from models.ranking.recipe import Recipe
from streams.clock import now_ms
from streams.events import Release
from streams.every import every
from streams.follower import Followed, Follower
from streams.kafka import check_broker
from streams.topics import RELEASES

log = logging.getLogger(__name__)

# Learns from the logs: told the folder of what serves now, and the display to show its steps on.
Lesson = Callable[[Settings, Path | None, Progress], Learned]


def learn(name: str, settings: Settings, console: Console) -> bool:
    """Learn one model, say what became of it, and return whether it was released; not while its canary is being watched.

    Raises:
        TooLittle: there is nothing to learn from yet.
        ConnectionError: the broker is away, so that nobody would hear of a release.
    """
    check_broker(settings.kafka, timeout_s=5.0)
    now = standing(settings, name)
    if is_watched(settings, name, now):
        # Each new one would take the place of the last before it is known what that is worth.
        console.print(
            f"{name}: not learned: its canary {now.canary} is being watched; `headwater releases rollback {name}` ends it",
            highlight=False,
        )
        return False
    running = _running(name, settings)
    with timed(console) as bars:
        learned = LESSONS[name](settings, running, bars)
    made = release(settings, name, learned)
    became = {
        "released": f"released as {made.version}",
        "canary": f"{made.version} serves {settings.learning.canary_share:.0%}",
    }
    console.print(f"{name}: {made.reason}: {became.get(made.what, 'not released')}", highlight=False)
    return made.what not in NOTHING_CHANGED


def keep_learning(settings: Settings) -> None:
    """Learn whenever enough feedback came, every `learning.every_s` at most, until the process is ended.

    Beside it, canaries are watched: learning takes longer than one should wait with a bad one.
    """
    watch = Watch(settings)
    with every(LOOK_EVERY_S, watch.look, name="canary"):
        feedback = Path(settings.flows.feedback_log)
        learned_from: dict[str, int] = {}
        while True:
            time.sleep(settings.learning.every_s)
            places = size_of(feedback)
            # Fewer than before: somebody was forgotten.
            learned_from = {name: min(of, places) for name, of in learned_from.items()}
            for name in due(settings, learned_from, places):
                if _apart(name, settings):
                    learned_from[name] = places
                else:
                    watch.tell_again()


def due(settings: Settings, learned_from: Mapping[str, int], places: int) -> list[str]:
    """Return which models have enough feedback that they did not learn from, and no canary that is being watched.

    `learned_from` says of how many of the `places` each has learned.
    """
    new = {name: places - learned_from.get(name, 0) for name in lessons(settings)}
    enough = [name for name, many in new.items() if many >= settings.learning.least_places]
    return [name for name in enough if not is_watched(settings, name, standing(settings, name))]


def lessons(settings: Settings) -> list[str]:
    """Return which models learn in a house: the agent only where there is one."""
    return [name for name in LESSONS if name != agent.NAME or settings.agent.url]


def _apart(name: str, settings: Settings) -> bool:
    """Learn in a process of its own, and return whether it ended well: what training took of memory goes with it."""
    process = multiprocessing.get_context("spawn").Process(target=_learn_apart, args=(name, settings, os.getpid()), name=name)
    process.start()
    process.join()
    if process.exitcode:
        why = f"learning ended with status {process.exitcode} (see the learner's log); what serves stays, and it is tried again"
        log.error("%s: %s", name, why)
        with suppress(OSError):
            failed(settings, name, why)
    return process.exitcode == 0


def _learn_apart(name: str, settings: Settings, parent: int) -> None:
    die_with_parent(signal.SIGKILL, parent=parent)
    # Whatever a viewer waits for goes first, and has the core at once.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    log_to_stderr()
    try:
        learn(name, settings, Console())
    except TooLittle as error:
        log.info("%s: nothing to learn from: %s", name, error)
    except (BadSettings, BinaryMissing) as error:
        # Not tried again before there is new feedback: the same settings fail in the same way.
        log.error("%s: %s", name, error)
        failed(settings, name, str(error))


def _towers(settings: Settings, running: Path | None, bars: Progress) -> Learned:
    reading = bars.add_task("reading the logs", total=None)
    watches = watches_of(
        Path(settings.flows.feedback_log), Path(settings.features.log) / "video_content", since=_since(settings)
    )
    bars.update(reading, total=1, completed=1)
    recipe = towers.recipe_for(len(watches.log), seed=settings.learning.seed)
    training = bars.add_task("towers", total=None)
    return towers.learn(
        watches,
        recipe,
        running=running,
        now_ms=now_ms(),
        afresh_ms=round(settings.learning.towers_afresh_s * 1000),
        planned=lambda steps: bars.update(training, total=steps, completed=0),
        done=lambda loss: bars.advance(training),
    )


def _ranker(settings: Settings, running: Path | None, bars: Progress) -> Learned:
    training = bars.add_task("ranker", total=None)
    recipe = Recipe(seed=settings.learning.seed)
    learned = ranker.learn(Path(settings.flows.feedback_log), recipe, running=running, since=_since(settings))
    bars.update(training, total=1, completed=1)
    return learned


def _agent(settings: Settings, running: Path | None, bars: Progress) -> Learned:
    return tuning.lesson(settings, running, _since(settings), bars)


LESSONS: dict[str, Lesson] = {towers.NAME: _towers, ranker.NAME: _ranker, agent.NAME: _agent}


def _since(settings: Settings) -> str:
    return f"{datetime.now(UTC) - timedelta(days=settings.learning.days):%Y-%m-%d}"


def _running(name: str, settings: Settings) -> Path | None:
    """Return the folder of what serves now, None where nothing does or what does is lost."""
    newest: dict[str, Release] = {}

    def take(batch: list[Followed]) -> None:
        for followed in batch:
            if isinstance(followed.event, Release):
                newest[followed.key] = followed.event
            else:
                newest.pop(followed.key, None)

    with closing(Follower(settings.kafka, [RELEASES], take, name="learning").start(timeout_s=30.0)):
        pass
    release = newest.get(name)
    try:
        return None if release is None else opened(release)
    except BadRelease as error:
        log.warning("%s: compared with nothing: %s", name, error)
        return None
