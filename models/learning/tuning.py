"""How a language model is tuned to viewers: what it is made of, and the numbers that decide how long that takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.learning.rewards import Reward
from models.settings import TuningSettings
from models.viewers.answers import UNTHOUGHT, Form
from models.viewers.prompts import Messages, choosing, judging
from models.viewers.questions import Question

# Told of each step: its stage, its number, how many there will be, and what was measured.
Told = Callable[[str, int, int, dict[str, float]], None]
Policy = dict[str, tuple[Reward, float]]


def nobody(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Asked:
    """One prompt in a model's own tokens as a text, its form, and the question behind it; `wanted` as rewards know it."""

    prompt: str
    form: Form
    question: Question
    wanted: int
    # The video in question, where a yes or no is asked for.
    video: int = -1

    @property
    def said(self) -> str:
        """Return what is part of the prompt and of the answer both."""
        return "" if self.form.thought else UNTHOUGHT

    @property
    def right(self) -> str:
        """Return the right answer, from where the prompt ends, without a thought."""
        whole = self.form.written("", bool(self.wanted) if not self.form.candidates else (self.wanted,))
        return whole.removeprefix(self.said)


@dataclass(frozen=True)
class SamplingServer:
    """A vLLM server of the model that learns, and how patiently it is asked."""

    url: str
    api_key: str = ""
    # A server that is started again reads a large model for minutes: fewer give up before, more find out later that it is gone.
    attempts: int = 6
    first_pause_s: float = 5.0
    # Of a step's answers: shorter gives up on a busy server, longer waits for one that hangs.
    within_s: float = 300.0


class Prompts:
    """Puts questions as the server's chat template does, in front of what the model says."""

    def __init__(self, tokenizer: Any, *, thought: int) -> None:
        self._tokenizer = tokenizer
        self._thought = thought

    def choice(self, question: Question) -> Asked:
        """Ask which of the candidates comes next."""
        form = Form(len(question.videos), 1, self._thought)
        messages = choosing(question.viewer, question.videos, thinks=self._thought > 0)
        return Asked(self._text(messages), form, question, question.wanted)

    def judgement(self, question: Question, video: int) -> Asked:
        """Ask whether one of the candidates is liked."""
        messages = judging(question.viewer, question.videos[video], thinks=self._thought > 0)
        form = Form(thought=self._thought)
        return Asked(self._text(messages), form, question, int(video == question.wanted), video)

    def _text(self, messages: Messages) -> str:
        text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text if self._thought else text + UNTHOUGHT


def examples(questions: Sequence[Question], prompts: Prompts, *, choices: float, seed: int) -> list[list[Asked]]:
    """Return what is asked for each question, in any order: of the share `choices` which comes next, else about each video."""
    rng = np.random.default_rng(seed)
    asked: list[list[Asked]] = []
    for at in rng.permutation(len(questions)):
        question = questions[at]
        if rng.random() < choices:
            asked.append([prompts.choice(question)])
        else:
            asked.append([prompts.judgement(question, video) for video in range(len(question.videos))])
    return asked


def model_of(base: Path) -> tuple[Any, Any]:
    """Return the model in the folder `base`, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    # Pads stand before a prompt, so that all answers begin in one place.
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # CPUs without its instructions compute bfloat16 many times more slowly, those with them twice as fast.
    fast = torch.cuda.is_available() or any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    dtype = torch.bfloat16 if fast else torch.float32
    # Its masks are what prefix trees are seen through; other ways to attend take them for something else, or take none.
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, attn_implementation="sdpa")
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def adapter(settings: TuningSettings, *, layers: int) -> Any:
    """Return the LoRA configuration for a model of so many layers."""
    from peft import LoraConfig

    top = min(settings.layers or layers, layers)
    return LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        layers_to_transform=list(range(layers - top, layers)),
        task_type="CAUSAL_LM",
    )
