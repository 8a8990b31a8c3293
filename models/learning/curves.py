"""The curves of a run as lines of JSON, for `/ops` and whoever reads them; the trainers write TensorBoard's beside them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from streams.clock import now_ms

CURVES = "curves.jsonl"


class Curves:
    """Appends to the curves of one run; a run that goes on goes on with its file."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self._path = run / CURVES

    def add(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Add what was measured at a step of "sft" or "grpo"; what is no number is left out."""
        known = {name: round(value, 6) for name, value in figures.items() if math.isfinite(value)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "stage": stage, "at": now_ms()} | known) + "\n")
