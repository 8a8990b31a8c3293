"""Rollouts from the vLLM server that serves the agent: before each step it is given what was learned, and samples the answers.

TRL's own vLLM mode stays off: it writes whole weights over NCCL into a server of its own, which serves nothing else. Ours goes
on answering plans meanwhile, and is given an adapter, megabytes, by the door that releases come through.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import httpx
import msgspec
import stamina
from accelerate.utils import gather_object
from msgspec import Struct

from models.chat import client_of, posted
from models.learning.tuning import Asked, SamplingServer
from models.viewers.adapters import Adapters, Refused
from models.viewers.answers import Form

log = logging.getLogger(__name__)

# Prompts, and from TRL's trainer what it makes of them: tokens, and the log-probability of each as it was sampled.
Rollouts = Callable[[list[str], Any], dict[str, Any]]

# Prompts under way at once, each with a group of answers: fewer leave the server idle, more wait in its queue.
TOGETHER = 32
# Of one prompt's answers: a group of 64 with thoughts of 2,000 characters, and what is told of each token.
LONGEST_ANSWERS = 50_000_000
# Without these a server samples as its model's folder recommends: by the likeliest tokens only.
_AS_IT_IS = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


class NotSampled(Exception):
    """A step has no answers, or not all. The message says why."""


@contextmanager
def sampled_by(server: SamplingServer, asked: Sequence[Asked], folder: Path) -> Iterator[Rollouts]:
    """Yield what samples answers to `asked` by the adapter that a trainer has then, each held to the form of its question.

    Adapters are written into `folder`, which the server must see, and leave both after their step. What the form left no choice
    of has a log-probability of 0 and is masked: nothing is to be learned from it. Of several processes (`accelerate launch`),
    each with the whole model, the first gives the server the adapter; each samples for its own prompts, and all try again
    together.

    Raises:
        ConnectionError: from what is yielded, where the server failed again and again; the message says what to do.
    """
    forms = {each.prompt: each.form for each in asked}
    with (
        client_of(server.url, server.api_key) as client,
        Adapters(server.url, api_key=server.api_key) as adapters,
        ThreadPoolExecutor(TOGETHER, thread_name_prefix="rollouts") as threads,
    ):
        loaded = _Loaded(adapters, folder)
        try:
            yield _Server(server, client, threads, loaded, forms)
        finally:
            loaded.leave()


class _Choice(Struct, frozen=True):
    class LogProbs(Struct, frozen=True):
        token_logprobs: list[float]

    finish_reason: Literal["stop", "length"]
    token_ids: list[int]
    logprobs: LogProbs


class _Answers(Struct, frozen=True):
    choices: list[_Choice]


class _Server:
    """Samples as a rollout function of TRL's: for prompts of which a group's stand in a row."""

    def __init__(
        self,
        server: SamplingServer,
        client: httpx.Client,
        threads: ThreadPoolExecutor,
        loaded: "_Loaded",
        forms: dict[str, Form],
    ) -> None:
        self._server = server
        self._client = client
        self._threads = threads
        self._loaded = loaded
        self._forms = forms
        self._patiently = stamina.RetryingCaller(
            attempts=server.attempts, timeout=None, wait_initial=server.first_pause_s, wait_max=60.0, wait_jitter=0.0
        ).on(NotSampled)

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        try:
            return self._patiently(self._sampled, prompts, trainer)
        except NotSampled as error:
            raise ConnectionError(
                f"GRPO ended before step {trainer.state.global_step + 1}: {self._server.url} (agent.url) failed "
                f"{self._server.attempts} times, at last: {error}. See that it runs, with --enable-lora, --max-lora-rank of "
                "tuning.rank or more and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and sees the folder learning.runs; or set "
                'tuning.rollouts = "local". `headwater learn agent` goes on from the last checkpoint'
            ) from error

    def _sampled(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Return all answers. Raises NotSampled in all processes if one of them has not all of its own."""
        model = self._loaded.take(trainer)
        each, tokenizer = trainer.num_generations, trainer.processing_class
        asked = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts[::each]]
        request = {"model": model, "n": each, "temperature": trainer.temperature, "max_tokens": trainer.max_completion_length}
        deadline = time.monotonic() + self._server.within_s
        answers = [
            self._threads.submit(self._ask, {**request, "prompt": tokens}, self._forms[prompt], deadline)
            for prompt, tokens in zip(prompts[::each], asked, strict=True)
        ]
        _agree(_failure(answers))
        # TRL's other modes end an answer that was not cut off with this token.
        ended = [
            _ended(choice, trainer.eos_token_ids, tokenizer.eos_token_id) for group in answers for choice in group.result()
        ]
        return {
            "prompt_ids": [tokens for tokens in asked for _ in range(each)],
            "completion_ids": [tokens for tokens, _ in ended],
            "logprobs": [chances for _, chances in ended],
            "env_mask": [[int(chance < 0.0) for chance in chances] for _, chances in ended],
        }

    def _ask(self, request: dict[str, Any], form: Form, deadline: float) -> list[_Choice]:
        """Return the answers to one prompt. Raises NotSampled."""
        held_to = {"structured_outputs": {"regex": form.pattern if form.thought else form.rest}}
        told = {"logprobs": 1, "return_token_ids": True}
        try:
            body = posted(
                self._client,
                "/v1/completions",
                {**request, **_AS_IT_IS, **held_to, **told},
                deadline=deadline,
                longest=LONGEST_ANSWERS,
                option=f"{self._server.within_s:g} s for a step",
            )
            choices = msgspec.json.decode(body, type=_Answers).choices
        except httpx.HTTPStatusError as error:
            raise NotSampled(f"{error.response.status_code} for {request['model']}") from error
        except (httpx.HTTPError, ValueError) as error:
            raise NotSampled(f"{type(error).__name__}: {error}") from error
        if len(choices) != request["n"]:
            raise NotSampled(f"expected {request['n']} answers, got {len(choices)}")
        if any(len(choice.token_ids) != len(choice.logprobs.token_logprobs) for choice in choices):
            raise NotSampled("expected a log-probability of each token, got more or fewer")
        return choices


class _Loaded:
    """What is being learned, on the server by a name of its own for each step; the names are those of folders beside a run.

    Not loaded in place: vLLM reads an adapter that was loaded so again for every token, and takes what it computed of a prompt
    from the adapter's last state, because name and path are the same.
    """

    def __init__(self, adapters: Adapters, folder: Path) -> None:
        self._adapters = adapters
        self._folder = folder
        self._is_first = False

    def take(self, trainer: Any) -> str:
        """Give the server what was learned until now, and return its name there. Raises NotSampled in all processes."""
        self._is_first = trainer.accelerator.is_main_process
        name = failure = ""
        if self._is_first:
            name = f"rollouts-{uuid4().hex[:12]}"
            trainer.accelerator.unwrap_model(trainer.model).save_pretrained(self._folder / name, selected_adapters=["default"])
            try:
                self._adapters.load(name, (self._folder / name).resolve())
                self.leave(but=name)
            except (ConnectionError, Refused) as error:
                failure = str(error)
        _agree(failure)
        named: str = gather_object([name])[0]
        return named

    def leave(self, *, but: str = "") -> None:
        """Let the server forget all but one, also those of a run that was killed."""
        if not (self._is_first and self._folder.is_dir()):
            return
        for folder in self._folder.iterdir():
            if folder.name == but:
                continue
            try:
                self._adapters.unload(folder.name)
            except ConnectionError as error:
                # Its folder stays, so that it is tried again before the next step.
                log.warning("%s is not unloaded: %s", folder.name, error)
            else:
                shutil.rmtree(folder)


def _agree(failure: str) -> None:
    """Raise NotSampled in every process if one of them failed: none goes on alone, or waits for another for ever."""
    for each in gather_object([failure]):
        if each:
            raise NotSampled(each)


def _failure(answers: Sequence["Future[list[_Choice]]"]) -> str:
    """Wait for all answers, and return what is wrong with the first that failed, nothing where none did."""
    failures = [error for error in (each.exception() for each in answers) if error is not None]
    for error in failures:
        if not isinstance(error, NotSampled):
            raise error
    return str(failures[0]) if failures else ""


def _ended(choice: _Choice, ends: Sequence[int], end: int) -> tuple[list[int], list[float]]:
    """Return an answer's tokens and their log-probabilities, with its end, after which the form allows nothing else."""
    tokens, chances = choice.token_ids, choice.logprobs.token_logprobs
    if choice.finish_reason == "length" or (tokens and tokens[-1] in ends):
        return tokens, chances
    return [*tokens, end], [*chances, 0.0]
