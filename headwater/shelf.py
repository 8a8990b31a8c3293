"""Every release that is known, on disk or on record, and what became of it: for people, who decide by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from models.learning import record, releases
from models.learning.record import Decision, Standing

State = Literal["serving", "canary", "pinned", "rolled back", "refused", "on disk"]
# What the gate refused is not kept: its newest are told of.
REFUSED_SHOWN = 3
# Files of a release that say of themselves what they learned from are small.
_LARGEST_MANIFEST = 1_000_000


@dataclass(frozen=True)
class Known:
    """A release, or one that the gate refused, without a version then. Times are Unix ms, 0 where unknown."""

    model: str
    version: str
    state: State
    at: int
    learned_from: int
    learned_until: int
    figures: Mapping[str, float | None]
    reason: str
    is_on_disk: bool


class _Learned(Struct):
    """What a release's own manifest tells of the data that it learned from, as far as it does."""

    learned_from: int = 0
    learned_until: int = 0


def shelf(root: Path, model: str) -> list[Known]:
    """Return a model's releases, newest first, with the newest that the gate refused among them."""
    decisions = [decision for decision in record.read(root) if decision.model == model]
    now = record.standing(decisions, model)
    versions = {*releases.versions(root, model), *({now.serving, now.canary, now.pinned} - {""})}
    refused = [decision for decision in decisions if decision.what == "refused"][-REFUSED_SHOWN:]
    known = [_release(root, model, version, now, decisions) for version in versions]
    known += [_refused(decision) for decision in refused]
    return sorted(known, key=lambda one: (one.at, one.version), reverse=True)


def models(root: Path) -> list[str]:
    """Return the models that anything is known of."""
    on_disk = {folder.name for folder in root.iterdir() if releases.versions(root, folder.name)} if root.is_dir() else set()
    return sorted(on_disk.union(record.models(record.read(root))))


def headline(figures: Mapping[str, float | None]) -> str:
    """Return the figures that decided: what the gate compared, and with what; else the first two."""
    decided = [name.removesuffix("_baseline") for name in figures if name.endswith("_baseline")]
    if decided and decided[-1] in figures:
        name = decided[-1]
        return f"{name} {number(figures[name])}, baseline {number(figures[f'{name}_baseline'])}"
    return ", ".join(f"{name} {number(value)}" for name, value in list(figures.items())[:2])


def number(value: float | None) -> str:
    """Return a figure as it is shown: one that is unknown is a dash."""
    return "–" if value is None else f"{value:,.0f}" if value == round(value) and abs(value) >= 100 else f"{value:.4g}"


def when(at_ms: int) -> str:
    """Return a time as it is shown, UTC; a dash where it is unknown."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}" if at_ms else "–"


def data_range(known: Known) -> str:
    """Return what data a release learned from, as far as it tells."""
    if not known.learned_until:
        return "–"
    return (
        f"{when(known.learned_from)} to {when(known.learned_until)}"
        if known.learned_from
        else f"to {when(known.learned_until)}"
    )


def _release(root: Path, model: str, version: str, now: Standing, decisions: Sequence[Decision]) -> Known:
    release = releases.on_disk(root, model, version)
    of_it = [decision for decision in decisions if decision.version == version]
    learned = _learned(root / model / version)
    return Known(
        model=model,
        version=version,
        state=_state(version, now),
        at=release.released_at if release else of_it[0].at if of_it else 0,
        learned_from=learned.learned_from,
        learned_until=learned.learned_until,
        figures=release.gate if release else of_it[0].figures if of_it else {},
        reason=of_it[-1].reason if of_it else "",
        is_on_disk=release is not None,
    )


def _refused(decision: Decision) -> Known:
    return Known(decision.model, "", "refused", decision.at, 0, 0, decision.figures, decision.reason, is_on_disk=False)


def _state(version: str, now: Standing) -> State:
    if version == now.pinned:
        return "pinned"
    if version == now.serving:
        return "serving"
    if version == now.canary:
        return "canary"
    return "rolled back" if version in now.rolled_back else "on disk"


def _learned(folder: Path) -> _Learned:
    for path in sorted(folder.glob("*.json")):
        try:
            if path.stat().st_size <= _LARGEST_MANIFEST:
                learned = msgspec.json.decode(path.read_bytes(), type=_Learned)
                if learned.learned_until:
                    return learned
        except (OSError, msgspec.MsgspecError):
            continue
    return _Learned()
