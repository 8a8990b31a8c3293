"""What an answer of the user simulation agent is worth: plain functions, composed by weights, so that a policy change is a
reward change (RecLLM-R1).

Each takes completions and, as columns, what is known of each one's question, and returns a number for each, as TRL's trainers
call it. What can't be parsed is worth `UNPARSEABLE` to each of them, and all else 0 to 1: with weights that are not negative it
is the worst of all. That an answer is in form earns nothing: else form would be all that is learned.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.viewers.answers import Form, Unparseable

UNPARSEABLE = -1.0
# Whatever a server allows of it: how long thoughts may be is not what is rewarded.
_LONGEST_THOUGHT = 2_000
# A completion as a text, or as the messages of a chat, of which the last is the answer.
Completion: TypeAlias = str | Sequence[Mapping[str, str]]
Reward: TypeAlias = Callable[..., list[float]]


def form(completions: Sequence[Completion], *, candidates: Sequence[int], places: Sequence[int], **_: Any) -> list[float]:
    """Return 0 for each answer in form: `candidates` that it may choose from (0: a yes or no), and `places` asked for."""
    return _each(completions, candidates, places, lambda answer, at: 0.0)


def accuracy(
    completions: Sequence[Completion],
    *,
    candidates: Sequence[int],
    places: Sequence[int],
    wanted: Sequence[int],
    **_: Any,
) -> list[float]:
    """Return 1 where the decision is right: yes or no as `wanted` (1, 0), or the candidate `wanted`, from 0, first."""
    return _each(completions, candidates, places, lambda answer, at: float(answer[0] == wanted[at]))


def rank_quality(
    completions: Sequence[Completion],
    *,
    candidates: Sequence[int],
    places: Sequence[int],
    gains: Sequence[Sequence[float]],
    **_: Any,
) -> list[float]:
    """Return the NDCG of each order by what its candidates were worth to the viewer, `gains`, of which below 0 counts as 0."""

    return _of_choices(completions, candidates, places, lambda answer, at: ndcg(answer, gains[at]))


def diversity(
    completions: Sequence[Completion],
    *,
    candidates: Sequence[int],
    places: Sequence[int],
    embeddings: Sequence[Sequence[Sequence[float]]],
    **_: Any,
) -> list[float]:
    """Return the mean distance, half of one less the cosine, between any two of the videos chosen; 0 where it is one.

    `embeddings` are unit vectors of each candidate.
    """

    return _of_choices(completions, candidates, places, lambda answer, at: apart(answer, embeddings[at]))


def novelty(
    completions: Sequence[Completion],
    *,
    candidates: Sequence[int],
    places: Sequence[int],
    popularity: Sequence[Sequence[float]],
    **_: Any,
) -> list[float]:
    """Return how little known the chosen are: the mean of 1 less the share of each candidate's pool that is less popular."""

    def unknown(answer: Sequence[int], at: int) -> float:
        counts = np.asarray(popularity[at], np.float64)
        below = (counts[list(answer)][:, None] > counts[None, :]).mean(axis=1)
        return float(1.0 - below.mean())

    return _of_choices(completions, candidates, places, unknown)


def watch_time(
    completions: Sequence[Completion],
    *,
    candidates: Sequence[int],
    places: Sequence[int],
    watch_shares: Sequence[Sequence[float]],
    **_: Any,
) -> list[float]:
    """Return the mean share of the chosen that the viewer watched, discounted by place."""

    def watched(answer: Sequence[int], at: int) -> float:
        shares = np.clip(np.asarray(watch_shares[at], np.float64)[list(answer)], 0.0, 1.0)
        return _discounted(shares) / _discounted(np.ones(len(answer)))

    return _of_choices(completions, candidates, places, watched)


def creator_fairness(
    completions: Sequence[Completion],
    *,
    candidates: Sequence[int],
    places: Sequence[int],
    exposure: Sequence[Sequence[float]],
    **_: Any,
) -> list[float]:
    """Return the mean of 1 / (1 + exposure) of the chosen: each candidate's author's, in multiples of the mean author's."""

    def fair(answer: Sequence[int], at: int) -> float:
        return float(np.mean(1.0 / (1.0 + np.maximum(np.asarray(exposure[at], np.float64)[list(answer)], 0.0))))

    return _of_choices(completions, candidates, places, fair)


REWARDS: Mapping[str, Reward] = {
    each.__name__: each for each in (form, accuracy, rank_quality, diversity, novelty, watch_time, creator_fairness)
}


def composed(weights: Mapping[str, float]) -> dict[str, tuple[Reward, float]]:
    """Return the functions of a policy with their weights, by name: ours, or a platform's own as `package.module:function`.

    A platform's own is held to the same bounds. `form` is always among them, with a weight of 1 or more: where nothing else
    has one, what can't be parsed would be as good as what can.

    Raises:
        ValueError: a name is of no function, or a weight is negative; it says which.
    """
    if negative := [name for name, weight in weights.items() if not weight >= 0.0]:
        raise ValueError(f"weights of rewards: expected none below 0, got {', '.join(negative)}: what is worst would pay")
    named = dict(weights) | {"form": max(1.0, weights.get("form", 0.0))}
    return {name: (REWARDS[name] if name in REWARDS else _own(name), weight) for name, weight in named.items() if weight}


def total(completions: Sequence[Completion], policy: Mapping[str, tuple[Reward, float]], **columns: Any) -> list[float]:
    """Return what each completion is worth under a policy: the weighted sum of the parts."""
    parts = [weight * np.asarray(of(completions, **columns)) for of, weight in policy.values()]
    return np.sum(parts, axis=0).tolist() if parts else [0.0] * len(completions)


def ndcg(order: Sequence[int], gains: Sequence[float]) -> float:
    """Return the NDCG of the first places of an order, rows of `gains`, of which below 0 counts as 0; 0 where none is above."""
    worth = np.maximum(np.asarray(gains, np.float64), 0.0)
    best = _discounted(np.sort(worth)[::-1][: len(order)])
    return _discounted(worth[list(order)]) / best if best else 0.0


def apart(chosen: Sequence[int], embeddings: Sequence[Sequence[float]]) -> float:
    """Return the mean distance, half of one less the cosine, between any two of the chosen unit vectors; 0 where it is one."""
    vectors = np.asarray(embeddings, np.float64)[list(chosen)]
    pairs = len(vectors) * (len(vectors) - 1)
    # All pairs' cosines, out of the sum's length: no matrix of them.
    alike = float(np.square(vectors.sum(axis=0)).sum()) - len(vectors)
    return (1.0 - alike / pairs) / 2.0 if pairs else 0.0


def text_of(completion: Completion) -> str:
    """Return the text of a completion."""
    return completion if isinstance(completion, str) else "".join(message["content"] for message in completion[-1:])


def _own(name: str) -> Reward:
    module, _, function = name.partition(":")
    try:
        rule: Reward = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join(REWARDS)
        raise ValueError(f"reward {name!r}: expected one of {known}, or module:function of your own: {error}") from error

    def bounded(completions: Sequence[Completion], **columns: Any) -> list[float]:
        in_form = form(completions, **columns)
        earned = rule(completions, **columns)
        return [min(1.0, max(0.0, of)) if fits == 0.0 else UNPARSEABLE for of, fits in zip(earned, in_form, strict=True)]

    return bounded


def _each(
    completions: Sequence[Completion],
    candidates: Sequence[int],
    places: Sequence[int],
    worth: Callable[[Sequence[int], int], float],
) -> list[float]:
    earned = []
    for at, (completion, of, many) in enumerate(zip(completions, candidates, places, strict=True)):
        try:
            asked, text = Form(of, many, _LONGEST_THOUGHT), text_of(completion)
            earned.append(worth(asked.chosen(text) if of else (int(asked.liked(text)),), at))
        except Unparseable:
            earned.append(UNPARSEABLE)
    return earned


def _of_choices(
    completions: Sequence[Completion],
    candidates: Sequence[int],
    places: Sequence[int],
    worth: Callable[[Sequence[int], int], float],
) -> list[float]:
    """Return what answers that choose are worth; a yes or no has nothing to be measured by, and earns 0."""
    return _each(completions, candidates, places, lambda answer, at: worth(answer, at) if candidates[at] else 0.0)


def _discounted(gains: NDArray[np.float64]) -> float:
    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())
