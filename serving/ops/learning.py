"""What operators see of learning: what serves of each model, how its canary does, what was decided and why, and the curves.

All of it is read from the learner's files, which every node of the API sees.
"""

import logging
from pathlib import Path

from msgspec import Struct

from models.learning import record
from models.learning.record import Decision
from models.settings import LearningSettings
from models.viewers import policy
from serving.experiments.canary import Look, last_look
from serving.ops.curves import Runs, RunView

log = logging.getLogger(__name__)

MOST_DECISIONS = 30


class CanaryView(Struct, frozen=True, kw_only=True):
    """A newer version that only a share of viewers gets, since Unix ms, and what was seen of it; None before the first look."""

    version: str
    since: int
    look: Look | None


class StandingView(Struct, frozen=True, kw_only=True):
    """What serves everybody of one model since Unix ms, empty for none; whether it is pinned; and its canary, if one runs."""

    model: str
    version: str
    since: int
    pinned: bool
    canary: CanaryView | None


class DecisionView(Struct, frozen=True, kw_only=True):
    """One decision of the record, at Unix ms: what became of which version, who said so, and why."""

    at: int
    model: str
    what: record.What
    by: str
    reason: str
    version: str
    to: str


class LearningView(Struct, frozen=True, kw_only=True):
    """What serves of each model, the newest decisions, newest first, and the newest run of the agent's learning, if any."""

    models: list[StandingView]
    decisions: list[DecisionView]
    run: RunView | None


class Learning:
    """Reads the learner's files. Safe to use from several threads."""

    def __init__(self, settings: LearningSettings | None) -> None:
        """Without settings there is nothing to read."""
        self._root = None if settings is None else settings.releases
        self._runs = None if settings is None else Runs(settings.runs / policy.NAME)

    def view(self) -> LearningView:
        """Return what there is to see now. Reads files: for a thread that may wait for a disk."""
        decisions = self._decisions()
        return LearningView(
            models=[self._standing(model, decisions) for model in record.models(decisions)],
            decisions=[_told(decision) for decision in decisions[: -MOST_DECISIONS - 1 : -1]],
            run=None if self._runs is None else self._runs.newest(),
        )

    def _decisions(self) -> list[Decision]:
        try:
            return [] if self._root is None else record.read(self._root)
        except OSError as error:
            log.warning("the record of releases can't be read: %s", error)
            return []

    def _standing(self, model: str, decisions: list[Decision]) -> StandingView:
        now = record.standing(decisions, model)
        return StandingView(
            model=model,
            version=now.serving,
            since=now.since,
            pinned=bool(now.pinned),
            canary=CanaryView(
                version=now.canary, since=now.canary_since, look=last_look(self._root or Path(), model, now.canary)
            )
            if now.canary
            else None,
        )


def _told(decision: Decision) -> DecisionView:
    return DecisionView(
        at=decision.at,
        model=decision.model,
        what=decision.what,
        by=decision.by,
        reason=decision.reason,
        version=decision.version,
        to=decision.to,
    )
