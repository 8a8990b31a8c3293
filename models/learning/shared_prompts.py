"""A prompt is computed once for all answers to it: in sampling a group's answers, and in learning from them.

A group's answers are a few tokens each after a prompt of hundreds. Computed for each of them, the prompt is nearly all of the
work; here it is computed once, and its keys and values are shared, with their gradients.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def log_probs(
    model: Any, prompts: Tensor, prompt_mask: Tensor, answers: Tensor, answer_mask: Tensor, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each token of n answers, and the entropy in its place, (n, answer tokens) each.

    `prompts` (n, prompt tokens) are padded on the left, `answers` on the right; rows of the same prompt may come in any order.
    """
    rows = torch.cat([prompts, prompt_mask.to(prompts.dtype)], dim=1)
    unique, of = torch.unique(rows, dim=0, return_inverse=True)
    asked, mask = unique[:, : prompts.shape[1]], unique[:, prompts.shape[1] :]
    shared = model(input_ids=asked, attention_mask=mask, use_cache=True, logits_to_keep=1)
    logits = shared.logits[of]
    if answers.shape[1] > 1:
        cache = shared.past_key_values
        cache.batch_select_indices(of)
        seen = torch.cat([mask[of], answer_mask[:, :-1].to(mask.dtype)], dim=1)
        rest = model(input_ids=answers[:, :-1], attention_mask=seen, past_key_values=cache, use_cache=True)
        logits = torch.cat([logits, rest.logits], dim=1)
    likely = torch.log_softmax(logits.float() / temperature, dim=-1)
    entropy = -(likely.exp() * likely).sum(dim=-1)
    return likely.gather(-1, answers[..., None]).squeeze(-1), entropy


@torch.no_grad()
def sampled(
    model: Any,
    prompts: Sequence[list[int]],
    each: int,
    *,
    longest: int,
    ends: int,
    pad: int,
    temperature: float = 1.0,
) -> tuple[list[list[int]], list[list[float]]]:
    """Return `each` answers to each prompt, one prompt's in a row, as tokens, with the log-probability of each token.

    An answer ends with the token `ends`, or after the `longest` number of them.
    """
    device = next(model.parameters()).device
    width = max(map(len, prompts))
    asked = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    out = model(input_ids=asked, attention_mask=mask, use_cache=True, logits_to_keep=1)
    cache = out.past_key_values
    cache.batch_repeat_interleave(each)
    logits, mask = (tensor.repeat_interleave(each, dim=0) for tensor in (out.logits[:, -1], mask))
    tokens: list[list[int]] = [[] for _ in range(len(logits))]
    chances: list[list[float]] = [[] for _ in range(len(logits))]
    while True:
        likely = torch.log_softmax(logits.float() / temperature, dim=-1)
        drawn = torch.multinomial(likely.exp(), 1)
        for row, (token, chance) in enumerate(zip(drawn[:, 0].tolist(), likely.gather(1, drawn)[:, 0].tolist(), strict=True)):
            if not (tokens[row] and tokens[row][-1] == ends):
                tokens[row].append(token)
                chances[row].append(chance)
        if all(answer[-1] == ends for answer in tokens) or max(map(len, tokens)) >= longest:
            return tokens, chances
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        out = model(input_ids=drawn, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache, logits = out.past_key_values, out.logits[:, -1]
