"""The user simulation agent: decides as one viewer would, by a language model (VRAgent-R1's second agent).

It judges one video, chooses one of several, or ranks them by judging each. The server holds the model to the form of the
answer, and what came is checked again: what can't be parsed is counted and is no decision.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from models.chat import Answer, ChatServer, Unanswered, UnknownModel
from models.settings import AgentSettings
from models.viewers.answers import NO, UNTHOUGHT, YES, Form, Unparseable
from models.viewers.prompts import Messages, choosing, judging
from streams.ports import Count, uncounted

Parsed = TypeVar("Parsed")

_ANSWER = "<answer>"
# The most that servers tell; what is not among them is less likely than all of these.
_TOP = 20


class NotDecided(Exception):
    """The agent did not decide: its server is away or slow, or what it answered can't be parsed. The message says which."""


class NoSuchMind(NotDecided):
    """The server has no model of this name: it was started again, or somebody unloaded the adapter."""


@dataclass(frozen=True)
class Mind:
    """Which of the server's models decides, empty for its own, and what makes honest odds of its own, both as logits."""

    model: str = ""
    calibrated: Callable[[float], float] = lambda logit: logit


OWN = Mind()


def server_of(settings: AgentSettings) -> ChatServer:
    """Return the server that is configured."""
    return ChatServer(
        settings.url,
        settings.model,
        api_key=settings.api_key,
        breaker_failures=settings.breaker_failures,
        breaker_reset_s=settings.breaker_reset_s,
        section="agent",
    )


class UserAgent:
    """Decides for viewers that are told in words, about videos in words. Safe to share between threads."""

    def __init__(self, server: ChatServer, settings: AgentSettings, *, count: Count = uncounted) -> None:
        self._server = server
        self._settings = settings
        self._count = count
        self._threads = ThreadPoolExecutor(settings.together, thread_name_prefix="agent")

    def judge(self, viewer: str, videos: Sequence[str], *, mind: Mind = OWN, within_s: float = math.inf) -> list[float]:
        """Return how probably the viewer likes each video, (n,) in 0..1, all of them within so long.

        The first is asked about alone: with it the server computes what all questions begin with.

        Raises:
            NoSuchMind: the server does not know the mind's model.
            NotDecided: one of them got no answer, or not in time.
        """
        deadline = time.monotonic() + within_s
        first = [self._judged(viewer, video, mind, deadline) for video in videos[:1]]
        return [*first, *self._threads.map(lambda video: self._judged(viewer, video, mind, deadline), videos[1:])]

    def choose(self, viewer: str, videos: Sequence[str], *, places: int = 1, mind: Mind = OWN) -> tuple[int, ...]:
        """Return which of the videos the viewer watches next, as rows of them: the first `places`, best first.

        Raises:
            NotDecided: no answer came, or none that is a choice.
        """
        form = Form(len(videos), places, self._settings.thought)
        answer = self._ask(choosing(viewer, videos, places=places, thinks=form.thought > 0), form, mind)
        return self._parsed(lambda: form.chosen(answer.text))

    def rank(
        self, viewer: str, videos: Sequence[str], *, mind: Mind = OWN, within_s: float = math.inf
    ) -> list[tuple[int, float]]:
        """Return all videos, as rows of them, best first, each with how probably it is liked; ties stay in their order.

        Raises:
            NotDecided: as `judge`.
        """
        judged = self.judge(viewer, videos, mind=mind, within_s=within_s)
        return sorted(enumerate(judged), key=lambda each: -each[1])

    def close(self) -> None:
        """End the threads; the server is the caller's."""
        self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _judged(self, viewer: str, video: str, mind: Mind, deadline: float) -> float:
        form = Form(thought=self._settings.thought)
        messages = judging(viewer, video, thinks=form.thought > 0)
        answer = self._ask(messages, form, mind, likely=True, deadline=deadline)
        odds = self._parsed(lambda: _odds(form, answer))
        return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, mind.calibrated(odds)))))

    def _ask(self, messages: Messages, form: Form, mind: Mind, *, likely: bool = False, deadline: float = math.inf) -> Answer:
        request: dict[str, Any] = {"messages": messages, "max_tokens": self._settings.max_tokens, "temperature": 0}
        if mind.model:
            request["model"] = mind.model
        request["structured_outputs"] = {"regex": form.pattern if form.thought else form.rest}
        if not form.thought:
            request["messages"] = [*messages, {"role": "assistant", "content": UNTHOUGHT}]
            request |= {"add_generation_prompt": False, "continue_final_message": True}
        if likely:
            request |= {"logprobs": True, "top_logprobs": _TOP}
        within_s = min(self._settings.timeout_s, deadline - time.monotonic())
        if within_s <= 0:
            self._count("agent/unanswered")
            raise NotDecided("there was no time left to ask")
        try:
            answer = self._server.ask(request, within_s=within_s)
        except Unanswered as error:
            self._count("agent/unanswered")
            kind = NoSuchMind if isinstance(error, UnknownModel) else NotDecided
            raise kind(str(error)) from error
        self._count("agent_tokens/asked", answer.asked_tokens)
        self._count("agent_tokens/answered", answer.answered_tokens)
        return answer if form.thought else replace(answer, text=UNTHOUGHT + answer.text)

    def _parsed(self, parse: Callable[[], Parsed]) -> Parsed:
        try:
            parsed = parse()
        except Unparseable as error:
            self._count("agent/unparseable")
            raise NotDecided(str(error)) from error
        self._count("agent/answered")
        return parsed


def _odds(form: Form, answer: Answer) -> float:
    """Return the logit of yes against no at the first token of the answer. Raises Unparseable."""
    form.liked(answer.text)
    said = "" if form.thought else UNTHOUGHT
    for token in answer.tokens:
        if said.endswith(_ANSWER):
            least = min(token.likely.values())
            return token.likely.get(YES, least) - token.likely.get(NO, least)
        said += token.text
    raise Unparseable(f"expected how likely the first token of the answer is, got {len(answer.tokens)} tokens without")
