"""The record of what was decided about releases, a line of JSON each: what serves whom, who said so, and why.

A decision is on disk before anybody is told of it, so that the record knows what serves when a broker has forgotten.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

log = logging.getLogger(__name__)

FILE, LOCK = "decisions.jsonl", ".decisions.lock"
# Past this the oldest refusals go: larger, and every look at the record takes longer; smaller, and fewer of them are told of.
MOST_BYTES = 4_000_000
# Of what changed nothing, so much stays then.
KEPT_REFUSALS = 500

What = Literal["failed", "refused", "held", "released", "canary", "promoted", "rolled back", "pinned", "unpinned"]
# What serves is as it was after these.
NOTHING_CHANGED: frozenset[What] = frozenset({"failed", "refused", "held"})
Model = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
# A folder's name: nothing in the record may lead out of the folder of releases.
Version = Annotated[str, Meta(pattern=r"^([0-9]{8}T[0-9]{6}-[0-9a-f]{8})?$")]


class Decision(Struct, frozen=True, kw_only=True):
    """One decision, at Unix ms: "refused" by the gate, passed but "held" back, or what serves whom from then on.

    Learning that "failed" decided nothing, and is told of all the same. `by` is "gate", "canary", "learner" or a person's
    login. `version` is empty for what never became a release; `to` is what serves instead of one that was rolled back, empty
    for nothing. A figure that was no number is None.
    """

    at: int
    model: Model
    what: What
    by: str
    reason: str
    version: Version = ""
    to: Version = ""
    figures: dict[str, float | None] = {}


class Standing(Struct, frozen=True, kw_only=True):
    """What the record says of one model: what serves everybody and who gets its canary, each a version or empty.

    `served` are those that served everybody, in that order, and may again: without what was rolled back. `known` is False
    where nothing was ever decided about what serves.
    """

    serving: str = ""
    since: int = 0
    canary: str = ""
    canary_since: int = 0
    pinned: str = ""
    served: tuple[str, ...] = ()
    rolled_back: frozenset[str] = frozenset()
    known: bool = False

    @property
    def kept(self) -> frozenset[str]:
        """Return the versions that must stay on disk: what serves or may at once, and what there is to roll back to."""
        return frozenset({self.serving, self.canary, self.pinned, *self.served[-2:]}) - {""}


def models(decisions: Sequence[Decision]) -> list[str]:
    """Return which models anything was decided about, by their names in order."""
    return sorted({decision.model for decision in decisions})


def standing(decisions: Sequence[Decision], model: str) -> Standing:
    """Return what a model's decisions come to, one after the other."""
    now = Standing()
    for decision in decisions:
        if decision.model == model and decision.what not in NOTHING_CHANGED:
            now = _after(now, decision)
    return now


def _after(now: Standing, decision: Decision) -> Standing:
    version, at = decision.version, decision.at
    now = msgspec.structs.replace(now, known=True)
    match decision.what:
        case "canary":
            return msgspec.structs.replace(now, canary=version, canary_since=at)
        case "released" | "promoted":
            return msgspec.structs.replace(_serving(now, version, at), served=_last(now.served, version))
        case "pinned":
            back = now.rolled_back - {version}
            pinned = _serving(now, version, at if version != now.serving else now.since)
            return msgspec.structs.replace(pinned, pinned=version, served=_last(now.served, version), rolled_back=back)
        case "unpinned":
            return msgspec.structs.replace(now, pinned="")
    # Rolled back.
    now = msgspec.structs.replace(now, rolled_back=now.rolled_back | {version})
    if version == now.canary:
        return msgspec.structs.replace(now, canary="", canary_since=0)
    # Whoever goes back further than by one wants none of those between.
    left = now.served[: now.served.index(decision.to) + 1] if decision.to in now.served else (decision.to,) * bool(decision.to)
    return msgspec.structs.replace(_serving(now, decision.to, at), served=left, rolled_back=now.rolled_back - {decision.to})


def _serving(now: Standing, version: str, at: int) -> Standing:
    return msgspec.structs.replace(now, serving=version, since=at, canary="", canary_since=0)


def _last(served: tuple[str, ...], version: str) -> tuple[str, ...]:
    return (*(one for one in served if one != version), version)


def read(root: Path) -> list[Decision]:
    """Return what is on record below `root`, oldest first. What can't be read of it is left out."""
    try:
        lines = (root / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    decisions, left_out = [], 0
    for line in lines:
        try:
            decisions.append(msgspec.json.decode(line, type=Decision))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            left_out += bool(line.strip())
    if left_out:
        log.warning("%s: %d lines are no decisions and are left out", root / FILE, left_out)
    return decisions


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Let nobody else change what serves as long as the block runs: who decides reads, writes and tells within one."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def append(root: Path, decision: Decision) -> None:
    """Put a decision on record, durably; for use within `alone`.

    Raises:
        OSError: the disk takes it not; the record is as it was.
    """
    path = root / FILE
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        line = msgspec.json.encode(decision) + b"\n"
        # What a crash cut off must not take the next line with it.
        if before and not _ends_whole(path):
            line = b"\n" + line
        try:
            written = 0
            while written < len(line):
                written += file.write(line[written:])
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
    if before + len(line) > MOST_BYTES:
        _shorten(root)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _shorten(root: Path) -> None:
    """Leave the oldest refusals out; what ever changed what serves stays."""
    decisions = read(root)
    refusals = [place for place, decision in enumerate(decisions) if decision.what in NOTHING_CHANGED]
    gone = set(refusals[:-KEPT_REFUSALS])
    kept = [decision for place, decision in enumerate(decisions) if place not in gone]
    beside = root / f".{FILE}.tmp"
    try:
        with beside.open("wb") as file:
            file.write(msgspec.json.Encoder().encode_lines(kept))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(root / FILE)
    except OSError as error:
        # It is only longer than it should be.
        log.warning("%s can't be shortened: %s", root / FILE, error)
    finally:
        beside.unlink(missing_ok=True)
