"""Watches canaries: what viewers in a canary's share did of their pages, beside all others, and what follows from it."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from headwater.decisions import end_canary, is_watched, promote
from headwater.releases import announce
from headwater.settings import Settings
from models.canaries import gets_canary
from models.learning import record
from models.learning.record import Standing
from models.viewers import policy
from serving.experiments.canary import looked, write_look
from serving.experiments.confidence import Totals
from streams.clock import Clock, now_ms
from streams.flows.feedback_log import FeedbackLog
from streams.parquet_log import timestamp

log = logging.getLogger(__name__)

# Feedback is in the log minutes after its page: more often shows the same again.
LOOK_EVERY_S = 60.0


class Watch:
    """Looks at every canary, and tells nodes again what they may not have been told."""

    def __init__(self, settings: Settings, *, clock: Clock = now_ms) -> None:
        self._settings = settings
        self._clock = clock
        # A crash may have come between the record and the broker.
        self._untold = True

    def tell_again(self) -> None:
        """Let the next look tell nodes what serves, as something may have kept them from hearing of it."""
        self._untold = True

    def look(self) -> None:
        """Look once at every canary, and do what follows.

        Raises:
            OSError: the broker or the disk is away; the next look tells what this one could not.
        """
        if self._untold:
            announce(self._settings)
            self._untold = False
        decisions = record.read(self._settings.learning.releases)
        failures: list[OSError] = []
        for model in record.models(decisions):
            now = record.standing(decisions, model)
            try:
                if now.canary:
                    self._look_at(model, now)
            except OSError as error:
                failures.append(error)
        if failures:
            self._untold = True
            raise failures[0]

    def _look_at(self, model: str, now: Standing) -> None:
        learning = self._settings.learning
        if not is_watched(self._settings, model, now):
            why = f"it is not to be watched any more: learning.canary_share, canary_s.{model} or every_s is 0"
            promote(self._settings, model, now.canary, by="canary", reason=why, figures={})
            return
        ours, others, named = rewards(
            Path(self._settings.flows.feedback_log), model, now.canary, learning.canary_share, since=now.canary_since
        )
        seen = looked(
            ours,
            others,
            # Pages do not name the agent: it makes plans, and not for everybody.
            made=bool(named) or model == policy.NAME,
            version=now.canary,
            share=learning.canary_share,
            since=now.canary_since,
            at=self._clock(),
            least_ms=round(learning.canary_s.of(model) * 1000),
        )
        write_look(learning.releases, model, seen)
        if seen.follows == "watch":
            return
        log.info("%s %s: %s: %s", model, now.canary, seen.follows, seen.reason)
        do = promote if seen.follows == "promote" else end_canary
        do(self._settings, model, now.canary, by="canary", reason=seen.reason, figures=seen.figures())


def rewards(feedback: Path, model: str, version: str, share: float, *, since: int) -> tuple[Totals, Totals, int]:
    """Return the rewards of a canary's viewers and of all others, of places they looked at on pages served from `since` on.

    And how many of these places of the former were on pages that name the version.
    """
    served, day = timestamp(since), f"{datetime.fromtimestamp(since / 1000, UTC):%Y-%m-%d}"

    def read(dataset: ds.Dataset) -> pa.Table:
        return dataset.to_table(["user_id", "reward", "actions", "policy_version"], filter=ds.field("served_at") >= served)

    rows = FeedbackLog(feedback).look(read, since=day)
    if rows is None:
        return _totals(np.zeros((0, 3))), _totals(np.zeros((0, 3))), 0
    looked_at = pc.greater(pc.list_value_length(rows["actions"]), 0)
    # Nulls are none of it: what is no number says nothing, and nobody's of nobody.
    counts = pc.and_(pc.and_(looked_at, pc.is_finite(rows["reward"])), pc.is_valid(rows["user_id"]))
    rows = rows.filter(counts).drop_columns(["actions"])
    rows = rows.append_column("square", pc.multiply(rows["reward"], rows["reward"]))
    named = pc.fill_null(pc.match_substring(rows["policy_version"], f"{model}:{version}"), False).cast(pa.int64())
    rows = rows.append_column("named", named)
    by_viewer = rows.group_by("user_id").aggregate(
        [("reward", "count"), ("reward", "sum"), ("square", "sum"), ("named", "sum")]
    )
    sums = np.stack(
        [by_viewer[name].to_numpy() for name in ("reward_count", "reward_sum", "square_sum")], axis=1, dtype=np.float64
    )
    drawn = np.array([gets_canary(model, viewer, share) for viewer in by_viewer["user_id"].to_pylist()], bool)
    return _totals(sums[drawn]), _totals(sums[~drawn]), int(by_viewer["named_sum"].to_numpy()[drawn].sum())


def _totals(sums: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> Totals:
    """Return the totals of viewers' sums, (n, 3): places looked at, their reward and its square."""
    m, x, squares = sums.T
    return Totals(
        viewers=len(sums), m=float(m.sum()), x=float(x.sum()), xx=float(x @ x), xm=float(x @ m), mm=float(m @ m),
        squares=float(squares.sum()),
    )  # fmt: skip
