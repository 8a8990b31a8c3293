"""What a canary's pages are worth beside all others', and what follows: pure, and right however often one looks."""

import os
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from serving.experiments.analysis import VIEWERS_FLOOR
from serving.experiments.confidence import Totals, compared

# How often a canary that is no worse may be rolled back for it, however long it is watched.
ALPHA = 0.05
# How much less reward, as a share of the others', may be chance after the time it is watched: smaller, and half of all equal
# ones wait for the longest time; larger, and a loss of so much goes to everybody.
MARGIN = 0.05
# The longest time is so many times the least. Longer, and its model learns nothing new meanwhile.
LONGEST = 3


class Look(Struct, frozen=True, kw_only=True):
    """What was seen of a canary at Unix ms `at`, and what follows from it.

    Rewards are of places that viewers looked at, since it was released; the interval of their difference is always valid, and
    None where too few viewers are known.
    """

    at: int
    version: str
    share: float
    viewers: int
    other_viewers: int
    reward: float | None
    other_reward: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    follows: Literal["watch", "promote", "roll back"] = "watch"
    reason: str = ""

    def figures(self) -> dict[str, float | None]:
        """Return its numbers, as a decision has them."""
        names = ("share", "viewers", "other_viewers", "reward", "other_reward", "difference", "low", "high")
        return {name: value if value is None else float(value) for name in names for value in [getattr(self, name)]}


def looked(
    ours: Totals, others: Totals, *, version: str, share: float, since: int, at: int, least_ms: int, made: bool = True
) -> Look:
    """Return what is to be said of a canary that serves `share` of viewers since `since`, and what follows.

    `made` is False where none of their pages was made with it: then it is rolled back after `LONGEST` times.

    It is rolled back once its reward is surely below the others'. After `least_ms` it is promoted if its reward, of enough
    viewers, is not below theirs by more than `MARGIN`. After `LONGEST` times that it is rolled back if it is, and promoted if
    too few viewers came to tell: nothing speaks against it then, and the gate spoke for it.
    """
    seen = Look(
        at=at,
        version=version,
        share=share,
        viewers=ours.viewers,
        other_viewers=others.viewers,
        reward=ours.mean if ours.m else None,
        other_reward=others.mean if others.m else None,
    )
    age, fewest = at - since, min(ours.viewers, others.viewers)
    if ours.m and not made:
        nobody = "none of its viewers' pages was made with it: /ops says why nodes refuse it"
        return _then(seen, "roll back" if age >= LONGEST * least_ms else "watch", nobody)
    if fewest < VIEWERS_FLOOR:
        few = f"too few viewers to tell: {ours.viewers} with it and {others.viewers} without, {VIEWERS_FLOOR} each are needed"
        return _then(seen, "promote" if age >= LONGEST * least_ms else "watch", few)
    interval = compared(ours, others, alpha=ALPHA)
    if interval is not None:
        seen = msgspec.structs.replace(seen, difference=interval.difference, low=interval.low, high=interval.high)
        if interval.high < 0:
            return _then(seen, "roll back", f"its reward is surely below the others': {_told(seen)}")
    if age < least_ms:
        return _then(seen, "watch", "not surely worse so far; it has not had its time (learning.canary_s)")
    if ours.mean - others.mean >= -MARGIN * abs(others.mean):
        return _then(seen, "promote", f"its reward is not below the others' by more than {MARGIN:.0%}: {_told(seen)}")
    below = f"its reward is below the others' by more than {MARGIN:.0%}, which may be chance: {_told(seen)}"
    return _then(seen, "roll back" if age >= LONGEST * least_ms else "watch", below)


def _then(seen: Look, follows: Literal["watch", "promote", "roll back"], reason: str) -> Look:
    return msgspec.structs.replace(seen, follows=follows, reason=reason)


def _told(seen: Look) -> str:
    between = "" if seen.low is None or seen.high is None else f", difference {seen.low:+.4f} to {seen.high:+.4f}"
    return f"{seen.reward:.4f} of {seen.viewers} viewers, {seen.other_reward:.4f} of {seen.other_viewers} others{between}"


def write_look(root: Path, model: str, seen: Look) -> None:
    """Leave what was seen beside the releases, for operators' pages."""
    path = _path(root, model)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(msgspec.json.encode(seen))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def last_look(root: Path, model: str, version: str) -> Look | None:
    """Return what was seen last of a canary, None where that is nothing or of another version."""
    try:
        seen = msgspec.json.decode(_path(root, model).read_bytes(), type=Look)
    except (OSError, msgspec.MsgspecError):
        return None
    return seen if seen.version == version else None


def _path(root: Path, model: str) -> Path:
    return root / f"{model}.canary.json"
