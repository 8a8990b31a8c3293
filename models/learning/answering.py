"""How probable a model finds each answer that a form allows: what a server that holds it to the form draws from."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.learning.tuning import UNTHOUGHT, Asked

Floats = NDArray[np.float64]
# Prompts together: more wait for the longest of them, and take more memory.
TOGETHER = 8


def answered(
    model: Any, tokenizer: Any, asked: Sequence[Asked], *, done: Callable[[int], None] = lambda prompts: None
) -> list[Floats]:
    """Return for each prompt the probabilities of its answers: of each candidate, or of no and yes; they add up to 1.

    They are of an answer without a thought: what a thought would change of it costs a hundred times as much to know.
    """
    import torch

    from models.learning.shared_prompts import log_probs

    device = next(model.parameters()).device
    found: list[Floats] = [np.empty(0)] * len(asked)
    # Of like lengths together, so that little is computed for pads.
    order = sorted(range(len(asked)), key=lambda row: len(asked[row].prompt))
    was_training = model.training
    model.eval()
    for start in range(0, len(order), TOGETHER):
        rows = order[start : start + TOGETHER]
        texts = [answers_of(asked[row]) for row in rows]
        begun = [asked[row].prompt + ("" if asked[row].said else UNTHOUGHT) for row in rows]
        repeated = [text for text, each in zip(begun, texts, strict=True) for _ in each]
        prompts = tokenizer(repeated, add_special_tokens=False, padding=True, return_tensors="pt").to(device)
        answers = tokenizer(
            [text + tokenizer.eos_token for each in texts for text in each],
            add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt",
        ).to(device)  # fmt: skip
        with torch.no_grad():
            likely, _ = log_probs(
                model, prompts["input_ids"], prompts["attention_mask"], answers["input_ids"], answers["attention_mask"]
            )
        whole = (likely * answers["attention_mask"]).sum(dim=1).double().cpu().numpy()
        for row, logits in zip(rows, np.split(whole, np.cumsum([len(each) for each in texts])[:-1]), strict=True):
            chances = np.exp(logits - logits.max())
            found[row] = chances / chances.sum()
        done(len(rows))
    model.train(was_training)
    return found


def answers_of(asked: Asked) -> list[str]:
    """Return every answer that the form of a question allows: each candidate's, or no and yes."""
    form = asked.form
    written = [form.written("", (place,)) for place in range(form.candidates)] if form.candidates else []
    return [each.removeprefix(UNTHOUGHT) for each in written or [form.written("", False), form.written("", True)]]
