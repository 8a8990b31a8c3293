"""The curves that a run of learning leaves, a line of JSON a step, as operators' pages show them: of bounded size."""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

log = logging.getLogger(__name__)

FILE = "curves.jsonl"
# Points of a curve: more than a plot has columns shows nothing more.
MOST_POINTS = 500
# Curves of one stage: a run that names more of them is shown by the first.
MOST_CURVES = 40
# Bytes read of one file, from its end: a month of steps. More, and reading it would be felt.
MOST_BYTES = 16_000_000


class StageCurves(Struct, frozen=True):
    """One stage of a run: a value of each curve at each of `steps`, None where there was none."""

    stage: str
    steps: list[int]
    curves: dict[str, list[float | None]]


class RunView(Struct, frozen=True):
    """A run of learning: what it is called, from when to when it told of its steps (Unix ms), and its stages in their order."""

    name: str
    began: int
    at: int
    stages: list[StageCurves]


class Runs:
    """The runs of one model below a folder. Safe to use from several threads: what they read at once is the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[tuple[Path, int, int], RunView | None] | None = None

    def newest(self) -> RunView | None:
        """Return the run that told of a step last, None where there is none."""
        found = [(path, stat) for path in self._folder.glob(f"*/{FILE}") if (stat := _stat(path)) is not None]
        if not found:
            return None
        path, (changed, size) = max(found, key=lambda one: one[1])
        state = (path, changed, size)
        if self._read is None or self._read[0] != state:
            self._read = state, _run(path)
        return self._read[1]


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        # Gone since it was listed.
        return None
    return stat.st_mtime_ns, stat.st_size


def _run(path: Path) -> RunView | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_BYTES))
            lines = file.read(MOST_BYTES).splitlines()
    except OSError as error:
        log.warning("%s can't be read: %s", path, error)
        return None
    rows = [row for line in lines if (row := _row(line)) is not None]
    if not rows:
        return None
    # A run that was taken up again tells of some steps twice: the last word counts.
    by_stage: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        by_stage.setdefault(row["stage"], {})[row["step"]] = row
    stages = [_thinned(stage, of_stage) for stage, of_stage in by_stage.items()]
    at = [row["at"] for row in rows]
    return RunView(path.parent.name, min(at), max(at), stages)


def _row(line: bytes) -> Mapping[str, Any] | None:
    """Return what a line tells of a step, None for one that tells of none: a torn one, say."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and type(row.get("step")) is int and type(row.get("at")) is int
    return row if whole and isinstance(row.get("stage"), str) else None


def _thinned(stage: str, rows: Mapping[int, Mapping[str, Any]]) -> StageCurves:
    """Return a stage's curves with at most `MOST_POINTS` steps, evenly chosen, the first and the last among them."""
    steps = sorted(rows)
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_POINTS)).round().astype(int))
    kept = [steps[place] for place in chosen]
    names = list(islice(_names(rows[step] for step in steps), MOST_CURVES))
    # What is measured now and then would fall between the steps chosen: the newest value until each of them is taken.
    bounds = [-math.inf, *kept[:-1]]
    columns = {}
    for name in names:
        known = [(step, value) for step in steps if (value := _number(rows[step].get(name))) is not None]
        columns[name] = _column(known, bounds, kept)
    return StageCurves(stage, kept, columns)


def _column(known: list[tuple[int, float]], after: list[float], until: list[int]) -> list[float | None]:
    column: list[float | None] = []
    place = 0
    for low, high in zip(after, until, strict=True):
        value = None
        while place < len(known) and known[place][0] <= high:
            if known[place][0] > low:
                value = known[place][1]
            place += 1
        column.append(value)
    return column


def _names(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Yield the names of curves, each once, in the order in which they are first told of."""
    seen = {"step", "at", "stage"}
    for row in rows:
        for name, value in row.items():
            if name not in seen and isinstance(value, int | float) and not isinstance(value, bool):
                seen.add(name)
                yield name


def _number(value: object) -> float | None:
    """Return a value to draw: what diverged, or is no number, is a gap."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer may be larger than any float.
    return float(value) if abs(value) < 1e30 and math.isfinite(value) else None
