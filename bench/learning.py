"""One turn of the loop: feedback becomes questions, a language model learns from them, passes the gate and serves.

The feedback is that of simulated viewers on real titles (bench/feedback.py); who is judged by is nobody whom it learned from.
The choice is of one wanted video and three that were shown beside it and not wanted; "no agent" is the page's own order.
"""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from bench import report
from bench.stack import own_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headwater.settings import Settings
    from models.chat import ChatServer
    from models.viewers.questions import Question

# Answers whose form is looked at, none of them held to it by the server.
FORMS = 100
# Adapters that take each other's places, and answers by each.
SWAPS, ANSWERED_BETWEEN = 15, 4
LEARNED = "agent-learned"


def main(
    pages: Annotated[int, typer.Option(min=100, help="pages with feedback, of 8 places each")] = 1_000,
    viewers: Annotated[int, typer.Option(min=10, help="simulated viewers; the last fifth of the pages judges")] = 100,
    questions: Annotated[int, typer.Option(min=16, help="questions learned from, half by SFT, half by GRPO")] = 360,
    steps: Annotated[int, typer.Option(min=1, help="steps of GRPO, of `--batch` questions")] = 90,
    batch: Annotated[int, typer.Option(min=1, help="questions a step, of SFT and GRPO; a GPU is filled by more")] = 2,
    judged: Annotated[int, typer.Option(min=50, help="questions judged by")] = 200,
    layers: Annotated[int, typer.Option(min=0, help="layers that learn, the last; 0: all")] = 0,
    memory: Annotated[int, typer.Option(min=50, help="tokens that tell of a viewer")] = 60,
    swapped: Annotated[bool, typer.Option("--swap/--no-swap", help="start vLLM and swap the adapter in under load")] = True,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure one turn of the agent's learning; half an hour on two cores."""
    from bench.feedback import Catalogue, simulated
    from headwater.display import timed
    from headwater.tuning import base_of, learned_from
    from models.learning import agent
    from models.learning.questions import from_log
    from models.learning.releases import opened, write
    from streams.clock import now_ms
    from streams.flows.feedback_log import FeedbackLog

    machine = report.machine()
    with own_settings() as settings, TemporaryDirectory(prefix="headwater-learning-") as folder:
        settings.agent.memory_tokens = memory
        tuning = settings.tuning
        tuning.questions, tuning.steps, tuning.batch, tuning.judged = questions, steps, batch, judged
        tuning.layers, tuning.choices = layers, 0.0
        catalogue, log = Catalogue(seed=seed), Path(folder) / "feedback"
        FeedbackLog(log).add(simulated(catalogue, viewers=viewers, pages=pages, until=now_ms(), seed=seed))
        base, _ = base_of(settings)
        began = time.monotonic()
        asked = from_log(log, catalogue, memory_tokens=memory, candidates=tuning.candidates, seed=seed)
        with timed(report.console) as bars:
            learned = learned_from(asked, settings, running=None, run=Path(folder) / "run", bars=bars, apart=True)
        release = write(Path(folder) / "releases", agent.NAME, learned.files, figures=learned.verdict.figures, at=now_ms())
        took_s = time.monotonic() - began
        report.console.print(f"gate: {'passed' if learned.verdict.passed else 'refused'}: {learned.verdict.reason}")
        swap = _swapped(settings, opened(release), asked.questions[-FORMS:]) if swapped else Swap()
        figures: dict[str, float | dict[str, float]] = {
            "loop_minutes": round((took_s + sum(swap.took_ms[:1]) / 1000) / 60, 2),
            "format_rate": swap.format_rate,
            **{
                name: value
                for name, value in learned.verdict.figures.items()
                if name.startswith(("choice", "ndcg", "snips", "diversity"))
            },
            "passed": float(learned.verdict.passed),
            "swap_ms": report.percentile(swap.took_ms, 50),
            "swap_longest_ms": report.percentile(swap.took_ms, 100),
            "failed_requests": float(swap.failed),
            "answered_meanwhile": float(swap.answered),
        }
        report.finish(
            "learning",
            figures,
            budgets={"loop_minutes": "≤ 30", "format_rate": "≥ 0.98", "swap_ms": "≤ 200", "failed_requests": "0"},
            facts={
                "machine": machine, "feedback": f"{pages} pages of 8 places, {viewers} simulated viewers", "base": base.name,
                "questions": f"{questions} of {len(asked.questions)} learned from, {judged} judged by, of other viewers",
                "grpo": f"{steps} steps of {tuning.batch} questions, {tuning.group} answers to each prompt",
                "layers": layers or "all", "rank": tuning.rank, "memory_tokens": memory, "seed": seed,
            },
        )  # fmt: skip


@dataclass
class Swap:
    """How adapters were swapped in while requests went on: how long each took, ms, and what became of the requests."""

    took_ms: list[float] = field(default_factory=list)
    failed: int = 0
    answered: int = 0
    format_rate: float = float("nan")
    errors: list[str] = field(default_factory=list)


def _swapped(settings: "Settings", folder: Path, asked: "Sequence[Question]") -> Swap:
    """Start a language model, and let the adapter in `folder` take its base model's place while that answers."""
    from headwater.language_model import language_model_of
    from models.viewers.adapters import Adapters
    from models.viewers.agent import Mind, NotDecided, UserAgent, server_of

    settings.agent.url = "local"
    swap, over = Swap(), threading.Event()
    with ExitStack() as held:
        served = held.enter_context(language_model_of(settings, report.console))
        # What fails by the swap is looked for, not what is slow on two cores.
        served = served.model_copy(update={"timeout_s": 120.0})
        chat = held.enter_context(server_of(served))
        agent = held.enter_context(UserAgent(chat, served))
        adapters = held.enter_context(Adapters(served.url, api_key=served.api_key))
        # The first adapter that a server has takes seconds to make room for: no swap is from none.
        adapters.load("agent-before", folder)
        mind = Mind("agent-before")

        def ask() -> None:
            for question in [*asked] * 100:
                if over.is_set():
                    return
                try:
                    agent.judge(question.viewer, question.videos[:1], mind=mind)
                    swap.answered += 1
                except NotDecided as error:
                    swap.failed += 1
                    swap.errors.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        while swap.answered < 5 and not swap.failed:
            time.sleep(0.1)
        # A release comes at any moment, and not just after an answer, when the next step has just begun.
        moments = np.random.default_rng(0).random(SWAPS)
        for number, moment in enumerate(moments):
            name = LEARNED if number == SWAPS - 1 else f"agent-{number}"
            time.sleep(float(moment))
            began = time.monotonic()
            adapters.load(name, folder)
            before, mind = mind, Mind(name)
            swap.took_ms.append((time.monotonic() - began) * 1000)
            enough = swap.answered + ANSWERED_BETWEEN
            while swap.answered < enough and not swap.failed:
                time.sleep(0.1)
            adapters.unload(before.model)
        over.set()
        asking.join()
        swap.format_rate = round(sum(_in_form(chat, question) for question in asked) / len(asked), 4)
    for error in swap.errors[:3]:
        report.console.print(f"[red]{error}[/red]")
    return swap


def _in_form(chat: "ChatServer", question: "Question") -> bool:
    """Return whether the learned model answers in form where the server does not hold it to any."""
    from models.viewers.answers import UNTHOUGHT, Form, Unparseable
    from models.viewers.prompts import judging

    messages = [*judging(question.viewer, question.videos[0]), {"role": "assistant", "content": UNTHOUGHT}]
    request = {"model": LEARNED, "messages": messages, "max_tokens": 16, "temperature": 1.0}
    answer = chat.ask(request | {"add_generation_prompt": False, "continue_final_message": True}, within_s=60.0)
    try:
        Form().liked(UNTHOUGHT + answer.text)
    except Unparseable:
        return False
    return True


if __name__ == "__main__":
    typer.run(main)
