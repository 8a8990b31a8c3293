"""How probable a model finds it that each candidate is liked: as the agent judges, by the first token of the answer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.learning.tuning import Prompts
from models.viewers.answers import NO, UNTHOUGHT, YES
from models.viewers.questions import Question

Floats = NDArray[np.float64]
# Questions together: more wait for the longest of them, and take more memory.
TOGETHER = 8


def judged(
    model: Any,
    tokenizer: Any,
    questions: Sequence[Question],
    prompts: Prompts,
    *,
    done: Callable[[int], None] = lambda questions: None,
) -> list[Floats]:
    """Return for each question how probably each of its n candidates is liked, (n,): yes against no, without a thought.

    What a thought would change of that costs a hundred times as much to know.
    """
    found: list[Floats] = [np.empty(0)] * len(questions)
    # Of like lengths together, so that little is computed for pads.
    order = sorted(range(len(questions)), key=lambda row: len(questions[row].viewer))
    was_training = model.training
    model.eval()
    for start in range(0, len(order), TOGETHER):
        rows = order[start : start + TOGETHER]
        asked = [_tokens(tokenizer, questions[row], prompts) for row in rows]
        chances = _chances(model, tokenizer, [prompt for of_question in asked for prompt in of_question])
        for row, each in zip(rows, np.split(chances, np.cumsum([len(prompts) for prompts in asked])[:-1]), strict=True):
            found[row] = each
        done(len(rows))
    model.train(was_training)
    return found


def _tokens(tokenizer: Any, question: Question, prompts: Prompts) -> list[list[int]]:
    asked = [prompts.judgement(question, video) for video in range(len(question.videos))]
    texts = [each.prompt + ("" if each.said else UNTHOUGHT) for each in asked]
    tokens: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return tokens


def _chances(model: Any, tokenizer: Any, asked: Sequence[list[int]]) -> Floats:
    """Return how probable a yes is after each of n prompts, (n,)."""
    import torch

    from models.learning.prefix_trees import log_probs

    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][:1] for word in (YES, NO))
    with torch.no_grad():
        likely, _ = log_probs(model, [*asked, *asked], [yes] * len(asked) + [no] * len(asked))
    odds: Floats = (likely[: len(asked), 0] - likely[len(asked) :, 0]).double().cpu().numpy()
    return 1.0 / (1.0 + np.exp(-np.clip(odds, -50.0, 50.0)))
