"""Deciders compared on the questions of a data set: the agent in each of its forms, and all that need no language model."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from rich.console import Console

from headwater.display import timed
from headwater.language_model import adapter_of, language_model_of
from headwater.settings import Settings
from headwater.viewer_questions import Questions
from models.settings import AgentSettings
from models.viewers.agent import UserAgent, server_of
from models.viewers.evaluation.agents import Agent
from models.viewers.evaluation.asked import Asked
from models.viewers.evaluation.deciders import wordless
from models.viewers.evaluation.judging import CANDIDATES, Judged, chance, evaluate, thresholds_of
from models.viewers.evaluation.protocol import Words
from streams.ports import Count

BASE = "base"
# Longest wait for one answer: nobody waits for a page, and an answer that comes late is one.
PATIENCE_S = 120.0
NEVER = 1_000_000


@dataclass(frozen=True)
class Form:
    """One form of the agent: an adapter by its name or the base model, how long it may think, and in which words it is told."""

    adapter: str
    thought: int
    words: Words

    def named(self, *, thoughts: Sequence[int], words: Sequence[Words]) -> str:
        """Return a name that tells it from the others."""
        thought = f", thought {self.thought}" if len(thoughts) > 1 else ""
        return (self.adapter or BASE) + thought + (f", {self.words.value}" if len(words) > 1 else "")


def judged_wordless(questions: Questions) -> list[Judged]:
    """Return what chance gets, and what those do that need no language model."""
    judged_by, learned_from = (next(iter(of.values())) for of in (questions.judged, questions.learned))
    asked = [each.question for each in judged_by]
    deciders = wordless([*judged_by, *learned_from], questions.cut.train, questions.videos.get)
    thresholds = thresholds_of([each.question for each in learned_from], deciders)
    return [chance(asked), *evaluate(asked, deciders, thresholds=thresholds)]


def tuned(questions: Sequence[Asked], settings: Settings, console: Console, *, thought: int, seed: int) -> dict[str, Path]:
    """Return the folders of the adapters that these questions tune, by the stage that made them; of none there are none.

    Only the right choice is rewarded: of what else rewards are earned by, a data set of watches knows nothing.

    Raises:
        BinaryMissing: the model's weights are not there; the message says how to get them.
        BadSettings: where the weights are is not said, or a server is to sample the answers and is not named.
        ConnectionError: that server failed for good.
    """
    if not questions:
        return {}
    # PyTorch's trainers take seconds, which whoever tunes nothing need not wait.
    from headwater.tuning import taught_by

    chosen = settings.model_copy(deep=True)
    chosen.tuning.rewards = {"accuracy": 1.0}
    asked = [each.question.cut(settings.tuning.candidates) for each in questions]
    with timed(console) as bars:
        run = settings.learning.runs / "evaluation" / "now"
        return taught_by(asked, chosen, thought=thought, seed=seed, run=run, bars=bars)


def judged_agents(
    questions: Questions,
    settings: Settings,
    console: Console,
    *,
    thoughts: Sequence[int],
    adapters: Mapping[str, Path],
    within_s: float,
) -> tuple[list[Judged], dict[str, dict[str, float]]]:
    """Return what the base model and each adapter do, by how long they may think and in which words they are told; and counts.

    Each form is asked nothing more after `within_s`; what it was not asked by then counts as wrong, as all that is not decided.

    Raises:
        ConnectionError: the server is away, refuses an adapter, or answered nothing at all.
    """
    words = tuple(questions.judged)
    forms = [Form(name, thought, told) for name in ("", *adapters) for thought in thoughts for told in words]
    results: list[Judged] = []
    counts: dict[str, dict[str, float]] = {}
    with ExitStack() as held:
        served = held.enter_context(language_model_of(settings, console))
        calibrated = {name: held.enter_context(adapter_of(served, name, folder)) for name, folder in adapters.items()}
        bars = held.enter_context(timed(console))
        for form in forms:
            name = form.named(thoughts=thoughts, words=words)
            learned_from, asked = ([each.question for each in of[form.words]] for of in (questions.learned, questions.judged))
            bar = bars.add_task(name, total=2 * len(learned_from) + (len(CANDIDATES) + 2) * len(asked))
            counted: Counter[str] = Counter()
            count = _adding_to(counted)
            with _asked(served, form, count) as agent:
                decider = Agent(
                    name,
                    agent,
                    together=served.together,
                    within_s=within_s,
                    calibrated=calibrated.get(form.adapter, lambda logit: logit),
                    count=count,
                    done=partial(bars.advance, bar),
                )
                thresholds = thresholds_of(learned_from, [decider])
                results += evaluate(asked, [decider], thresholds=thresholds)
            if not counted["agent/answered"] + counted["agent/unparseable"]:
                raise ConnectionError(
                    f"{name}: none of {counted['agent/unanswered']} questions got an answer from {served.url}: see its log; "
                    "a busy machine may have starved it"
                )
            counts[name] = _counts(counted, len(asked) * (len(CANDIDATES) + 2) / results[-1].took_s)
    return results, counts


@contextmanager
def _asked(served: AgentSettings, form: Form, count: Count) -> Iterator[UserAgent]:
    settings = served.model_copy(
        update={
            "model": form.adapter or served.model,
            "thought": form.thought,
            "timeout_s": max(served.timeout_s, PATIENCE_S),
            # Time is bounded: one that was slow must not make hundreds wrong that nobody asked it.
            "breaker_failures": NEVER,
            # A token of most models is three characters or more: a thought must not be cut off before its answer.
            "max_tokens": max(served.max_tokens, form.thought // 2 + 32),
        }
    )
    with server_of(settings) as server, UserAgent(server, settings, count=count) as agent:
        yield agent


def _adding_to(counted: Counter[str]) -> Count:
    """Return what adds to a counter from any thread."""
    lock = Lock()

    def count(name: str, by: int = 1) -> None:
        with lock:
            counted[name] += by

    return count


def _counts(counted: Counter[str], per_s: float) -> dict[str, float]:
    """Return what became of all questions, what they cost in tokens, and how many of those judged by were answered a second."""
    names = {
        "answered": "agent/answered",
        "unparseable": "agent/unparseable",
        "unanswered": "agent/unanswered",
        "not_asked": "agent/not_asked",
        "tokens_asked": "agent_tokens/asked",
        "tokens_answered": "agent_tokens/answered",
    }
    return {name: counted[key] for name, key in names.items()} | {"answers_per_s": round(per_s, 2)}
