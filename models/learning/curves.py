"""The curves of a run as lines of JSON, for `/ops` and whoever reads them; the trainers write TensorBoard's beside them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from streams.clock import now_ms

CURVES = "curves.jsonl"
# What the trainers call what is told of here; what else they measure is TensorBoard's.
_NAMED = {"completions/mean_length": "completion_length", "step_time": "step_s"}
_TOLD = frozenset(
    {
        *_NAMED.values(),
        *("loss", "grad_norm", "learning_rate", "entropy", "mean_token_accuracy"),
        *("reward", "reward_std", "kl", "dropped_share", "held_out"),
    }
)


class Curves:
    """Appends to the curves of one run; a run that goes on goes on with its file."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self._path = run / CURVES

    def add(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Add what was measured at a step of "sft" or "grpo"; what is no number is left out, and what nobody looks at here."""
        named = {_named(name): value for name, value in figures.items() if math.isfinite(value)}
        known = {name: round(value, 6) for name, value in named.items() if name in _TOLD or _is_part(name)}
        if not known:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "stage": stage, "at": now_ms()} | known) + "\n")


def _named(name: str) -> str:
    """Return what a figure is called here: of a part of the reward the mean is told of by the part's name."""
    part, mean = name.removesuffix("/mean"), name.endswith("/mean")
    return part if mean and part.startswith("rewards/") else _NAMED.get(name, name)


def _is_part(name: str) -> bool:
    return name.startswith("rewards/") and name.count("/") == 1
