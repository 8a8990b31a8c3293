"""How probable a model finds it that each candidate is liked: as the agent judges, by the first token of the answer.

What is told of a viewer is the same for all candidates and most of each prompt: it is computed once for a question.
"""

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
        chances = _chances(model, tokenizer, asked)
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


def _chances(model: Any, tokenizer: Any, asked: Sequence[list[list[int]]]) -> Floats:
    """Return how probable a yes is after each prompt, one question's after the other's."""
    import torch

    shared = [_alike(prompts) for prompts in asked]
    begun, mask, places = _padded([prompts[0][:length] for prompts, length in zip(asked, shared, strict=True)], model)
    rests = [prompt[length:] for prompts, length in zip(asked, shared, strict=True) for prompt in prompts]
    rest, rest_mask, rest_places = _padded(rests, model)
    of = torch.tensor([row for row, prompts in enumerate(asked) for _ in prompts], device=begun.device)
    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (YES, NO))
    with torch.no_grad():
        cache = model(
            input_ids=begun, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1
        ).past_key_values
        cache.batch_select_indices(of)
        logits = model(
            input_ids=rest,
            attention_mask=torch.cat([mask[of], rest_mask], dim=1),
            position_ids=rest_places + mask.sum(dim=1)[of][:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
    odds: Floats = (logits[:, yes] - logits[:, no]).double().cpu().numpy()
    return 1.0 / (1.0 + np.exp(-np.clip(odds, -50.0, 50.0)))


def _alike(prompts: Sequence[list[int]]) -> int:
    """Return how many tokens all prompts begin with, so that something is left of each."""
    shortest = min(map(len, prompts)) - 1
    differ = (at for at in range(shortest) if any(prompt[at] != prompts[0][at] for prompt in prompts))
    return next(differ, shortest)


def _padded(rows: Sequence[list[int]], model: Any) -> tuple[Any, Any, Any]:
    """Return rows of tokens with pads before them, the mask of what is none, and the place of each token in its row."""
    import torch

    device = next(model.parameters()).device
    width = max(map(len, rows))
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return tokens, mask, (mask.cumsum(dim=1) - 1).clamp(min=0)
