"""The agent's lesson: questions out of the logs of a house, and a language model tuned by them, with bars for each stage."""

import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from rich.progress import Progress, TaskID

from deploy.local import binaries, vllm
from headwater.language_model import model_of
from headwater.settings import BadSettings, Settings
from models.learning import agent
from models.learning.gate import Learned
from models.learning.questions import FromLog, from_log
from models.learning.tuning import SamplingServer
from models.settings import LOCAL
from models.viewers.questions import Question
from streams.videos import VideoTable


def lesson(settings: Settings, running: Path | None, since: str, bars: Progress) -> Learned:
    """Learn the agent from the feedback log from day `since` on.

    Raises:
        TooLittle: there is too little to learn from.
        BinaryMissing: the local model is not there; the message says how to get it.
        BadSettings: where the weights are is not said, a server is to sample answers and is not named, or several processes
            were launched.
        ConnectionError: that server failed for good.
    """
    # Before the logs are read, which takes minutes.
    sampling_server(settings)
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise BadSettings(
            f"expected one process that learns, got {processes} (accelerate launch): each would release what it learned; run "
            'plain `headwater learn agent`, and leave other GPUs to the server (tuning.rollouts = "server")'
        )
    base_of(settings)
    reading = bars.add_task("reading the logs", total=None)
    videos = VideoTable()
    with closing(videos.follow(settings.kafka)):
        asked = from_log(
            Path(settings.flows.feedback_log),
            videos,
            memory_tokens=settings.agent.memory_tokens,
            candidates=settings.tuning.candidates,
            seed=settings.learning.seed,
            since=since,
        )
    bars.update(reading, total=1, completed=1)
    return learned_from(asked, settings, running=running, run=settings.learning.runs / agent.NAME / "now", bars=bars)


def learned_from(
    asked: FromLog, settings: Settings, *, running: Path | None, run: Path, bars: Progress, apart: bool = False
) -> Learned:
    """Learn the agent from what a log asks, in the folder `run`; `apart`: judged by other viewers than learned from.

    Raises:
        TooLittle: there is too little to learn from.
        BinaryMissing: the local model is not there; the message says how to get it.
        BadSettings: where the weights are is not said, or answers are to be sampled by a server, and none is named.
        ConnectionError: that server failed for good.
    """
    base, base_name = base_of(settings)
    return agent.learn(
        asked,
        settings.tuning,
        base=base,
        base_name=base_name,
        run=run,
        running=running,
        thought=settings.agent.thought,
        seed=settings.learning.seed,
        apart=apart,
        server=sampling_server(settings),
        told=_told_of(run, bars),
        judging=partial(bars.advance, bars.add_task("judging", total=None)),
    )


def taught_by(
    asked: Sequence[Question], settings: Settings, *, thought: int, seed: int, run: Path, bars: Progress
) -> dict[str, Path]:
    """Tune an adapter by all these questions, in the folder `run`; return the folder of each stage's, "sft" and "grpo".

    Raises:
        BinaryMissing: the local model is not there; the message says how to get it.
        BadSettings: where the weights are is not said, or answers are to be sampled by a server, and none is named.
        ConnectionError: that server failed for good.
    """
    base, _ = base_of(settings)
    return agent.taught(
        asked,
        settings.tuning,
        base=base,
        run=run,
        thought=thought,
        seed=seed,
        server=sampling_server(settings),
        told=_told_of(run, bars),
    )


def _told_of(run: Path, bars: Progress) -> "Shown":
    """Return what is told of the steps of a run in the folder `run`; TensorBoard's curves go beside that."""
    # TensorBoard's own writer looks nowhere else.
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(run.parent / "tensorboard"))
    return Shown(bars)


class Shown:
    """Shows the steps of each stage on a display."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._of_stage: dict[str, TaskID] = {}

    def __call__(self, stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
        if stage not in self._of_stage:
            self._of_stage[stage] = self._bars.add_task(stage, total=steps)
        # What is measured before the first step knows of no steps.
        self._bars.update(self._of_stage[stage], total=steps, completed=step)


def sampling_server(settings: Settings) -> SamplingServer | None:
    """Return the server that samples the answers GRPO learns from, None where the model that learns does.

    Raises:
        BadSettings: none is named.
    """
    if settings.tuning.rollouts == "local":
        return None
    if settings.agent.url in ("", LOCAL):
        raise BadSettings(
            'tuning.rollouts is "server": expected the address of a vLLM server, http://host:port, in agent.url, got '
            f'{settings.agent.url!r}; set it, or tuning.rollouts = "local"'
        )
    return SamplingServer(settings.agent.url, settings.agent.api_key)


def base_of(settings: Settings) -> tuple[Path, str]:
    """Return the folder of the weights that the agent's adapters belong to, and the name that its server knows them by.

    Raises:
        BadSettings: the server's model is not the stack's own, and where its weights are is not said.
        BinaryMissing: they are not there.
    """
    name = model_of(settings)
    if settings.tuning.base:
        return Path(settings.tuning.base), name
    if settings.agent.url and name != vllm.MODEL:
        raise BadSettings(
            f"expected in tuning.base the folder of the weights that {settings.agent.url} serves as {name}, in Hugging Face's "
            "form, got nothing: an adapter belongs to the weights that it was tuned on"
        )
    return Path(binaries.language_model(settings.stack.models_dir)), vllm.MODEL
